import fc from "fast-check";
import assert from "node:assert/strict";
import { failureDelayMs, type LoginlessEnd, LoginPenalties } from "./login_penalties.ts";

const CLIENT = "10.0.0.1", OTHER = "10.0.0.2";
const failed = (nowMs: number) => ({ how: "failed", nowMs }) as const;

/** How many connections that end so are served at once, one every so often, before one is refused; of an hour's. */
function served(how: LoginlessEnd, everyMs: number): number {
  const penalties = new LoginPenalties();
  for (let count = 0; count * everyMs < 3_600_000; count++) {
    const nowMs = count * everyMs;
    if (penalties.isRefused(CLIENT, nowMs)) return count;
    penalties.ended(CLIENT, { how, nowMs });
    if (everyMs === 0 && count > 1_000) break;
  }
  return Infinity;
}

Deno.test("LoginPenalties refuses a client after three connections that failed at once, until it is below that again", () => {
  const penalties = new LoginPenalties();
  for (const isRefused of [false, false, true]) {
    penalties.ended(CLIENT, failed(1_000));
    assert.equal(penalties.isRefused(CLIENT, 1_000), isRefused);
  }
  assert.equal(penalties.isRefused(OTHER, 1_000), false, "another client pays for nobody");
  assert.equal(penalties.isRefused(CLIENT, 1_001), false);
});

Deno.test("LoginPenalties never refuses whoever fails now and then", () => {
  const penalties = new LoginPenalties();
  for (let nowMs = 0; nowMs < 3_600_000; nowMs += 6_000) {
    penalties.ended(CLIENT, failed(nowMs));
    assert.equal(penalties.isRefused(CLIENT, nowMs), false);
  }
});

Deno.test("LoginPenalties serves fifteen connections that try no login at once, and then one a second for ever", () => {
  assert.equal(served("untried", 0), 15);
  assert.equal(served("untried", 100), 17);
  assert.equal(served("untried", 1_000), Infinity);
});

Deno.test("LoginPenalties never refuses who scans for host keys once, looks at the port every ten seconds, or fails twice after that", () => {
  assert.equal(served("untried", 10_000), Infinity);
  const penalties = new LoginPenalties();
  // ssh-keyscan(1) makes a connection for each kind of key.
  for (let kinds = 0; kinds < 5; kinds++) penalties.ended(CLIENT, { how: "untried", nowMs: 0 });
  for (const nowMs of [1_000, 2_000]) penalties.ended(CLIENT, failed(nowMs));
  assert.equal(penalties.isRefused(CLIENT, 2_000), false);
});

Deno.test("LoginPenalties refuses whose time ran out twice at once, and nobody who leaves one prompt after the other open", () => {
  assert.equal(served("late", 0), 2);
  assert.equal(served("late", 120_000), Infinity);
});

Deno.test("LoginPenalties refuses nobody for longer than ten minutes", () => {
  const penalties = new LoginPenalties();
  for (let times = 0; times < 10_000; times++) penalties.ended(CLIENT, failed(0));
  assert.equal(penalties.isRefused(CLIENT, 585_000), true);
  assert.equal(penalties.isRefused(CLIENT, 585_001), false);
});

Deno.test("LoginPenalties takes an IPv6 network for one client, and leaves loopback out", () => {
  const penalties = new LoginPenalties();
  for (const host of [1, 2, 3]) penalties.ended(`2001:db8::${host}`, failed(0));
  assert.equal(penalties.isRefused("2001:db8::4", 0), true);
  assert.equal(penalties.isRefused("2001:db8:0:1::4", 0), false);
  for (const loopback of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    for (let times = 0; times < 100; times++) penalties.ended(loopback, failed(0));
    assert.equal(penalties.isRefused(loopback, 0), false);
  }
});

Deno.test("LoginPenalties remembers the worst of many clients", () => {
  const penalties = new LoginPenalties();
  const address = (index: number) => `10.${index >> 16 & 255}.${index >> 8 & 255}.${index & 255}`;
  for (let times = 0; times < 10; times++) penalties.ended(CLIENT, failed(0));
  for (let index = 1_000; index < 4_000; index++) penalties.ended(address(index), failed(index / 1_000));
  assert.equal(penalties.isRefused(CLIENT, 4), true);
});

Deno.test("LoginPenalties refuses more, the more often a client has failed, and less as time passes", () => {
  const how = fc.constantFrom<LoginlessEnd>("failed", "untried", "late");
  const ends = fc.array(fc.record({ how, gapMs: fc.nat(60_000) }), { maxLength: 30 });
  fc.assert(fc.property(ends, fc.nat(60_000), fc.nat(600_000), (ends, oneMs, moreMs) => {
    const [fewer, more] = [new LoginPenalties(), new LoginPenalties()];
    let nowMs = 0;
    for (const { how, gapMs } of ends) {
      nowMs += gapMs;
      fewer.ended(CLIENT, { how, nowMs });
      more.ended(CLIENT, { how, nowMs });
    }
    more.ended(CLIENT, failed(nowMs));
    const isRefused = (penalties: LoginPenalties, laterMs: number) => penalties.isRefused(CLIENT, nowMs + laterMs);
    if (isRefused(fewer, oneMs)) assert.ok(isRefused(more, oneMs));
    if (!isRefused(more, oneMs)) assert.ok(!isRefused(more, oneMs + moreMs));
  }));
});

Deno.test("failureDelayMs() lets a few keys of an agent pass, and then holds answers back longer and longer", () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 20].map(failureDelayMs);
  assert.deepEqual(delays, [0, 0, 0, 250, 500, 1_000, 2_000, 2_000, 2_000]);
});
