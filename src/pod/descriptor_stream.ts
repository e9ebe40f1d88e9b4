/**
 * krun's ends of a session's pipes, terminal and Unix sockets. In: descriptors that never wait (O_NONBLOCK). Out: what is read from them, and
 * what is written to them.
 *
 * Nothing is read that nobody asked for, so whoever writes waits as it would for any slow reader. What is there is taken at once,
 * and only where nothing is, the thread of `readable.ts` waits; but krun's other work has its turn in between.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { ProcessInput, ProcessOutput } from "../core/session_process.ts";
import { type Bytes, bytesOf, EAGAIN, EINTR, type Libc } from "./libc.ts";
import { readable, stopWaiting, writable } from "./readable.ts";

/** What a stream holds in memory: as much as there was to read at once so far, within these bounds. */
const FIRST_BYTES = 4 * 1024, MOST_BYTES = 256 * 1024;

/** What all streams together hold beyond their least sizes; and what each may grow to where nothing of that is left. */
const ALL_BYTES = 16 * 1024 * 1024, LEAST_BYTES = 16 * 1024;

/** What all streams together move before the event loop has its turn: a tenth of a millisecond of copying. */
const TURN_BYTES = 256 * 1024;

/** What a pipe holds, where the system grants that to a user; and a read that shows that the first size was too small. */
const PIPE_BYTES = 1024 * 1024, BULK_BYTES = 64 * 1024;

/** What may lie in a terminal when its program ends: one page to read, and what the kernel buffers behind it (tty_buffer.c). */
const TERMINAL_BYTES = 128 * 1024;

let moved = 0;
let held = 0;
let nextTurn: Promise<void> | undefined;

/** Resolves in the event loop's next turn where this one has moved enough; `undefined` where it has not. */
function turn(): Promise<void> | undefined {
  if (moved < TURN_BYTES) return undefined;
  return nextTurn ??= new Promise((resolve) =>
    setImmediate(() => {
      moved = 0;
      nextTurn = undefined;
      resolve();
    })
  );
}

/** Options of {@linkcode DescriptorOutput} and {@linkcode DescriptorInput}. */
export interface DescriptorOptions {
  readonly kind: "pipe" | "terminal" | "socket";
}

/** What a program writes. A pipe's descriptor is this one's to close, the others' are not: both ways are one descriptor. */
export class DescriptorOutput implements ProcessOutput {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #kind: DescriptorOptions["kind"];
  #buffer: Bytes = new Uint8Array(0);
  #wanted = FIRST_BYTES;
  /** Of what all hold. */
  #held = 0;
  #isAtEnd = false;
  #isDiscarded = false;
  #isClosed = false;
  /** How many bytes are still read of a terminal whose program has ended. */
  #left = Infinity;

  constructor(libc: Libc, fd: number, { kind }: DescriptorOptions) {
    this.#libc = libc;
    this.#fd = fd;
    this.#kind = kind;
  }

  async read(): Promise<Uint8Array | undefined> {
    while (!this.#isAtEnd && !this.#isDiscarded && !this.#isClosed) {
      const count = await this.#next();
      if (count > 0) return this.#buffer.subarray(0, count);
    }
    return undefined;
  }

  /**
   * Its program has ended, so that after what is there now nothing more is read: whoever else has the terminal open could keep it
   * for ever. What the program wrote is there (n_tty_read() waits until it is).
   */
  programEnded(): void {
    if (this.#isClosed) return;
    this.#left = TERMINAL_BYTES;
    stopWaiting(this.#fd);
  }

  /** Nobody reads any more, and whoever writes is not to notice: what comes is thrown away until this is closed. */
  discard(): void {
    if (this.#isClosed || this.#isDiscarded) return;
    this.#isDiscarded = true;
    // Somebody may still look at the last one.
    this.#buffer = new Uint8Array(0);
    stopWaiting(this.#fd);
    void this.#discard();
  }

  async #discard(): Promise<void> {
    while (!this.#isAtEnd && !this.#isClosed) await this.#next();
  }

  /** Nothing more is read; a pipe is closed. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    held -= this.#held;
    stopWaiting(this.#fd);
    if (this.#kind === "pipe") this.#libc.call("close", this.#fd);
  }

  /** Reads once, or waits where nothing is there. Returns how much was read. */
  async #next(): Promise<number> {
    const wait = turn();
    if (wait) await wait;
    if (this.#isClosed) return 0;
    const count = this.#take();
    if (count === -EAGAIN && this.#left === Infinity) await readable(this.#fd);
    else if (count <= 0 && count !== -EINTR) this.#isAtEnd = true;
    return Math.max(0, count);
  }

  /** Reads what is there. Returns how much it is: 0 at the end, or -errno. */
  #take(): number {
    if (this.#buffer.length < this.#wanted) this.#buffer = new Uint8Array(this.#wanted);
    let count = 0;
    let last: number;
    do {
      last = this.#libc.call("read", this.#fd, this.#buffer.subarray(count), this.#buffer.length - count);
      count += Math.max(0, last);
      // A terminal gives a page at a time. What follows the last one, an end too, is found by the next read.
    } while (this.#kind === "terminal" && last > 0 && count < this.#buffer.length);
    if (count === 0) return last;
    moved += count;
    this.#left -= count;
    if (this.#left <= 0) this.#isAtEnd = true;
    if (count === this.#buffer.length) this.#grow();
    return count;
  }

  #grow(): void {
    if (this.#kind === "pipe" && this.#wanted === BULK_BYTES) growPipe(this.#libc, this.#fd);
    const wanted = Math.min(this.#wanted * 4, MOST_BYTES);
    const more = wanted > LEAST_BYTES ? wanted - this.#wanted : 0;
    if (held + more > ALL_BYTES) return;
    held += more;
    this.#held += more;
    this.#wanted = wanted;
  }
}

/** What a program reads. As with {@linkcode DescriptorOutput}, a pipe is this one's to close. */
export class DescriptorInput implements ProcessInput {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #kind: DescriptorOptions["kind"];
  #hasGrown = false;
  #isWriting = false;
  #isEnding = false;
  #isClosed = false;

  constructor(libc: Libc, fd: number, { kind }: DescriptorOptions) {
    this.#libc = libc;
    this.#fd = fd;
    this.#kind = kind;
  }

  async write(bytes: Uint8Array): Promise<boolean> {
    if (this.#isEnding) return false;
    this.#isWriting = true;
    const isTaken = await this.#writeAll(bytesOf(bytes as Bytes));
    this.#isWriting = false;
    if (this.#isEnding) this.#finish();
    return isTaken;
  }

  end(): void {
    if (this.#kind === "terminal") return;
    this.#isEnding = true;
    if (!this.#isWriting) this.#finish();
  }

  #finish(): void {
    const SHUT_WR = 1;
    if (this.#kind === "socket" && !this.#isClosed) this.#libc.call("shutdown", this.#fd, SHUT_WR);
    this.close();
  }

  /** Nothing more is written; a pipe is closed. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    stopWaiting(this.#fd);
    if (this.#kind === "pipe") this.#libc.call("close", this.#fd);
  }

  async #writeAll(bytes: Bytes): Promise<boolean> {
    for (let rest = bytes; rest.length > 0;) {
      const wait = turn();
      if (wait) await wait;
      if (this.#isClosed) return false;
      const count = this.#libc.call("write", this.#fd, rest, Math.min(rest.length, TURN_BYTES));
      if (count >= 0) {
        moved += count;
        rest = rest.subarray(count);
      } else if (count === -EAGAIN) {
        if (this.#kind !== "pipe" || this.#hasGrown) await writable(this.#fd);
        else growPipe(this.#libc, this.#fd);
        this.#hasGrown = true;
      } else if (count !== -EINTR) return false;
    }
    return !this.#isClosed;
  }
}

/** Only a pipe that is used so: the system counts the sizes of all pipes of a user, and gives the next ones less (pipe(7)). */
function growPipe(libc: Libc, fd: number): void {
  const F_SETPIPE_SZ = 1031;
  libc.call("fcntl", fd, F_SETPIPE_SZ, PIPE_BYTES);
}
