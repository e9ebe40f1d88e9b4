/**
 * Standard error, where krun's log goes. In: lines. Out: bytes, but never a wait without end: whoever reads the log may be slow,
 * or gone, or its terminal stopped, and krun's program must not suffer for that.
 *
 * @module
 */
import { type Bytes, bytesOf, type Libc, loadLibc } from "./libc.ts";

const STDERR = 2;

/** A pipe that is ready takes as many bytes at once (PIPE_BUF of pipe(7)). */
const PIECE_BYTES = 4096;

/** How long a reader may take before lines are left out, milliseconds; after that no line waits until it reads again. */
const PATIENCE_MS = 1000;

const encoder = new TextEncoder();
let lost = 0;
let isMidLine = false;

/** Writes a line, or leaves it out where nobody takes it. How many were left out is said when somebody does. Never throws. */
export function writeLogLine(line: string): void {
  const libc = loadLibc();
  const missed = lost === 0 ? "" : `krun: ${lost} log lines are lost, standard error was not read\n`;
  const bytes: Bytes = encoder.encode(`${isMidLine ? "\n" : ""}${missed}${line}\n`);
  const deadline = performance.now() + (lost > 0 ? 0 : PATIENCE_MS);
  for (let at = 0; at < bytes.length;) {
    const isReady = takesBytes(libc, Math.max(0, deadline - performance.now()));
    const written = isReady ? write(libc, bytes.subarray(at, at + PIECE_BYTES)) : 0;
    at += written;
    isMidLine = at < bytes.length;
    if (written > 0 || performance.now() < deadline && isReady && isPipe(libc)) continue;
    lost++;
    return;
  }
  lost = 0;
}

/** How many bytes were taken; 0: none, whatever the reason. */
function write(libc: Libc, piece: Bytes): number {
  const EOPNOTSUPP = 95, ENOSYS = 38, RWF_NOWAIT = 8;
  if (isPipe(libc)) {
    // Between the look and the write somebody else, as the program, may have filled the pipe (pwritev2(2), Linux 6.4 for pipes).
    const vector = bytesOf(new BigUint64Array([libc.addressOf(piece), BigInt(piece.length)]));
    const result = libc.call("pwritev2", STDERR, vector, 1, -1, 0, RWF_NOWAIT);
    if (result !== -EOPNOTSUPP && result !== -ENOSYS) return Math.max(0, result);
  }
  try {
    return Deno.stderr.writeSync(piece);
  } catch {
    // Its reader is gone, its disk full, or somebody else made it non-blocking.
    return 0;
  }
}

function isPipe(libc: Libc): boolean {
  const F_GETPIPE_SZ = 1032;
  return libc.call("fcntl", STDERR, F_GETPIPE_SZ) > 0;
}

/** Whether standard error takes a piece without a wait, within some milliseconds (ppoll(2)). */
function takesBytes(libc: Libc, withinMs: number): boolean {
  const POLLOUT = 4, POLLERR = 8;
  const descriptor = new Int32Array([STDERR, POLLOUT]);
  const limit = new BigInt64Array([
    BigInt(Math.floor(withinMs / 1000)),
    BigInt(Math.floor(withinMs % 1000)) * 1_000_000n,
  ]);
  // What cannot be asked, as a closed one, answers at once.
  const ready = libc.call("ppoll", bytesOf(descriptor), 1, bytesOf(limit), 0, 8) !== 0;
  return ready && ((descriptor[1]! >> 16) & POLLERR) === 0;
}
