/**
 * A caller of HTTP/2 that does what none should: frames at random, legal and not, in pieces at random, and an end in the middle. In: a
 * connection and the heads of requests that are worth asking. Out: when the connection is over.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  headerBlock,
  HEADERS,
  PING,
  PREFACE,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  uint32,
  WINDOW_UPDATE,
} from "./raw_http2.ts";

/** The fields of a request. */
export type Head = readonly (readonly [string, string])[];

/** Numbers from 0 on, the same for the same seed (Marsaglia's xorshift). */
export class Chance {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed | 1;
  }

  /** One of `count` numbers. */
  below(count: number): number {
    for (const [left, shift] of [[true, 13], [false, 17], [true, 5]] as const) {
      this.#state ^= left ? this.#state << shift : this.#state >>> shift;
    }
    return (this.#state >>> 0) % count;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

/** Misbehaves on a connection that is open, until that is over. Never rejects. */
export async function misbehave(socket: Socket, { chance, heads }: { chance: Chance; heads: readonly Head[] }) {
  const end = unrulyEnd(socket, chance);
  const frames = [PREFACE, settings([[4, chance.of([0, 100, 65_535, 2 ** 31 - 1])]]), ...randomFrames(chance, heads)];
  // All in one piece is what one read of the server takes together.
  for (let part: Buffer[]; (part = frames.splice(0, 1 + chance.below(12))).length > 0 && !socket.destroyed;) {
    socket.write(Buffer.concat(part));
    if (chance.below(3) === 0) await new Promise((resolve) => setTimeout(resolve, chance.below(8)));
  }
  await end();
}

/** Reads or does not, as chance has it. What it gives ends the connection one way or another, and waits for that. */
export function unrulyEnd(socket: Socket, chance: Chance): () => Promise<void> {
  const closed = new Promise<void>((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  if (chance.below(4) > 0) socket.resume();
  return async () => {
    if (chance.below(2) === 0) await new Promise((resolve) => setTimeout(resolve, chance.below(30)));
    if (chance.below(2) === 0) socket.end();
    const patience = setTimeout(() => socket.destroy(), chance.below(50));
    await closed;
    clearTimeout(patience);
  };
}

function settings(values: readonly (readonly [number, number])[]): Buffer {
  const entries = values.map(([id, value]) => Buffer.concat([uint32(id).subarray(2), uint32(value)]));
  return frame(SETTINGS, 0, 0, Buffer.concat(entries));
}

function randomFrames(chance: Chance, heads: readonly Head[]): Buffer[] {
  const streams: number[] = [];
  const some = () => streams.length > 0 ? chance.of(streams) : 1;
  const code = () => uint32(chance.below(14));
  const open = () => {
    const [id, flags] = [2 * streams.length + 1, END_HEADERS | chance.of([0, 0, 0, END_STREAM])];
    streams.push(id);
    return frame(
      HEADERS,
      flags,
      id,
      headerBlock([...chance.of(heads), ...chance.of([[], [], [["Bad Name", "x"]]] as const)]),
    );
  };
  const data = () => frame(DATA, chance.of([0, 0, END_STREAM]), some(), new Uint8Array(chance.below(16_384)));
  const makers = [
    ...[open, open, open, data, data],
    () => frame(RST_STREAM, 0, some(), code()),
    () => frame(WINDOW_UPDATE, 0, chance.of([0, some()]), uint32(chance.of([0, 1, 100_000, 2 ** 31 - 1]))),
    () => frame(PING, chance.of([0, ACK]), 0, new Uint8Array(8)),
    () => frame(GOAWAY, 0, 0, Buffer.concat([uint32(chance.of([0, 1, 300])), code()])),
    () => settings([[4, chance.of([0, 1, 65_535])], [3, chance.below(100)]]),
    () => frame(HEADERS, END_HEADERS | END_STREAM, some(), headerBlock([["x-trailer", "1"]])),
    () => frame(PRIORITY, 0, some(), new Uint8Array(5)),
    () => frame(CONTINUATION, END_HEADERS, some(), new Uint8Array(chance.below(40))),
    () => frame(chance.below(20), chance.below(256), chance.below(20), new Uint8Array(chance.below(40))),
  ];
  return Array.from({ length: chance.below(40) }, () => chance.of(makers)());
}
