/**
 * Streams of node's as sources and sinks: TCP connections, streams of HTTP/2, bodies of HTTP/1.1. Nothing is read ahead of what is
 * asked for, beyond what the stream itself holds.
 *
 * @module
 */
import type { Duplex, Readable, Writable } from "node:stream";
import type { ByteSink, ByteSource, Channel } from "./channel.ts";

/** How a stream that is read can end. */
export interface SourceKind {
  /** Whether the far side has ended its half itself, now that the stream has nothing more to read. @default {it has} */
  readonly endedInOrder?: () => boolean;
  /** What it held when it was closed after such an end; each part once. @default {nothing} */
  readonly unread?: () => Uint8Array | undefined;
  /** Whether the stream that is aborted has ended in order, and only takes no more. @default {it has not} */
  readonly takesNoMore?: () => boolean;
}

/** What tells when it has drained. */
export interface Congestion {
  once(event: "drain", act: () => void): unknown;
  off(event: "drain", act: () => void): unknown;
}

/** What holds up a stream that is written. */
export interface SinkKind {
  /** What has to drain before more is written, and is not the stream itself. @default {nothing} */
  readonly congestion?: () => Congestion | undefined;
}

/** A stream that is read piece by piece. */
export class ReadableSource implements ByteSource {
  readonly #stream: Readable;
  readonly #kind: SourceKind;
  readonly #cut: AbortController;
  #ended = false;
  #wake: () => void = () => {};

  constructor(stream: Readable, kind: SourceKind = {}, cut = new AbortController()) {
    this.#stream = stream;
    this.#kind = kind;
    this.#cut = cut;
    const { endedInOrder, takesNoMore } = kind;
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    const fail = () => cut.abort();
    cut.signal.addEventListener("abort", () => this.#wake());
    stream.on("readable", () => this.#wake());
    stream.on("end", () => endedInOrder?.() ?? true ? end() : fail());
    stream.on("aborted", () => takesNoMore?.() || fail());
    stream.on("error", fail);
    stream.on("close", () => this.#ended || (endedInOrder?.() ? end() : fail()));
    if (stream.destroyed) fail();
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      requireWhole(this.broken);
      const bytes = (this.#stream.read() as Uint8Array | null) ?? this.#kind.unread?.();
      if (bytes !== undefined) return bytes;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

/** A stream that is written piece by piece. */
export class WritableSink implements ByteSink {
  readonly #stream: Writable;
  readonly #kind: SinkKind;
  readonly #cut: AbortController;
  #takesNoMore = false;
  #wake: () => void = () => {};

  constructor(stream: Writable, kind: SinkKind = {}, cut = new AbortController()) {
    this.#stream = stream;
    this.#kind = kind;
    this.#cut = cut;
    const fail = () => cut.abort();
    cut.signal.addEventListener("abort", () => this.#wake());
    stream.on("drain", () => this.#wake());
    stream.on("error", fail);
    stream.on("close", () => stream.writableFinished || this.#takesNoMore || fail());
    if (stream.destroyed) fail();
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireTaker();
    const room = () => new Promise<void>((resolve) => this.#wake = resolve);
    if (!this.#stream.write(bytes)) await room();
    for (let jam; this.#isOpen() && (jam = this.#kind.congestion?.()) !== undefined;) {
      const wake = () => this.#wake();
      jam.once("drain", wake);
      await room();
      jam.off("drain", wake);
    }
    this.#requireTaker();
  }

  end(): void {
    this.#stream.end();
  }

  /** The far side wants nothing more, and has said all it will. */
  stop(): void {
    this.#takesNoMore = true;
    this.#wake();
  }

  #isOpen(): boolean {
    return !this.#takesNoMore && !this.broken.aborted;
  }

  #requireTaker(): void {
    requireWhole(this.broken);
    if (this.#takesNoMore) throw new Error("the stream takes no more");
  }
}

/** What a {@linkcode DuplexChannel} asks of its stream. */
export interface DuplexKind extends SourceKind, SinkKind {
  /** Cuts the stream. */
  reset(): void;
}

/** A stream that is both. */
export class DuplexChannel implements Channel {
  readonly #source: ReadableSource;
  readonly #sink: WritableSink;
  readonly #cut = new AbortController();
  readonly #reset: () => void;

  constructor(stream: Duplex, { reset, takesNoMore, endedInOrder, unread, ...kind }: DuplexKind) {
    const stops = () => {
      if (!takesNoMore?.()) return false;
      this.#sink.stop();
      return true;
    };
    const source = { takesNoMore: stops, ...(endedInOrder && { endedInOrder }), ...(unread && { unread }) };
    this.#source = new ReadableSource(stream, source, this.#cut);
    this.#sink = new WritableSink(stream, kind, this.#cut);
    this.#reset = reset;
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#source.read();
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#sink.write(bytes);
  }

  end(): void {
    this.#sink.end();
  }

  reset(): void {
    this.#reset();
    this.#cut.abort();
  }
}

function requireWhole(broken: AbortSignal): void {
  if (broken.aborted) throw new Error("the stream was cut");
}
