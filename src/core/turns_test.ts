import assert from "node:assert/strict";
import { Turns, TurnsOfEach } from "./turns.ts";

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

Deno.test("TurnsOfEach.take() gives everybody so many, however many others wait", async () => {
  const turns = new TurnsOfEach(1);
  const order: string[] = [];
  const take = async (who: string) => {
    const turn = await turns.take(who);
    order.push(who);
    return turn;
  };
  const eve = [take("eve"), take("eve"), take("eve")];
  const ann = await take("ann");
  assert.deepEqual(order, ["eve", "ann"]);
  for (const turn of eve) (await turn)[Symbol.dispose]();
  assert.deepEqual(order, ["eve", "ann", "eve", "eve"]);
  ann[Symbol.dispose]();
  ann[Symbol.dispose]();
  using _again = await turns.take("ann");
});
