import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type ChildEnd, exitStatus } from "./exit_status.ts";

for (const { id, why, input, expect } of loadVectors<ChildEnd, number>("exit_status")) {
  Deno.test(`exitStatus() ${id}: ${why}`, () => assert.equal(exitStatus(input), expect));
}

Deno.test("exitStatus() hands on each of the 256 statuses unchanged", () => {
  for (let code = 0; code < 256; code++) assert.equal(exitStatus({ kind: "exited", code }), code);
});
