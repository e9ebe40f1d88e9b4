import assert from "node:assert/strict";
import { systemClock } from "./clock.ts";

Deno.test("systemClock.sleep() ends after its time, by the clock that never goes back", async () => {
  const before = systemClock.elapsedMs();
  await systemClock.sleep(20, new AbortController().signal);
  assert.ok(systemClock.elapsedMs() - before >= 19);
});

Deno.test("systemClock.sleep() ends at once when the signal aborts or has aborted, and leaves no timer", async () => {
  const stop = new AbortController();
  const sleeping = systemClock.sleep(3_600_000, stop.signal);
  stop.abort();
  await sleeping;
  await systemClock.sleep(3_600_000, stop.signal);
});

Deno.test("systemClock.sleep() does not end at once when the time is longer than any timer", async () => {
  const stop = new AbortController();
  const short = systemClock.sleep(20, stop.signal).then(() => "short");
  const long = systemClock.sleep(1e15, stop.signal).then(() => "long");
  assert.equal(await Promise.race([short, long]), "short");
  stop.abort();
  await long;
});

Deno.test("systemClock.nowMs() is the wall clock", () => {
  assert.ok(Math.abs(systemClock.nowMs() - Date.now()) < 60_000);
});
