import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { bytesOfText, textOfBytes } from "./byte_text.ts";
import { LineEditor, LONGEST_LINE_BYTES } from "./line_editor.ts";

interface Keys {
  readonly bytes: string;
  readonly isTerminal: boolean;
}

/** What was shown, and the events, of bytes that come in pieces. */
function typed(pieces: readonly Uint8Array[], isTerminal: boolean) {
  const editor = new LineEditor({ isTerminal });
  const [shown, events]: [number[], string[]] = [[], []];
  for (const event of pieces.flatMap((piece) => [...editor.push(piece)])) {
    if (event.kind === "show") shown.push(...event.bytes);
    else events.push(event.kind === "line" ? `line ${event.line}` : event.kind);
  }
  return { shown: textOfBytes(Uint8Array.from(shown)), events };
}

for (const { id, why, input, expect } of loadVectors<Keys, { shown: string; events: string[] }>("line_editor")) {
  Deno.test(`LineEditor ${id}: ${why}`, () =>
    assert.deepEqual(typed([bytesOfText(input.bytes)], input.isTerminal), expect));
}

Deno.test("LineEditor gives the same however the bytes come, for any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, isTerminal) => {
    assert.deepEqual(typed([...bytes].map((byte) => Uint8Array.of(byte)), isTerminal), typed([bytes], isTerminal));
  }));
});

Deno.test("LineEditor takes no more of a line than a terminal does", () => {
  for (const isTerminal of [true, false]) {
    const editor = new LineEditor({ isTerminal });
    for (let times = 0; times < 3; times++) [...editor.push(new Uint8Array(4000).fill(0x61))];
    assert.equal(editor.typed.length, LONGEST_LINE_BYTES);
  }
});
