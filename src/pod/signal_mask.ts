/**
 * The signals that are blocked on krun's thread: SIGTTOU alone. In: who wants it so. Out: a thread that hears every signal, and
 * that a terminal does not stop.
 *
 * A process in the background of its terminal gets SIGTTOU for giving the foreground away, and with `stty tostop` for each line
 * that it writes. Ignored, the signal would be lost where somebody sends it to krun for the program (gunicorn takes it for "one
 * worker less"); caught, the kernel would begin the call anew for ever. The kernel does neither to a thread that blocks it
 * (ioctl_tty(2), POSIX.1-2017 11.1.4), and what somebody else sends is taken by another thread of the process.
 *
 * What krun was started with blocked (its parent may block SIGCHLD or SIGTERM) is the program's to know. To krun it would hide
 * the end of its program, and the wish to stop.
 *
 * @module
 */
import { SIGTTOU } from "../core/signals.ts";
import type { Bytes, Libc } from "./libc.ts";
import { bytesOf } from "./libc.ts";

/** How rt_sigprocmask(2) changes a mask, and how long one is. */
export const SIG_SETMASK = 2, MASK_BYTES = 8;

const SIG_BLOCK = 0;

let holders = 0;
/** The mask before anybody blocked anything: krun's own as it was started, and so the program's. */
let before: Bytes | undefined;

/** Blocks SIGTTOU and nothing else on this thread, until every holder has called what this returns. */
export function blockTerminalStop(libc: Libc): () => void {
  if (holders++ === 0) before = change(libc, SIG_SETMASK, bytesOf(new BigUint64Array([1n << BigInt(SIGTTOU - 1)])));
  let held = true;
  return () => {
    if (held && --holders === 0 && before) {
      change(libc, SIG_SETMASK, before);
      before = undefined;
    }
    held = false;
  };
}

/** The mask that this thread had before anybody blocked anything, as rt_sigprocmask(2) takes it. */
export function formerMask(libc: Libc): Bytes {
  return before ?? change(libc, SIG_BLOCK, bytesOf(new BigUint64Array(1)));
}

/** Calls `body` with the mask that this thread had before: what replaces krun inherits it. */
export function withFormerMask<T>(libc: Libc, body: () => T): T {
  return withMask(libc, formerMask(libc), body);
}

/** Calls `body` with every signal blocked on this thread. */
export function withAllBlocked<T>(libc: Libc, body: () => T): T {
  return withMask(libc, bytesOf(new BigUint64Array([0xffffffffffffffffn])), body);
}

function withMask<T>(libc: Libc, mask: Bytes, body: () => T): T {
  const own = change(libc, SIG_SETMASK, mask);
  try {
    return body();
  } finally {
    change(libc, SIG_SETMASK, own);
  }
}

/** Returns the mask that was. */
function change(libc: Libc, how: number, mask: Bytes): Bytes {
  const former = bytesOf(new BigUint64Array(1));
  libc.call("rt_sigprocmask", how, mask, former, MASK_BYTES);
  return former;
}
