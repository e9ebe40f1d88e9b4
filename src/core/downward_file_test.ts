import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { downwardFile } from "./downward_file.ts";

for (const { id, why, input, expect } of loadVectors<Record<string, string>, string>("downward_file")) {
  Deno.test(`downwardFile() ${id}: ${why}`, () => assert.equal(downwardFile(input), expect));
}
