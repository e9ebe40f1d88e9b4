/**
 * What goes out over a connection. In: bytes, piece by piece. Out: few large writes, and word of when there is room again.
 *
 * @module
 */
import type { SshOutputBudget } from "../core/ssh_output_budget.ts";
import { giveBack } from "../net/given_back.ts";

/** Takes all of the bytes, which are good until it resolves, or rejects. */
export type WriteAll = (bytes: Uint8Array) => Promise<void>;

/** What a piece costs beside its bytes, roughly: thousands of small answers must not pass for little. */
export const PIECE_BYTES = 128;

/** A buffer that has grown beyond this is let go of when all of it has gone out. */
const KEPT_BYTES = 16 << 10;

/** Bytes on their way out. Never throws: a write that fails is told once, and what comes after it is dropped. */
export class OutputQueue {
  readonly #write: WriteAll;
  readonly #onFault: (cause: unknown) => void;
  readonly #budget: Pick<SshOutputBudget, "count"> | undefined;
  /** What waits lies in one, while the other one is being written. */
  #next = new Uint8Array();
  #other = new Uint8Array();
  #nextBytes = 0;
  #lengthBytes = 0;
  /** Of what waits in `next`. */
  #pieces = 0;
  #writing: Promise<void> | undefined;
  #isBroken = false;
  #wakers: (() => void)[] = [];

  /** @param budget where what waits is counted for all connections */
  constructor(
    write: WriteAll,
    onFault: (cause: unknown) => void,
    { budget }: { readonly budget?: Pick<SshOutputBudget, "count"> } = {},
  ) {
    this.#write = write;
    this.#onFault = onFault;
    this.#budget = budget;
  }

  /** How much memory takes what waits, in bytes. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Sends a copy of the bytes in their turn, with all that is pushed in the same turn of the event loop. */
  push(bytes: Uint8Array): void {
    if (this.#isBroken) return;
    this.#reserve(bytes.length);
    this.#next.set(bytes, this.#nextBytes);
    this.#nextBytes += bytes.length;
    this.#pieces++;
    this.#count(bytes.length + PIECE_BYTES);
    this.#writing ??= this.#flush();
  }

  /** Resolves when no more than so many bytes of memory wait, by a limit that may change meanwhile, or none will ever go out. */
  async room(limitBytes: () => number): Promise<void> {
    while (this.#lengthBytes > limitBytes() && !this.#isBroken) {
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }

  /** Resolves when all that was pushed has gone out, or never will. */
  async emptied(): Promise<void> {
    await this.#writing;
  }

  /** Makes place for more; to allocate is what costs, so it is doubled, and kept while there is more to send. */
  #reserve(bytes: number): void {
    const needed = this.#nextBytes + bytes;
    if (needed <= this.#next.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#next.length, 1024));
    larger.set(this.#next.subarray(0, this.#nextBytes));
    giveBack(this.#next);
    this.#next = larger;
  }

  async #flush(): Promise<void> {
    await Promise.resolve();
    while (this.#nextBytes > 0) {
      const [written, pieces] = [this.#next.subarray(0, this.#nextBytes), this.#pieces];
      [this.#next, this.#other] = [this.#other, this.#next];
      this.#nextBytes = this.#pieces = 0;
      try {
        await this.#write(written);
      } catch (cause) {
        this.#break(cause);
        return;
      }
      this.#count(-(written.length + pieces * PIECE_BYTES));
      this.#wake();
    }
    if (this.#next.length > KEPT_BYTES) this.#next = emptied(this.#next);
    if (this.#other.length > KEPT_BYTES) this.#other = emptied(this.#other);
    this.#writing = undefined;
  }

  #count(bytes: number): void {
    this.#lengthBytes += bytes;
    this.#budget?.count(bytes);
  }

  #break(cause: unknown): void {
    this.#isBroken = true;
    this.#next = emptied(this.#next);
    this.#other = emptied(this.#other);
    this.#nextBytes = 0;
    this.#count(-this.#lengthBytes);
    this.#wake();
    this.#onFault(cause);
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}

function emptied(memory: Uint8Array): Uint8Array<ArrayBuffer> {
  giveBack(memory);
  return new Uint8Array();
}
