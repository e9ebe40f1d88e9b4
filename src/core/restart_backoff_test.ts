import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import {
  crashLoopMessage,
  type EndedContainer,
  LONGEST_DELAY_MS,
  restartAtMs,
  type RestartBackoff,
  shouldRestart,
  stepRestart,
} from "./restart_backoff.ts";

for (const { id, why, input, expect } of loadVectors<EndedContainer, boolean>("restart_policy")) {
  Deno.test(`shouldRestart() ${id}: ${why}`, () => assert.equal(shouldRestart(input), expect));
}

for (const { id, why, input, expect } of loadVectors<{ runSeconds: number[] }, number[]>("restart_backoff")) {
  Deno.test(`restartAtMs() ${id}: ${why}`, () => {
    assert.deepEqual(pausesMs(input.runSeconds.map((seconds) => seconds * 1000)), expect.map((s) => s * 1000));
  });
}

for (
  const { id, why, input, expect } of loadVectors<{ container: string; delayMs: number }, string>("crash_loop_message")
) {
  Deno.test(`crashLoopMessage() ${id}: ${why}`, () => {
    const pod = { name: "web", namespace: "shop", uid: "u-1" };
    assert.equal(crashLoopMessage(input.container, { pod, delayMs: input.delayMs }), expect);
  });
}

Deno.test("restartAtMs() lies in the past when the pause has gone by unwatched", () => {
  const backoff = stepRestart(undefined, { finishedAtMs: 0, nowMs: 0 });
  assert.equal(restartAtMs(backoff, 1_000), 11_000);
});

Deno.test("restartAtMs() is never before the end of the run, nor later than the longest pause", () => {
  fc.assert(fc.property(fc.array(fc.nat({ max: 2_000_000 }), { maxLength: 30 }), (runsMs) => {
    assert.ok(pausesMs(runsMs).every((pause) => pause >= 0 && pause <= LONGEST_DELAY_MS));
  }));
});

/** The pause after each run, for a container that is started again as soon as it may be. */
function pausesMs(runsMs: readonly number[]): number[] {
  let backoff: RestartBackoff | undefined;
  let nowMs = 1_700_000_000_000;
  return runsMs.map((runMs) => {
    const finishedAtMs = nowMs + runMs;
    nowMs = restartAtMs(backoff, finishedAtMs);
    backoff = stepRestart(backoff, { finishedAtMs, nowMs });
    return nowMs - finishedAtMs;
  });
}
