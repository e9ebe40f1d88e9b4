/**
 * Writing until nobody takes any more, for tests of back-pressure. In: a way to write. Out: how much was taken.
 *
 * @module
 */
import type { Socket } from "node:net";
import { waitFor } from "./wait.ts";

/** More than the kernel's buffers and the windows of HTTP/2 hold, and much less than a flood without an end. */
export const MOST_BYTES = 12e6;

/** Writes until nothing is taken any more; gives how much was. */
export async function flood(write: (chunk: Uint8Array) => Promise<unknown>, taken: () => number): Promise<number> {
  const chunk = new Uint8Array(65_536);
  let isOver = false;
  const pump = async () => {
    while (!isOver) await write(chunk);
  };
  pump().catch(() => {});
  let last = 0;
  await waitFor("the flood to be stopped", async () => {
    const before = last;
    last = taken();
    if (last > 5 * MOST_BYTES) return true;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return last > 0 && before === last && taken() === last;
  });
  isOver = true;
  return last;
}

/** Floods the peer of a program's connection. */
export function floodFrom(socket: Socket): Promise<number> {
  const write = (chunk: Uint8Array) => new Promise((resolve) => socket.write(chunk, resolve));
  return flood(write, () => socket.bytesWritten - socket.writableLength);
}
