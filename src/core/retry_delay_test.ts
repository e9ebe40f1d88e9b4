import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { retryDelayMs, type RetryDelayOptions } from "./retry_delay.ts";

for (const { id, why, input, expect } of loadVectors<RetryDelayOptions & { failures: number }, number>("retry_delay")) {
  Deno.test(`retryDelayMs() ${id}: ${why}`, () => {
    const { failures, ...options } = input;
    assert.equal(retryDelayMs(failures, options), expect);
  });
}
