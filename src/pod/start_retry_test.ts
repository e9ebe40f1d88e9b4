import assert from "node:assert/strict";
import { KrunError } from "../core/errors.ts";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { fakeError } from "../../tests/fake_cluster.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { noCluster, StartRetry } from "./start_retry.ts";

const away = () => Promise.reject(fakeError("ClusterUnreachable", { transient: true }));

function setUp({ leftMs = 60_000, signal = new AbortController().signal } = {}) {
  const clock = new FakeClock();
  const log = new RecordingLog();
  const retry = new StartRetry({ deadlineMs: clock.nowMs() + leftMs, signal, clock, random: () => 0.999, log });
  return { clock, log, retry };
}

/** What a promise has come to, without waiting for it. */
function watched<T>(promise: Promise<T>): { end?: T; error?: unknown } {
  const state: { end?: T; error?: unknown } = {};
  promise.then((end) => state.end = end, (error) => state.error = error);
  return state;
}

const codeOf = (error: unknown) => error instanceof KrunError ? error.code : error;

Deno.test("StartRetry.call() gives the result when a later try succeeds, and says once that it tries again", async () => {
  const { clock, log, retry } = setUp();
  using _ = retry;
  let tries = 0;
  const call = watched(retry.call("read a thing", () => ++tries < 5 ? away() : Promise.resolve("here")));
  const other = watched(retry.call("read another", () => tries < 5 ? away() : Promise.resolve("too")));
  await clock.pass(10_000);
  assert.deepEqual([call.end, other.end], ["here", "too"]);
  assert.deepEqual(log.events, ["warn trying again until KRUN_START_TIMEOUT"]);
});

Deno.test("StartRetry.call() throws at once when the failure will not pass by itself", async () => {
  const { retry } = setUp();
  using _ = retry;
  const call = watched(retry.call("read a thing", () => Promise.reject(fakeError("Forbidden"))));
  await settle();
  assert.equal(codeOf(call.error), "Forbidden");
});

Deno.test("StartRetry.call() ends the retries of the others when one failed for good", async () => {
  const { clock, retry } = setUp();
  using _ = retry;
  const waiting = watched(retry.call("read a thing", away));
  await clock.pass(1_000);
  assert.equal(waiting.error, undefined);
  watched(retry.call("read another", () => Promise.reject(fakeError("ObjectNotFound"))));
  await settle();
  assert.equal(codeOf(waiting.error), "ClusterUnreachable");
});

Deno.test("StartRetry.call() tries a refusal again for 10 s after the server was away: it may not know its Roles yet", async () => {
  const { clock, retry } = setUp();
  using _ = retry;
  let tries = 0;
  const refused = () => Promise.reject(fakeError("Forbidden"));
  const coming = watched(retry.call("read a thing", () => {
    tries++;
    return tries === 1 ? away() : tries < 4 ? refused() : Promise.resolve("here");
  }));
  const never = watched(retry.call("read another", () => tries < 2 ? away() : refused()));
  await clock.pass(5_000);
  assert.equal(coming.end, "here");
  assert.equal(never.error, undefined);
  await clock.pass(12_000);
  assert.equal(codeOf(never.error), "Forbidden");
});

Deno.test("StartRetry.call() throws the last failure when the deadline passes, not before", async () => {
  const { clock, retry } = setUp();
  using _ = retry;
  const call = watched(retry.call("read a thing", away));
  await clock.pass(59_000);
  assert.equal(call.error, undefined);
  await clock.pass(1_001);
  assert.equal(codeOf(call.error), "ClusterUnreachable");
});

Deno.test("StartRetry.call() ends a call that hangs when the deadline passes", async () => {
  const { clock, retry } = setUp();
  using _ = retry;
  const hang = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  let tries = 0;
  const never = watched(retry.call("read a thing", hang));
  const late = watched(retry.call("read another", (signal) => ++tries === 1 ? away() : hang(signal)));
  await clock.pass(60_001);
  assert.equal(codeOf(never.error), "ClusterUnreachable");
  assert.match(String(never.error), /Cannot read a thing: no answer within 60 s/);
  assert.equal((never.error as KrunError).sharedEnd, ": no answer within 60 s", "told once, whatever was asked for");
  assert.match(String(late.error), /fake cluster/, "what the earlier try met says more");
});

Deno.test("StartRetry.call() tries once, without a limit, when the deadline is in the past", async () => {
  const { clock, retry } = setUp({ leftMs: -1 });
  using _ = retry;
  let tries = 0;
  const failing = watched(retry.call("read a thing", () => (tries++, away())));
  const slow = watched(retry.call("read another", (signal) => clock.sleep(90_000, signal).then(() => "slow")));
  await clock.pass(91_000);
  assert.equal(codeOf(failing.error), "ClusterUnreachable");
  assert.equal(tries, 1);
  assert.equal(slow.end, "slow");
});

Deno.test("StartRetry.call() waits as long as the server asks for", async () => {
  const { clock, retry } = setUp();
  using _ = retry;
  let tries = 0;
  const busy = () => Promise.reject(fakeError("ApiRequestFailed", { transient: true, retryAfterMs: 10_000 }));
  watched(retry.call("read a thing", () => (tries++, busy())));
  await clock.pass(10_000);
  assert.equal(tries, 1);
  await clock.pass(1_000);
  assert.equal(tries, 2);
});

Deno.test("StartRetry.call() throws the signal's reason when the start is given up, and nothing goes on", async () => {
  const stop = new AbortController();
  const { clock, retry } = setUp({ signal: stop.signal });
  using _ = retry;
  const call = watched(retry.call("read a thing", away));
  await clock.pass(1_000);
  stop.abort("given up");
  await settle();
  assert.equal(call.error, "given up");
  assert.equal(clock.sleeping, 0);
});

Deno.test("StartRetry.call() throws an unforeseen error as it is", async () => {
  const { retry } = setUp();
  using _ = retry;
  const call = watched(retry.call("read a thing", () => Promise.reject(new TypeError("a fault"))));
  await settle();
  assert.ok(call.error instanceof TypeError);
});

Deno.test("StartRetry leaves nothing that waits when it is disposed", async () => {
  const { clock, retry } = setUp();
  const call = retry.call("read a thing", away);
  const ended = assert.rejects(call);
  await settle();
  assert.equal(clock.sleeping, 1);
  retry[Symbol.dispose]();
  await ended;
  assert.equal(clock.sleeping, 0);
});

Deno.test("noCluster() names what was wanted", () => {
  assert.equal(noCluster("read a thing").code, "ClusterNotFound");
  assert.match(noCluster("read a thing").message, /^Cannot read a thing: /);
});
