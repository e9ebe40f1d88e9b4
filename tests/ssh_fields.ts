/**
 * Takes messages of SSH apart. For tests only.
 *
 * @module
 */
import assert from "node:assert/strict";
import { SshReader } from "../src/core/ssh_wire.ts";

/** Fields of a message that was written here, as its letters say: byte, number, text. */
export function fields(bytes: Uint8Array, letters: string): (string | number)[] {
  const reader = new SshReader(bytes);
  const values = [...letters].map((letter) =>
    letter === "b" ? reader.uint8() : letter === "n" ? reader.uint32() : reader.text()
  );
  assert.ok(reader.isAtEnd);
  return values;
}
