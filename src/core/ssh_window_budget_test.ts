import fc from "fast-check";
import assert from "node:assert/strict";
import { SshWindowBudget } from "./ssh_window_budget.ts";

const KIB = 1 << 10, MIB = 1 << 20;

const sum = (windows: readonly number[]) => windows.reduce((all, window) => all + window, 0);

Deno.test("SshWindowBudget: one client alone has 2 MiB for each of its first 16 channels, and 256 KiB up to 128", () => {
  const budget = new SshWindowBudget();
  const windows = Array.from({ length: 128 }, (_, channels) => budget.take(channels));
  assert.deepEqual(windows, [...Array(16).fill(2 * MIB), ...Array(112).fill(256 * KIB)]);
});

Deno.test("SshWindowBudget: sixteen clients have a large window each, a thousand together little more than one of many channels", () => {
  const budget = new SshWindowBudget();
  const first = Array.from({ length: 1000 }, () => budget.take(0));
  assert.deepEqual(first.slice(0, 16), Array(16).fill(2 * MIB));
  assert.ok(sum(first) <= 64 * MIB + 1000 * 32 * KIB);
  assert.equal(first.at(-1), 32 * KIB);
  for (const window of first) budget.giveBack(window);
  assert.equal(budget.take(0), 2 * MIB, "what is given back is there again");
});

Deno.test("SshWindowBudget: a client of very many channels leaves the next one some of it", () => {
  const budget = new SshWindowBudget();
  for (let channels = 0; channels < 128; channels++) budget.take(channels);
  assert.equal(budget.take(0), 256 * KIB);
});

Deno.test("SshWindowBudget: whatever is taken and given back, all are within the budget and the least window of each", () => {
  const step = fc.record({ channels: fc.nat(200), gives: fc.boolean(), which: fc.nat() });
  fc.assert(fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
    const budget = new SshWindowBudget();
    const taken: number[] = [];
    for (const { channels, gives, which } of steps) {
      if (gives && taken.length > 0) budget.giveBack(taken.splice(which % taken.length, 1)[0]!);
      else taken.push(budget.take(channels));
      assert.ok(taken.every((window) => window >= 32 * KIB && window % (32 * KIB) === 0));
      assert.ok(sum(taken) <= 64 * MIB + taken.length * 32 * KIB);
    }
  }));
});
