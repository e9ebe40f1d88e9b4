/**
 * A channel on a stream of node's: a TCP connection or a stream of HTTP/2. Nothing is read ahead of what is asked for, beyond
 * what the stream itself holds.
 *
 * @module
 */
import type { Duplex } from "node:stream";
import type { Channel } from "./channel.ts";

/** What differs between the streams that a {@linkcode DuplexChannel} can be on. */
export interface DuplexKind {
  /** Whether the far side has ended its half itself, now that the stream has nothing more to read. */
  endedInOrder(): boolean;
  /** Whether the stream that closes has ended in order, and only takes no more. @default {false} */
  readonly takesNoMore?: () => boolean;
  /** Cuts the stream. */
  reset(): void;
  /** What has to drain before more is written, and is not the stream itself. @default {nothing} */
  congestion?():
    | { once(event: "drain", act: () => void): unknown; off(event: "drain", act: () => void): unknown }
    | undefined;
}

/** The bytes of a duplex stream of node's, taken piece by piece. */
export class DuplexChannel implements Channel {
  readonly #stream: Duplex;
  readonly #kind: DuplexKind;
  readonly #cut = new AbortController();
  #ended = false;
  #takesNoMore = false;
  #wakeReader: () => void = () => {};
  #wakeWriter: () => void = () => {};

  constructor(stream: Duplex, kind: DuplexKind) {
    this.#stream = stream;
    this.#kind = kind;
    stream.on("readable", () => this.#wakeReader());
    stream.on("drain", () => this.#wakeWriter());
    stream.on("end", () => kind.endedInOrder() ? this.#end() : this.#break());
    stream.on("aborted", () => kind.takesNoMore?.() ? this.#close() : this.#break());
    stream.on("error", () => this.#break());
    stream.on("close", () => this.#ended && (stream.writableFinished || this.#takesNoMore) || this.#break());
    if (stream.destroyed) this.#break();
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      this.#requireWhole();
      const bytes = this.#stream.read() as Uint8Array | null;
      if (bytes !== null) return bytes;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireTaker();
    const wait = () => new Promise<void>((resolve) => this.#wakeWriter = resolve);
    if (!this.#stream.write(bytes)) await wait();
    for (let jam; !this.#isOver() && (jam = this.#kind.congestion?.()) !== undefined;) {
      const wake = () => this.#wakeWriter();
      jam.once("drain", wake);
      await wait();
      jam.off("drain", wake);
    }
    this.#requireTaker();
  }

  end(): void {
    this.#stream.end();
  }

  reset(): void {
    this.#kind.reset();
    this.#break();
  }

  #isOver(): boolean {
    return this.#takesNoMore || this.broken.aborted;
  }

  #requireWhole(): void {
    if (this.broken.aborted) throw new Error("the stream was cut");
  }

  #requireTaker(): void {
    this.#requireWhole();
    if (this.#takesNoMore) throw new Error("the stream takes no more");
  }

  #close(): void {
    this.#takesNoMore = true;
    this.#wakeWriter();
  }

  #end(): void {
    this.#ended = true;
    this.#wakeReader();
  }

  #break(): void {
    this.#cut.abort();
    this.#wakeReader();
    this.#wakeWriter();
  }
}
