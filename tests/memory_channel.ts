/**
 * A channel without a network: a test is its far side.
 *
 * @module
 */
import type { Channel } from "../src/net/channel.ts";

/** Bytes in memory, in both directions. */
export class MemoryChannel implements Channel {
  /** What was written to it. */
  readonly written: Uint8Array[] = [];
  /** Whether our half has ended. */
  hasEnded = false;
  readonly #cut = new AbortController();
  readonly #coming: (Uint8Array | undefined)[] = [];
  #wake: () => void = () => {};
  #room: Promise<void> = Promise.resolve();
  #makeRoom: () => void = () => {};

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  /** Sends to whoever reads the channel; `undefined` is the end. */
  send(...pieces: readonly (Uint8Array | undefined)[]): void {
    this.#coming.push(...pieces);
    this.#wake();
  }

  /** How many pieces were sent and not read. */
  get unread(): number {
    return this.#coming.length;
  }

  /** From now on there is no room; what is written waits until what it gives is called. */
  fill(): () => void {
    this.#room = new Promise((resolve) => this.#makeRoom = resolve);
    return this.#makeRoom;
  }

  /** Bytes that were written, as one. */
  bytes(): Uint8Array {
    return new Uint8Array(this.written.flatMap((piece) => [...piece]));
  }

  /** What was written, as a text. */
  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  async read(): Promise<Uint8Array | undefined> {
    while (this.#coming.length === 0) {
      if (this.broken.aborted) throw new Error("the channel was cut");
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#coming.shift();
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.broken.aborted) throw new Error("the channel was cut");
    this.written.push(bytes.slice());
    await this.#room;
    if (this.broken.aborted) throw new Error("the channel was cut");
  }

  end(): void {
    this.hasEnded = true;
  }

  reset(): void {
    this.#cut.abort();
    this.#wake();
    this.#makeRoom();
  }
}
