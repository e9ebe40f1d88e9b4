import assert from "node:assert/strict";
import { SshOutputBudget } from "./ssh_output_budget.ts";

const KIB = 1 << 10, MIB = 1 << 20;

/** What waits when so many connections that nobody reads have filled their shares. */
function waiting(connections: number): number[] {
  const output = new SshOutputBudget();
  const waits = Array<number>(connections).fill(0);
  for (let wrote = true; wrote;) {
    wrote = false;
    for (const [at, bytes] of waits.entries()) {
      if (bytes + 32 * KIB > output.share) continue;
      waits[at] = bytes + 32 * KIB;
      output.count(32 * KIB);
      wrote = true;
    }
  }
  return waits;
}

Deno.test("SshOutputBudget: for each of a few connections waits a mebibyte, for all of many little more than for those", () => {
  assert.deepEqual(waiting(8), Array(8).fill(MIB));
  for (const connections of [16, 100, 1024]) {
    const waits = waiting(connections);
    const all = waits.reduce((sum, bytes) => sum + bytes);
    assert.ok(all <= 16 * MIB + connections * 64 * KIB, `${connections}: ${all} bytes`);
    assert.ok(waits.every((bytes) => bytes >= 64 * KIB), "each goes on");
  }
});

Deno.test("SshOutputBudget: what has gone out may wait anew", () => {
  const output = new SshOutputBudget();
  output.count(100 * MIB);
  assert.equal(output.share, 64 * KIB);
  output.count(-100 * MIB);
  assert.equal(output.share, MIB);
});
