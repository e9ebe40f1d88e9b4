import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import {
  ageMs,
  type FailedRenewal,
  grantedLifeMs,
  renewalAgeMs,
  renewalAlarm,
  renewalJitterMs,
  renewalRetryMs,
} from "./token_schedule.ts";

for (const v of loadVectors<{ lifeSeconds: number; jitterSeconds: number }, number>("token_renewal_age")) {
  Deno.test(`renewalAgeMs() ${v.id}: ${v.why}`, () => {
    assert.equal(renewalAgeMs(v.input.lifeSeconds * 1000, v.input.jitterSeconds * 1000), v.expect * 1000);
  });
}

for (const v of loadVectors<FailedRenewal, number>("token_retry")) {
  Deno.test(`renewalRetryMs() ${v.id}: ${v.why}`, () => {
    assert.equal(renewalRetryMs(v.input), v.expect);
  });
}

Deno.test("renewalRetryMs() stays between half a second and 70 s whatever happens", () => {
  fc.assert(fc.property(
    fc.record({
      failures: fc.integer({ min: 1, max: 10_000 }),
      leftMs: fc.integer({ min: -1e12, max: 1e12 }),
      chance: fc.double({ min: 0, max: 0.999, noNaN: true }),
      retryAfterMs: fc.integer({ min: 0, max: 1e12 }),
    }),
    (failed) => {
      const delay = renewalRetryMs(failed);
      assert.ok(delay >= 500 && delay <= 70_000, String(delay));
    },
  ));
});

Deno.test("renewalAgeMs() leaves time to retry for every life and jitter", () => {
  fc.assert(fc.property(fc.integer({ min: 600, max: 2 ** 32 }), fc.integer({ min: 0, max: 9 }), (life, jitter) => {
    const age = renewalAgeMs(life * 1000, jitter * 1000);
    assert.ok(
      age >= Math.min(life * 500, 43_200_000) && age <= life * 800 + 1_000 && age <= 24 * 3_600_000,
      String(age),
    );
  }));
});

Deno.test("renewalJitterMs() gives whole seconds from 0 to 9 when chance is anything below 1", () => {
  assert.equal(renewalJitterMs(0), 0);
  assert.equal(renewalJitterMs(0.55), 5_000);
  assert.equal(renewalJitterMs(0.999999), 9_000);
});

Deno.test("grantedLifeMs() counts what was granted when less than asked", () => {
  assert.equal(grantedLifeMs({ token: "t", issuedAtMs: 1_000, expiresAtMs: 601_000 }), 600_000);
});

Deno.test("ageMs() believes the clock that shows the larger age", () => {
  const then = { nowMs: 1_000_000, elapsedMs: 50 };
  assert.equal(ageMs(then, { nowMs: 1_000_500, elapsedMs: 550 }), 500);
  assert.equal(ageMs(then, { nowMs: 8_200_000, elapsedMs: 60 }), 7_200_000, "suspended: only the wall clock went on");
  assert.equal(
    ageMs(then, { nowMs: 500, elapsedMs: 3_600_050 }),
    3_600_000,
    "wall clock put back: the other one counts",
  );
});

Deno.test("renewalAlarm() gets louder when the last tenth of the life begins", () => {
  assert.deepEqual(renewalAlarm(720_000, 3_600_000), { level: "warn", everyMs: 300_000 });
  assert.deepEqual(renewalAlarm(359_999, 3_600_000), { level: "error", everyMs: 60_000 });
  assert.deepEqual(renewalAlarm(-5, 3_600_000), { level: "error", everyMs: 60_000 });
});
