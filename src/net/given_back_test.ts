import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { giveBack } from "./given_back.ts";

Deno.test("giveBack() empties what has its memory to itself", () => {
  const packet = new Uint8Array(32_800);
  const payload = packet.subarray(14, 32_782);
  giveBack(payload);
  assert.deepEqual([payload.length, packet.length, packet.buffer.detached], [0, 0, true]);
});

Deno.test("giveBack() leaves what others may look at, and what is small", () => {
  const all = new Uint8Array(20_000);
  const shared = new Uint8Array(new SharedArrayBuffer(20_000));
  const pooled = Buffer.from("a key that is typed");
  for (const bytes of [all.subarray(0, 10_000), all.subarray(300), all.subarray(0, 100), shared, pooled]) {
    giveBack(bytes);
  }
  giveBack(new Uint8Array());
  assert.deepEqual([all.length, shared.length, pooled.length], [20_000, 20_000, 19]);
});
