import assert from "node:assert/strict";
import { Turns } from "./turns.ts";

Deno.test("Turns.take() gives so many at once, and the others in their order", async () => {
  const turns = new Turns(2);
  const order: number[] = [];
  const take = (number: number) =>
    turns.take().then((turn) => {
      order.push(number);
      return turn;
    });
  const [one, two, three, four] = [take(1), take(2), take(3), take(4)];
  await two;
  await Promise.resolve();
  assert.deepEqual(order, [1, 2]);
  const first = await one;
  first[Symbol.dispose]();
  // A second time gives nothing back.
  first[Symbol.dispose]();
  await three;
  await Promise.resolve();
  assert.deepEqual(order, [1, 2, 3]);
  (await two)[Symbol.dispose]();
  await four;
  for (const turn of [await three, await four]) turn[Symbol.dispose]();
  using _again = await turns.take();
});
