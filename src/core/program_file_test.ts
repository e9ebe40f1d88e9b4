import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { PROGRAM_FILE_BYTES, type ProgramFile, programFile } from "./program_file.ts";

for (const { id, why, input, expect } of loadVectors<string, ProgramFile>("program_file")) {
  Deno.test(`programFile() ${id}: ${why}`, () => assert.deepEqual(programFile(Uint8Array.fromBase64(input)), expect));
}

Deno.test("programFile() never throws and always knows a kind, whatever the bytes", () => {
  const head = fc.uint8Array({ maxLength: PROGRAM_FILE_BYTES });
  const elfHead = head.map((bytes) => Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, ...bytes));
  fc.assert(fc.property(fc.oneof(head, elfHead), (bytes) => {
    assert.match(programFile(bytes).kind, /^(script|elf|empty|text|other)$/);
  }));
});
