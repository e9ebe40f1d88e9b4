import assert from "node:assert/strict";
import fc from "fast-check";
import { TextLines } from "./text_lines.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("TextLines.push() gives lines when their end has come, whatever the pieces are", () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.nat(7), (texts, size) => {
    const lines = texts.map((text) => text.replaceAll(/[\r\n\ufeff]/g, ""));
    const stream = bytes(lines.map((line) => `${line}\n`).join("") + "rest");
    const reader = new TextLines();
    const seen: string[] = [];
    for (let at = 0; at < stream.length; at += size + 1) seen.push(...reader.push(stream.subarray(at, at + size + 1)));
    assert.deepEqual([...seen, reader.rest()], [...lines.map((line) => line.toWellFormed()), "rest"]);
  }));
});

Deno.test("TextLines.push() takes CR LF for one end, and copies what it keeps", () => {
  const reader = new TextLines();
  const chunk = bytes("one\r\n\r\ntw");
  assert.deepEqual(reader.push(chunk), ["one", ""]);
  chunk.fill(0);
  assert.deepEqual(reader.push(bytes("o\n")), ["two"]);
  assert.equal(reader.rest(), undefined);
});

Deno.test("TextLines.push() cuts a line that never ends into pieces of 64 KiB", () => {
  const reader = new TextLines();
  const lines = reader.push(bytes("x".repeat(200_000)));
  assert.deepEqual(lines.map((line) => line.length), [65_536, 65_536, 65_536]);
  assert.equal(reader.rest()?.length, 200_000 - 3 * 65_536);
});
