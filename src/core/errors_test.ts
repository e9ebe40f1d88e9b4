import assert from "node:assert/strict";
import { KrunError } from "./errors.ts";

Deno.test("KrunError is one line without control characters when a name in it has some", () => {
  const { message, hint } = new KrunError("TargetInUse", 'Cannot mount at "/a\nkrun: b\x1b[2J\x9b"', "move ä\ttb");
  assert.equal(message, 'Cannot mount at "/a\\x0akrun: b\\x1b[2J\\x9b"');
  assert.equal(hint, "move ä\\x09tb");
});
