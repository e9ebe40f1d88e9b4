/**
 * The pipes between krun and a session's program. In: the program's name, for messages. Out: what the program is to be started with,
 * and krun's ends.
 *
 * They are made while krun's thread is the session's user, and so are that user's: the program may open `/dev/stdout` anew, as its
 * pipe's owner alone may do.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { TerminalSize } from "../core/session_process.ts";
import { DescriptorInput, DescriptorOutput } from "./descriptor_stream.ts";
import { bytesOf, EMFILE, ENFILE, type Libc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";
import type { SessionStdio } from "./spawn.ts";

/** What a session's program and krun talk over: pipes, or a terminal. */
export interface SessionDescriptors {
  /** What the program is started with. */
  readonly stdio: SessionStdio;
  readonly input: DescriptorInput;
  readonly output: DescriptorOutput;
  /** Unset with a terminal. */
  readonly error?: DescriptorOutput;
  /** Unset with pipes. */
  readonly terminal?: { readonly path: string; resize(size: TerminalSize): void };
  /** The program has its own by now, or there is none: closes krun's copies of what is the program's. */
  given(): void;
  /** Its user has gone: closes a terminal, and has programs that say something at their end do so into pipes that take it. */
  hangUp(): void;
  /** Closes krun's ends. What waits for them resolves as if nobody were at the other one. */
  close(): void;
}

/**
 * Opens pipes for standard input, output and error.
 *
 * @throws {KrunError} `Internal` when no descriptor is left; what was opened before is closed again.
 */
export function openPipes(libc: Libc, program: string): SessionDescriptors {
  const [inputs, outputs, errors] = threePipes(libc, program);
  const theirs = [inputs.readFd, outputs.writeFd, errors.writeFd] as const;
  const input = new DescriptorInput(libc, inputs.writeFd, { kind: "pipe" });
  const output = new DescriptorOutput(libc, outputs.readFd, { kind: "pipe" });
  const error = new DescriptorOutput(libc, errors.readFd, { kind: "pipe" });
  // Of krun's ends alone: most programs take one that does not wait for one that is broken.
  const F_SETFL = 4;
  for (const fd of [inputs.writeFd, outputs.readFd, errors.readFd]) libc.call("fcntl", fd, F_SETFL, O_NONBLOCK);
  return {
    stdio: theirs,
    input,
    output,
    error,
    given: () => theirs.forEach((fd) => libc.call("close", fd)),
    hangUp: () => {
      input.close();
      for (const stream of [output, error]) stream.discard();
    },
    close: () => [input, output, error].forEach((stream) => stream.close()),
  };
}

interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

function threePipes(libc: Libc, program: string): readonly [Pipe, Pipe, Pipe] {
  const fds = new Int32Array(6);
  for (let count = 0; count < fds.length; count += 2) {
    const errno = libc.attempt("pipe2", bytesOf(fds.subarray(count, count + 2)), O_CLOEXEC);
    if (errno === 0) continue;
    for (const fd of fds.subarray(0, count)) libc.call("close", fd);
    throw new KrunError("Internal", `Cannot start program "${program}": ${shortage(errno)}`, SHORTAGE_HINT);
  }
  const pipe = (at: number) => ({ readFd: fds[at] ?? -1, writeFd: fds[at + 1] ?? -1 });
  return [pipe(0), pipe(2), pipe(4)];
}

/** Why a descriptor could not be had (errno(3)). */
export function shortage(errno: number): string {
  if (errno === EMFILE) return "krun has no file descriptor left";
  if (errno === ENFILE) return "the machine has no file descriptor left";
  return `no file descriptor can be had (error number ${errno})`;
}

/** What to do about a {@linkcode shortage}. */
export const SHORTAGE_HINT = "end other sessions, or raise the limit of open files with which krun is started";
