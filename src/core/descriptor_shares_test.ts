import assert from "node:assert/strict";
import fc from "fast-check";
import { DescriptorShares, type TakeDescriptor } from "./descriptor_shares.ts";

/** Takes until there is none left. */
function takeAll(take: TakeDescriptor): Disposable[] {
  const all: Disposable[] = [];
  for (let one = take(); one; one = take()) all.push(one);
  return all;
}

Deno.test("DescriptorShares leaves some for the next, whoever takes what they can", () => {
  const shares = new DescriptorShares(64);
  assert.deepEqual([1, 2, 3, 4].map(() => takeAll(shares.ofClient()).length), [32, 16, 8, 4]);
});

Deno.test("DescriptorShares has the same again once everything came back, each given back once", () => {
  fc.assert(fc.property(fc.nat(100), fc.integer({ min: 1, max: 5 }), (total, count) => {
    const shares = new DescriptorShares(total);
    const clients = Array.from({ length: count }, () => shares.ofClient());
    const taken = clients.map((take) => takeAll(take));
    assert.ok(taken.flat().length <= total);
    for (const one of taken.flat()) {
      one[Symbol.dispose]();
      one[Symbol.dispose]();
    }
    assert.deepEqual(clients.map((take) => takeAll(take).length), taken.map(({ length }) => length));
  }));
});
