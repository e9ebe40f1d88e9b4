import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesOfText, textOfBytes } from "./byte_text.ts";

Deno.test("textOfBytes() and bytesOfText() give the same bytes back, when given any", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    assert.deepEqual(new Uint8Array(bytesOfText(textOfBytes(bytes))), new Uint8Array(bytes));
  }));
});

Deno.test("textOfBytes() is plain UTF-8 where the bytes are, a byte order mark and U+FFFD included", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.equal(textOfBytes(new TextEncoder().encode(text)), text);
  }));
  assert.equal(textOfBytes(new TextEncoder().encode("\ufeffa\ufffd")), "\ufeffa\ufffd");
});

Deno.test("textOfBytes() keeps the characters around a byte that belongs to none", () => {
  // Also the beginnings of characters that do not go on, an encoded surrogate, and a form that is too long.
  for (
    const [bytes, text] of [
      [[0x61, 0xff, 0xc3, 0xa9], "a\udcffé"],
      [[0xc3, 0x61], "\udcc3a"],
      [[0xf0, 0x9f, 0x98], "\udcf0\udc9f\udc98"],
      [[0xed, 0xb2, 0x80], "\udced\udcb2\udc80"],
      [[0xc0, 0xaf], "\udcc0\udcaf"],
    ] as const
  ) {
    assert.equal(textOfBytes(new Uint8Array(bytes)), text);
    assert.equal(text.isWellFormed(), false);
    assert.deepEqual([...bytesOfText(text)], [...bytes]);
  }
});

Deno.test("bytesOfText() writes U+FFFD for a surrogate that stands for no byte, as TextEncoder does", () => {
  assert.deepEqual([...bytesOfText("\ud800a\udc00")], [0xef, 0xbf, 0xbd, 0x61, 0xef, 0xbf, 0xbd]);
});
