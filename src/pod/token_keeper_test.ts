import assert from "node:assert/strict";
import type { GrantedToken, TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { accountUid } from "../core/jwt.ts";
import { FakeClock } from "../../tests/fake_clock.ts";
import { fakeClaims, FakeCluster, fakeError, unreachable } from "../../tests/fake_cluster.ts";
import { type RecordedLine, RecordingLog } from "../../tests/recording_log.ts";
import { TokenKeeper } from "./token_keeper.ts";

const REF: TokenRef = { namespace: "shop", serviceAccount: "web", audience: "vault", expirationSeconds: 3600 };
const MINUTE_MS = 60_000;

/** A kept token on a fake clock and a fake cluster, with what was logged. */
async function keep(ref: TokenRef, test: (kept: Kept) => Promise<void>): Promise<void> {
  const clock = new FakeClock();
  await using cluster = new FakeCluster(clock);
  cluster.putServiceAccount("shop", "web");
  const log = new RecordingLog();
  const keeper = new TokenKeeper(cluster, ref, { log, clock, random: () => 0 });
  await keeper.first();
  const renewed: GrantedToken[] = [];
  const stop = new AbortController();
  const keeping = keeper.keep({ signal: stop.signal, onRenewed: (token) => renewed.push(token) });
  await test({ clock, cluster, keeper, renewed, lines: log.lines });
  stop.abort();
  await keeping;
  assert.equal(clock.sleeping, 0);
  const said = JSON.stringify(log.lines);
  for (const { token } of renewed) assert.ok(!said.includes(token), "a token was logged");
}

interface Kept {
  clock: FakeClock;
  cluster: FakeCluster;
  keeper: TokenKeeper;
  renewed: GrantedToken[];
  lines: RecordedLine[];
}

Deno.test("TokenKeeper renews when 80 % of the life has passed, and again after that", () =>
  keep(REF, async ({ clock, renewed, lines, keeper }) => {
    const first = keeper.current.token;
    await clock.pass(48 * MINUTE_MS);
    assert.equal(renewed.length, 0);
    await clock.pass(10);
    assert.equal(renewed.length, 1);
    assert.notEqual(keeper.current.token, first);
    assert.equal(keeper.current, renewed[0]);
    await clock.pass(48 * MINUTE_MS + 10);
    assert.equal(renewed.length, 2);
    assert.deepEqual(lines.map(({ level, event }) => `${level} ${event}`), Array(2).fill("info token renewed"));
    assert.deepEqual(keeper.status(), {
      ...REF,
      expiresAtMs: keeper.current.expiresAtMs,
      renewals: 2,
      failures: 0,
    });
  }));

Deno.test("TokenKeeper renews after 24 h when 80 % of the life is more", () =>
  keep({ ...REF, expirationSeconds: 7 * 86_400 }, async ({ clock, renewed }) => {
    await clock.pass(24 * 60 * MINUTE_MS);
    assert.equal(renewed.length, 0);
    await clock.pass(10);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper goes by the life that was granted when it is less than asked for", async () => {
  const clock = new FakeClock();
  await using cluster = new FakeCluster(clock);
  cluster.putServiceAccount("shop", "web");
  cluster.longestTokenMs = 10 * MINUTE_MS;
  const keeper = new TokenKeeper(cluster, REF, { log: new RecordingLog(), clock, random: () => 0.999 });
  await keeper.first();
  const stop = new AbortController();
  let renewals = 0;
  const keeping = keeper.keep({ signal: stop.signal, onRenewed: () => renewals++ });
  await clock.pass(8 * MINUTE_MS - 9_000); // the jitter at its most: 9 s
  assert.equal(renewals, 0);
  await clock.pass(10);
  assert.equal(renewals, 1);
  stop.abort();
  await keeping;
});

Deno.test("TokenKeeper keeps the old token and gets louder when renewals fail until the expiry", () =>
  keep(REF, async ({ clock, cluster, renewed, lines, keeper }) => {
    const old = keeper.current;
    cluster.fails(unreachable);
    await clock.pass(48 * MINUTE_MS + 10);
    assert.deepEqual(lines.map(({ level }) => level), ["warn"]);
    assert.equal(keeper.status().error, "Cannot do that at the fake cluster: ClusterUnreachable");
    await clock.pass(6.5 * MINUTE_MS);
    assert.deepEqual(lines.map(({ level }) => level), ["warn", "warn", "error"], "the last tenth has begun");
    await clock.pass(10 * MINUTE_MS);
    assert.ok(lines.slice(2).every(({ level }) => level === "error"));
    assert.ok(lines.length <= 13, `at most one line a minute, not ${lines.length}`);
    assert.equal(lines.at(-1)?.fields.left, "expired");
    assert.equal(keeper.current, old, "worthless, but nothing better is there");
    assert.equal(renewed.length, 0);
    cluster.fails();
    await clock.pass(5_000);
    assert.equal(renewed.length, 1, "5 s after the server is back");
    assert.equal(keeper.status().error, undefined);
    assert.equal(lines.at(-1)?.level, "info");
  }));

Deno.test("TokenKeeper asks ever more often, but never without pause, when the expiry nears", () =>
  keep(REF, async ({ clock, cluster }) => {
    cluster.fails(unreachable);
    const asked = () => cluster.requests.filter(({ verb }) => verb === "token").length;
    await clock.pass(48 * MINUTE_MS + 10);
    const first = asked();
    await clock.pass(2 * MINUTE_MS);
    const calm = asked() - first;
    await clock.pass(9 * MINUTE_MS);
    const before = asked();
    await clock.pass(MINUTE_MS);
    const hasty = asked() - before;
    assert.ok(calm >= 4 && calm <= 30, `2 min early on: ${calm}`);
    assert.ok(hasty > calm && hasty <= 120, `the last minute: ${hasty}`);
  }));

Deno.test("TokenKeeper renews within 10 s when the wall clock jumps past the due time, as after a suspend", () =>
  keep(REF, async ({ clock, renewed }) => {
    clock.jump(49 * MINUTE_MS);
    await clock.pass(10_010);
    assert.equal(renewed.length, 1);
    await clock.pass(10 * MINUTE_MS);
    assert.equal(renewed.length, 1, "once, not without end");
  }));

Deno.test("TokenKeeper renews in time when the wall clock jumps back", () =>
  keep(REF, async ({ clock, renewed }) => {
    await clock.pass(40 * MINUTE_MS);
    clock.jump(-30 * 24 * 60 * MINUTE_MS);
    await clock.pass(8 * MINUTE_MS + 10);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper neither hurries nor waits too long when the server's clock is another than this machine's", async () => {
  for (const skewMs of [-5 * 60 * MINUTE_MS, 5 * 60 * MINUTE_MS]) {
    const clock = new FakeClock();
    await using cluster = new FakeCluster(Object.assign(new FakeClock(), { nowMs: () => clock.nowMs() + skewMs }));
    cluster.putServiceAccount("shop", "web");
    const keeper = new TokenKeeper(cluster, REF, { log: new RecordingLog(), clock, random: () => 0 });
    await keeper.first();
    const stop = new AbortController();
    let renewals = 0;
    const keeping = keeper.keep({ signal: stop.signal, onRenewed: () => renewals++ });
    await clock.pass(48 * MINUTE_MS);
    assert.equal(renewals, 0);
    await clock.pass(10);
    assert.equal(renewals, 1);
    stop.abort();
    await keeping;
  }
});

Deno.test("TokenKeeper goes on trying when the service account is gone, and has the new one's token when it is back", () =>
  keep(REF, async ({ clock, cluster, renewed, keeper }) => {
    const uidOf = (token: string) => fakeClaims(token)["kubernetes.io"].serviceaccount.uid;
    const before = uidOf(keeper.current.token);
    cluster.removeServiceAccount("shop", "web");
    await clock.pass(50 * MINUTE_MS);
    assert.equal(renewed.length, 0);
    assert.ok(keeper.status().failures > 1);
    cluster.putServiceAccount("shop", "web");
    await clock.pass(30_000);
    assert.equal(renewed.length, 1);
    assert.notEqual(uidOf(keeper.current.token), before);
  }));

Deno.test("TokenKeeper notices within a minute that its service account was made anew, and throws away what else it is given", () =>
  keep(REF, async ({ clock, cluster, renewed, keeper, lines }) => {
    const first = keeper.current;
    await clock.pass(10 * MINUTE_MS);
    assert.equal(keeper.current, first, "the same account: no new token before its time");
    const asked = cluster.requests.length;
    assert.ok(asked >= 10 && asked <= 22, `${asked} requests in 10 min`);
    cluster.putServiceAccount("shop", "web");
    await clock.pass(MINUTE_MS);
    assert.equal(renewed.length, 1);
    assert.notEqual(accountUid(keeper.current.token), accountUid(first.token));
    assert.deepEqual(lines.map(({ event }) => event), ["service account was made anew", "token renewed"]);
    await clock.pass(10 * MINUTE_MS);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper says within a minute that its service account is gone, and renews within 10 s of its return", () =>
  keep(REF, async ({ clock, cluster, renewed, lines }) => {
    cluster.removeServiceAccount("shop", "web");
    await clock.pass(MINUTE_MS);
    assert.deepEqual(lines.map(({ level, event }) => `${level} ${event}`), ["warn token not renewed"]);
    await clock.pass(5 * MINUTE_MS);
    cluster.putServiceAccount("shop", "web");
    await clock.pass(10_000);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper notices an account made anew soon after an outage, of which it says nothing and renews nothing else", () =>
  keep(REF, async ({ clock, cluster, renewed, keeper, lines }) => {
    cluster.fails(unreachable);
    await clock.pass(5 * MINUTE_MS);
    cluster.fails();
    await clock.pass(MINUTE_MS);
    assert.deepEqual([renewed.length, keeper.status().failures, lines.length], [0, 0, 0]);
    cluster.fails(unreachable);
    await clock.pass(5 * MINUTE_MS);
    cluster.putServiceAccount("shop", "web");
    cluster.fails();
    await clock.pass(10_010);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper checks no more than once a minute where that is refused, and lets a busy server alone", async (t) => {
  const refused = [fakeError("Forbidden"), fakeError("ApiRequestFailed", { transient: true, retryAfterMs: 55_000 })];
  for (const error of refused) {
    await t.step(error.code, () =>
      keep(REF, async ({ clock, cluster }) => {
        cluster.fails(() => error);
        await clock.pass(20 * MINUTE_MS);
        assert.ok(cluster.requests.length <= 42, `${cluster.requests.length} requests in 20 min`);
      }));
  }
});

Deno.test("TokenKeeper.serverIsBack() renews a token from before the outage, and leaves one from after it alone", () =>
  keep(REF, async ({ clock, renewed, keeper }) => {
    await clock.pass(MINUTE_MS);
    const away = clock.elapsedMs();
    await clock.pass(MINUTE_MS);
    keeper.serverIsBack(away);
    await clock.pass(10);
    assert.equal(renewed.length, 1);
    keeper.serverIsBack(away); // told by a second object that was followed
    await clock.pass(MINUTE_MS);
    assert.equal(renewed.length, 1);
  }));

Deno.test("TokenKeeper tries again when the new token could not be written", async () => {
  const clock = new FakeClock();
  await using cluster = new FakeCluster(clock);
  cluster.putServiceAccount("shop", "web");
  const log = new RecordingLog();
  const keeper = new TokenKeeper(cluster, REF, { log, clock, random: () => 0 });
  await keeper.first();
  const stop = new AbortController();
  let writes = 0;
  const keeping = keeper.keep({
    signal: stop.signal,
    onRenewed: () => {
      if (++writes === 1) throw new TypeError("secret words");
    },
  });
  await clock.pass(49 * MINUTE_MS);
  assert.equal(writes, 2);
  assert.equal(keeper.status().failures, 1);
  assert.ok(!JSON.stringify(log.lines).includes("secret words"));
  stop.abort();
  await keeping;
});

Deno.test("TokenKeeper obeys Retry-After when the server is busy", () =>
  keep(REF, async ({ clock, cluster, keeper }) => {
    cluster.fails(() => fakeError("ApiRequestFailed", { transient: true, retryAfterMs: 20_000 }));
    await clock.pass(48 * MINUTE_MS + 10);
    assert.equal(keeper.status().failures, 1);
    await clock.pass(20_000);
    assert.equal(keeper.status().failures, 1);
    await clock.pass(600);
    assert.equal(keeper.status().failures, 2);
  }));

Deno.test("TokenKeeper.first() throws what the cluster says, and there is no token then", async () => {
  await using cluster = new FakeCluster();
  const keeper = new TokenKeeper(cluster, REF, { log: new RecordingLog() });
  await assert.rejects(
    keeper.first(),
    (error) => error instanceof KrunError && error.code === "ServiceAccountNotFound",
  );
  assert.throws(() => keeper.current, (error) => error instanceof KrunError && error.code === "Internal");
});
