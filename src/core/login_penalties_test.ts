import fc from "fast-check";
import assert from "node:assert/strict";
import { failureDelayMs, LoginPenalties } from "./login_penalties.ts";

const CLIENT = "10.0.0.1", OTHER = "10.0.0.2";

Deno.test("LoginPenalties refuses a client after three connections that failed at once, until it is below that again", () => {
  const penalties = new LoginPenalties();
  for (const isRefused of [false, false, true]) {
    penalties.failed(CLIENT, 1_000);
    assert.equal(penalties.isRefused(CLIENT, 1_000), isRefused);
  }
  assert.equal(penalties.isRefused(OTHER, 1_000), false, "another client pays for nobody");
  assert.equal(penalties.isRefused(CLIENT, 1_001), false);
});

Deno.test("LoginPenalties never refuses whoever fails now and then", () => {
  const penalties = new LoginPenalties();
  for (let nowMs = 0; nowMs < 3_600_000; nowMs += 6_000) {
    penalties.failed(CLIENT, nowMs);
    assert.equal(penalties.isRefused(CLIENT, nowMs), false);
  }
});

Deno.test("LoginPenalties refuses nobody for longer than ten minutes", () => {
  const penalties = new LoginPenalties();
  for (let times = 0; times < 10_000; times++) penalties.failed(CLIENT, 0);
  assert.equal(penalties.isRefused(CLIENT, 585_000), true);
  assert.equal(penalties.isRefused(CLIENT, 585_001), false);
});

Deno.test("LoginPenalties takes an IPv6 network for one client, and leaves loopback out", () => {
  const penalties = new LoginPenalties();
  for (const host of [1, 2, 3]) penalties.failed(`2001:db8::${host}`, 0);
  assert.equal(penalties.isRefused("2001:db8::4", 0), true);
  assert.equal(penalties.isRefused("2001:db8:0:1::4", 0), false);
  for (const loopback of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    for (let times = 0; times < 100; times++) penalties.failed(loopback, 0);
    assert.equal(penalties.isRefused(loopback, 0), false);
  }
});

Deno.test("LoginPenalties remembers the worst of many clients", () => {
  const penalties = new LoginPenalties();
  const address = (index: number) => `10.${index >> 16 & 255}.${index >> 8 & 255}.${index & 255}`;
  for (let times = 0; times < 10; times++) penalties.failed(CLIENT, 0);
  for (let index = 1_000; index < 4_000; index++) penalties.failed(address(index), index / 1_000);
  assert.equal(penalties.isRefused(CLIENT, 4), true);
});

Deno.test("LoginPenalties refuses more, the more often a client has failed, and less as time passes", () => {
  const failures = fc.array(fc.nat(60_000), { maxLength: 30 });
  fc.assert(fc.property(failures, fc.nat(60_000), fc.nat(600_000), (gapsMs, oneMs, moreMs) => {
    const [fewer, more] = [new LoginPenalties(), new LoginPenalties()];
    let nowMs = 0;
    for (const gapMs of gapsMs) {
      nowMs += gapMs;
      fewer.failed(CLIENT, nowMs);
      more.failed(CLIENT, nowMs);
    }
    more.failed(CLIENT, nowMs);
    const isRefused = (penalties: LoginPenalties, laterMs: number) => penalties.isRefused(CLIENT, nowMs + laterMs);
    if (isRefused(fewer, oneMs)) assert.ok(isRefused(more, oneMs));
    if (!isRefused(more, oneMs)) assert.ok(!isRefused(more, oneMs + moreMs));
  }));
});

Deno.test("failureDelayMs() lets a few keys of an agent pass, and then holds answers back longer and longer", () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 20].map(failureDelayMs);
  assert.deepEqual(delays, [0, 0, 0, 250, 500, 1_000, 2_000, 2_000, 2_000]);
});
