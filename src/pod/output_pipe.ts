/**
 * A program's standard output and error, when they are not krun's own. In: a descriptor for the program. Out: its lines.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { TextLines } from "../core/text_lines.ts";
import { bytesOf, type Libc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";
import { readable, stopWaiting } from "./readable.ts";

/** A pipe of which krun has the end that is read. */
export interface OutputPipe {
  /** For the program; krun's own copy, to be closed by {@linkcode OutputPipe.given}. */
  readonly writeFd: number;
  /** The program has its copy, or there is no program: from now on the end of all writers ends the pipe. */
  given(): void;
  /** Resolves when nobody can write any more and all lines were told. Never rejects. */
  readonly ended: Promise<void>;
  /** Ends it although somebody may still write. */
  close(): void;
}

/** Options of {@linkcode openOutput}. */
export interface OutputOptions {
  /** Whose it is: a program that opens `/dev/stdout` anew, as Envoy does, may do so only as the pipe's owner. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Called with each line, without its end. Must not throw. */
  onLine(line: string): void;
}

const CHUNK_BYTES = 16 * 1024;

/** Opens a pipe and reads it until its end. @throws {KrunError} `Internal` when the system has no descriptor left */
export function openOutput(libc: Libc, { owner, onLine }: OutputOptions): OutputPipe {
  const [readFd, writeFd] = pipe(libc, owner);
  const close = (fd: number) => void libc.call("close", fd);
  let isClosed = false;
  const ended = read(libc, readFd, { onLine, isClosed: () => isClosed }).finally(() => close(readFd));
  return {
    writeFd,
    given: () => close(writeFd),
    ended,
    close: () => {
      isClosed = true;
      stopWaiting(readFd);
    },
  };
}

function pipe(libc: Libc, owner: OutputOptions["owner"]): [readFd: number, writeFd: number] {
  const F_SETFL = 4, AT_EMPTY_PATH = 0x1000;
  const fds = new Int32Array(2);
  const errno = libc.attempt("pipe2", bytesOf(fds), O_CLOEXEC);
  if (errno !== 0) throw new KrunError("Internal", `Cannot make a pipe: error number ${errno}`, "report it");
  const [readFd = -1, writeFd = -1] = fds;
  libc.call("fcntl", readFd, F_SETFL, O_NONBLOCK);
  if (owner) libc.call("fchownat", writeFd, "", owner.uid, owner.gid, AT_EMPTY_PATH);
  return [readFd, writeFd];
}

async function read(
  libc: Libc,
  fd: number,
  { onLine, isClosed }: { onLine(line: string): void; isClosed(): boolean },
): Promise<void> {
  const EINTR = 4, EAGAIN = 11;
  const lines = new TextLines();
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let count = -EAGAIN; count !== 0 && !isClosed();) {
    // One piece, then krun's other work has its turn.
    if (count !== -EINTR) await readable(fd);
    if (isClosed()) break;
    count = libc.call("read", fd, chunk, chunk.length);
    if (count > 0) { for (const line of lines.push(chunk.subarray(0, count))) onLine(line); }
    else if (count !== -EAGAIN && count !== -EINTR) break;
  }
  const rest = lines.rest();
  if (rest !== undefined) onLine(rest);
}
