import assert from "node:assert/strict";
import fc from "fast-check";
import { Shares, type TakeShare } from "./shares.ts";

/** Takes until there is none left. */
function takeAll(take: TakeShare): Disposable[] {
  const all: Disposable[] = [];
  for (let one = take(); one; one = take()) all.push(one);
  return all;
}

Deno.test("Shares leaves some for the next, whoever takes what they can", () => {
  const shares = new Shares(64);
  assert.deepEqual(["a", "b", "c", "d"].map((who) => takeAll(shares.of(who)).length), [32, 16, 8, 4]);
  // Who comes again under the same name is no other.
  assert.deepEqual(takeAll(shares.of("a")), []);
});

Deno.test("Shares has the same again once everything came back, each given back once", () => {
  fc.assert(fc.property(fc.nat(100), fc.integer({ min: 1, max: 5 }), (total, count) => {
    const shares = new Shares(total);
    const clients = Array.from({ length: count }, (_, index) => shares.of(`${index}`));
    const taken = clients.map((take) => takeAll(take));
    assert.ok(taken.flat().length <= total);
    for (const one of taken.flat()) {
      one[Symbol.dispose]();
      one[Symbol.dispose]();
    }
    assert.deepEqual(clients.map((take) => takeAll(take).length), taken.map(({ length }) => length));
  }));
});
