/**
 * Standard input and output as one channel: what is read is the input, what is written is the output.
 *
 * @module
 */
import type { Channel } from "../net/channel.ts";

/** A pair of streams; each is used from now on by the channel alone. */
export class StdioChannel implements Channel {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #cut = new AbortController();
  /** Settles when the output was closed, or is gone. */
  readonly finished: Promise<void>;

  constructor(input: ReadableStream<Uint8Array>, output: WritableStream<Uint8Array>) {
    this.#reader = input.getReader();
    this.#writer = output.getWriter();
    // A pipe that nobody reads any more.
    this.finished = this.#writer.closed.catch(() => this.#cut.abort());
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    const { value } = await this.#reader.read();
    this.broken.throwIfAborted();
    return value;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
  }

  end(): void {
    this.#writer.close().catch(() => {});
  }

  reset(): void {
    this.#cut.abort();
    this.#reader.cancel().catch(() => {});
    this.#writer.abort().catch(() => {});
  }
}
