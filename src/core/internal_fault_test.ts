import assert from "node:assert/strict";
import { KrunError } from "./errors.ts";
import { foreseen } from "./internal_fault.ts";

Deno.test("foreseen() gives a KrunError back as it is", () => {
  const error = new KrunError("NoSpace", "Cannot write: full", "make room");
  assert.equal(foreseen("write", error), error);
});

Deno.test("foreseen() names the class of an unforeseen error, never its words", () => {
  const error = foreseen('write volume "db"', new SyntaxError("hunter2 is no JSON"));
  assert.equal(error.code, "Internal");
  assert.equal(error.message, 'Cannot write volume "db": SyntaxError');
  assert.equal(foreseen("write", "hunter2").message, "Cannot write: string");
});
