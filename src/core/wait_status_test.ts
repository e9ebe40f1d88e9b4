import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type ProcessChange, processChange } from "./wait_status.ts";

for (const { id, why, input, expect } of loadVectors<number, ProcessChange>("wait_status")) {
  Deno.test(`processChange() ${id}: ${why}`, () => assert.deepEqual(processChange(input), expect));
}
