/**
 * What goes out over a connection. In: bytes, piece by piece. Out: few large writes, and word of when there is room again.
 *
 * @module
 */
/** Takes all of the bytes, or rejects. */
export type WriteAll = (bytes: Uint8Array) => Promise<void>;

/** What a piece costs beside its bytes, roughly: thousands of small answers must not pass for little. */
export const PIECE_BYTES = 128;

/** Bytes on their way out. Never throws: a write that fails is told once, and what comes after it is dropped. */
export class OutputQueue {
  readonly #write: WriteAll;
  readonly #onFault: (cause: unknown) => void;
  #pieces: Uint8Array[] = [];
  #lengthBytes = 0;
  #writing: Promise<void> | undefined;
  #isBroken = false;
  #wakers: (() => void)[] = [];

  constructor(write: WriteAll, onFault: (cause: unknown) => void) {
    this.#write = write;
    this.#onFault = onFault;
  }

  /** How much memory takes what waits, in bytes. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Sends the bytes in their turn, with all that is pushed in the same turn of the event loop. They must not change any more. */
  push(bytes: Uint8Array): void {
    if (this.#isBroken) return;
    this.#pieces.push(bytes);
    this.#lengthBytes += bytes.length + PIECE_BYTES;
    this.#writing ??= this.#flush();
  }

  /** Resolves when no more than so many bytes of memory wait, or none will ever go out. */
  async room(limitBytes: number): Promise<void> {
    while (this.#lengthBytes > limitBytes && !this.#isBroken) {
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }

  /** Resolves when all that was pushed has gone out, or never will. */
  async emptied(): Promise<void> {
    await this.#writing;
  }

  async #flush(): Promise<void> {
    await Promise.resolve();
    while (this.#pieces.length > 0) {
      const pieces = this.#pieces;
      this.#pieces = [];
      const bytes = pieces.length === 1 ? pieces[0]! : joined(pieces);
      try {
        await this.#write(bytes);
      } catch (cause) {
        this.#isBroken = true;
        this.#pieces = [];
        this.#lengthBytes = 0;
        this.#wake();
        this.#onFault(cause);
        return;
      }
      this.#lengthBytes -= bytes.length + pieces.length * PIECE_BYTES;
      this.#wake();
    }
    this.#writing = undefined;
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}

/** There may be more of them than a function takes arguments. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
