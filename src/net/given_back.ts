/**
 * Memory that is given back before V8 collects it. In: bytes that nobody looks at any more.
 *
 * V8 counts what lies outside of its heap, and marks the whole heap anew for every 15 MB of it: with 32 KiB for each packet that was a
 * third of the time of the binary's main thread (Deno 2.6.10), and more on others.
 *
 * @module
 */

/** Smaller ones are not worth it, and node:buffer may keep several of them in one memory; bytes. */
const LEAST_BYTES = 4096;

/** What may lie around a payload: its padding and their lengths, bytes. */
const MOST_AROUND_BYTES = 272;

/** Gives back the memory of bytes that have it to themselves, and does nothing for others. They are empty afterwards. */
export function giveBack({ buffer, length }: Uint8Array): void {
  const isAlone = length >= LEAST_BYTES && buffer.byteLength <= length + MOST_AROUND_BYTES;
  if (isAlone && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
