import assert from "node:assert/strict";
import { answerLimitMs } from "./answer_limit.ts";

Deno.test("answerLimitMs() is what is left until the deadline, at least a second, and never more than the limit", () => {
  for (
    const [deadlineMs, expected] of [
      [undefined, 20_000],
      [0, 20_000],
      [1_000_000 + 60_000, 20_000],
      [1_000_000 + 5_000, 5_000],
      [1_000_000 + 10, 1_000],
      [999_000, 1_000],
    ] as const
  ) assert.equal(answerLimitMs(20_000, { deadlineMs, nowMs: 1_000_000 }), expected, String(deadlineMs));
  assert.equal(answerLimitMs(50, { deadlineMs: 1_000_001, nowMs: 1_000_000 }), 50);
});
