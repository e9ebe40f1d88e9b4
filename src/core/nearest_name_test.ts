import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { nearestName } from "./nearest_name.ts";

interface Input {
  readonly name: string;
  readonly candidates: readonly string[];
}

for (const { id, why, input, expect } of loadVectors<Input, string | null>("nearest_name")) {
  Deno.test(`nearestName() ${id}: ${why}`, () => {
    assert.equal(nearestName(input.name, input.candidates) ?? null, expect);
  });
}
