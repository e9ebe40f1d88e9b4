/**
 * Streams of bytes whose halves end by themselves, and what joins them. In: channels of any kind (a TCP connection, a stream of
 * HTTP/2, standard input and output). Out: whether each direction came to its end.
 *
 * @module
 */

/** What bytes are read from, one read at a time. */
export interface ByteSource {
  /** Aborts when the stream was cut: reset by either side, or its connection lost. An end in order is no cut. */
  readonly broken: AbortSignal;
  /** The next bytes; `undefined` once the far side has ended its half in order. Rejects when the stream was cut. */
  read(): Promise<Uint8Array | undefined>;
  /** Tells that nobody looks any more at what {@linkcode read} gave, so that its memory is given back at once. Need not be called. */
  done?(bytes: Uint8Array): void;
}

/** What bytes are written to, one write at a time. */
export interface ByteSink {
  /** Aborts when the stream was cut. */
  readonly broken: AbortSignal;
  /** Takes the bytes, and resolves when there is room for more. Rejects when the stream was cut, or takes no more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends our half: the far side reads what was written, then an end. The other half goes on. */
  end(): void;
}

/** One end of a two-way stream. */
export interface Channel extends ByteSource, ByteSink {
  /** Cuts the stream: the far side sees a reset, never an end. After our half has ended, it is told to send no more. */
  reset(): void;
}

/** How a {@linkcode relay} ended: true where a direction came to its end in order. */
export interface RelayEnd {
  readonly there: boolean;
  readonly back: boolean;
}

/**
 * Carries bytes from `near` to `far` and back until both directions have ended. An end becomes an end, a cut becomes a reset of
 * the other channel, and no more is read from one than the other takes. What one has said in order reaches the other also when
 * it takes nothing more itself. Never rejects.
 */
export async function relay(near: Channel, far: Channel): Promise<RelayEnd> {
  const reset = () => [near, far].forEach((channel) => channel.reset());
  // What waits for room on one side would not notice that the other one is gone.
  for (const { broken } of [near, far]) broken.addEventListener("abort", reset);
  if (near.broken.aborted || far.broken.aborted) reset();
  const [there, back] = await Promise.all([carry(near, far), carry(far, near)]);
  for (const { broken } of [near, far]) broken.removeEventListener("abort", reset);
  if (!there || !back) reset();
  return { there, back };
}

/** Carries bytes to their end, and ends the sink then. False, with the sink open, when either side was cut. Never rejects. */
export async function carry(from: ByteSource, to: ByteSink): Promise<boolean> {
  try {
    for (let bytes; (bytes = await from.read()) !== undefined;) {
      await to.write(bytes);
      from.done?.(bytes);
    }
  } catch {
    return false;
  }
  to.end();
  return true;
}
