/**
 * The signals that krun gets. In: whatever is sent to krun. Out: a call for each signal that is meant for the program.
 *
 * krun has a handler of its own instead of `Deno.addSignalListener`, for two reasons. Real-time signals: Deno has no names
 * for them, so the first one would end krun. SIGUSR1: `deno run` 2.9.2 and later opens a debugger on 127.0.0.1:9229 when it
 * comes, where anybody in the network namespace may run code in krun, and a listener does not prevent that. Deno sets its
 * handler for a signal once, with the first listener; so a listener is added and the handler replaced, and Deno never hears
 * of the signal again.
 *
 * A handler must not run JavaScript. Ours is a few instructions that write the siginfo_t into a pipe, which krun reads: a record
 * whole or, when 8,192 of them wait, not at all. So signals can be caught long before there is somebody to tell.
 *
 * @module
 */
import type { SignalInfo } from "../core/signal_info.ts";
import { isForProgram, parseSignalInfo, SIGNAL_INFO_BYTES } from "../core/signal_info.ts";
import { FORWARDED, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP } from "../core/signals.ts";
import { bytesOf, type Libc, loadLibc } from "./libc.ts";
import { signalHandlerCode } from "./machine_code.ts";
import { blockTerminalStop } from "./signal_mask.ts";

/** The pipe and the handler. Both stay for the life of the process: another thread may be inside the handler at any time. */
interface Doorbell {
  readonly readFd: number;
  readonly writeFd: number;
  readonly code: bigint;
}

/** What is in force while signals are caught. */
interface Catching {
  readonly bell: Doorbell;
  /** Signal → puts back what it did before. */
  readonly restore: ReadonlyMap<number, () => void>;
  readonly unblock: () => void;
}

/** How many bytes wait in a pipe (ioctl_pipe(2)). */
const FIONREAD = 0x541b;

type Receive = (signal: number, info: SignalInfo) => void;

let doorbell: Doorbell | undefined;
let catching: Catching | undefined;
/** Settles when the receiver has read all that it will get. */
let receiving: Promise<void> | undefined;

/** What ends or stops a program at a terminal. */
const OF_A_PERSON = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP];

const onDeno = () => {};

/**
 * From now on no signal that can be passed on ends or stops krun: it waits until somebody calls {@linkcode receiveSignals}.
 * Signals with which krun was started ignored stay ignored. Does nothing when they are caught already.
 *
 * A start calls it first of all, since a signal that comes before ends krun, as it would any program.
 */
export function catchSignals(): void {
  if (catching) return;
  const libc = loadLibc();
  const bell = doorbell ??= makeDoorbell(libc);
  const unblock = blockTerminalStop(libc);
  // The first listener also makes Deno catch HUP, INT and TERM, so it has to come before our handlers.
  Deno.addSignalListener("SIGUSR1", onDeno);
  const caught = FORWARDED.filter((signal) => !libc.ignoredAtStart.includes(signal));
  const restore = new Map(caught.map((signal) => [signal, libc.setAction(signal, { code: bell.code })]));
  for (const signal of libc.ignoredAtStart) libc.setAction(signal, "ignore");
  catching = { bell, restore, unblock };
}

/**
 * For a krun that will run no program any more, or none at all: whoever wants to end or stop it does so at once from now on, as
 * with any program. Resolves when the receiver has had those that came before; where there is none, they do what they would have
 * done then. All other signals stay caught and go nowhere.
 */
export async function obeySignals(): Promise<void> {
  if (!catching) return;
  const libc = loadLibc();
  for (const signal of OF_A_PERSON) if (catching.restore.has(signal)) libc.setAction(signal, "default");
  if (receiving) {
    ring(libc, catching.bell);
    return await receiving;
  }
  drain(libc, catching.bell, (signal) => {
    if (OF_A_PERSON.includes(signal)) libc.kill(Deno.pid, signal);
  });
}

/**
 * Calls `receive` for every signal that somebody sends to krun and that can be passed on to the program, one at a time, until
 * it is disposed of; those that came since {@linkcode catchSignals} are the first, and received before this returns.
 *
 * None of them ends krun: the receiver decides. Only one receiver at a time. Keeps the event loop alive, and takes one of the
 * 32 threads of Deno's pool. When it is disposed of, signals do again what they did before: without {@linkcode catchSignals}
 * what they did at the start, with it they go on waiting.
 */
export function receiveSignals(receive: Receive): AsyncDisposable {
  const wasCaught = catching !== undefined;
  catchSignals();
  const { bell, restore, unblock } = catching!;
  const libc = loadLibc();
  drain(libc, bell, receive);
  const reading = readSignals(libc, bell, receive).finally(() => receiving = undefined);
  receiving = reading;
  return {
    async [Symbol.asyncDispose]() {
      if (!wasCaught) {
        catching = undefined;
        for (const undo of restore.values()) undo();
        unblock();
      }
      if (receiving) ring(libc, bell);
      await reading;
      if (!wasCaught) Deno.removeSignalListener("SIGUSR1", onDeno);
    },
  };
}

/** Puts the record of signal 0 into the pipe, behind those that wait. */
function ring(libc: Libc, { writeFd }: Doorbell): void {
  libc.call("write", writeFd, new Uint8Array(SIGNAL_INFO_BYTES), SIGNAL_INFO_BYTES);
}

/** Hands on what is in the pipe now. */
function drain(libc: Libc, { readFd }: Doorbell, receive: Receive): void {
  const waiting = new Int32Array(1);
  libc.call("ioctl", readFd, FIONREAD, bytesOf(waiting));
  const bytes = new Uint8Array(SIGNAL_INFO_BYTES);
  for (let left = waiting[0]!; left > 0; left -= bytes.length) {
    libc.call("read", readFd, bytes, bytes.length);
    const info = parseSignalInfo(bytes);
    if (isForProgram(info, Deno.pid)) receive(info.signal, info);
  }
}

/** Reads until the record of signal 0, which no handler writes. */
async function readSignals(libc: Libc, { readFd }: Doorbell, receive: Receive): Promise<void> {
  const bytes = new Uint8Array(32 * SIGNAL_INFO_BYTES);
  for (;;) {
    const length = await libc.readLater(readFd, bytes);
    for (let at = 0; at < length; at += SIGNAL_INFO_BYTES) {
      const info = parseSignalInfo(bytes.subarray(at, at + SIGNAL_INFO_BYTES));
      if (info.signal === 0) return;
      if (isForProgram(info, Deno.pid)) receive(info.signal, info);
    }
  }
}

function makeDoorbell(libc: Libc): Doorbell {
  const { readFd, writeFd } = libc.pipe();
  return { readFd, writeFd, code: libc.executable(signalHandlerCode(Deno.build.arch, writeFd, SIGNAL_INFO_BYTES)) };
}
