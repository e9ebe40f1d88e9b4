import assert from "node:assert/strict";
import { waitFor } from "../../tests/wait.ts";
import { Callers } from "./callers.ts";
import { DescriptorBudget } from "./descriptor_budget.ts";

/** As many connections as there are names, of a server that has room for `room`; who was given up, in order. */
function entering(room: number, names: string) {
  const callers = new Callers(new DescriptorBudget(2 * room));
  const gone: string[] = [];
  const enter = (name: string) => callers.enter(() => void gone.push(name));
  return { gone, enter, entered: [...names].map((name) => enter(name)!) };
}

Deno.test("Callers gives up the oldest that only knocks for a new one, before anybody who was let in", () => {
  const { gone, enter, entered: [first] } = entering(3, "abc");
  first!.admit();
  assert.ok(enter("d"));
  assert.ok(enter("e"));
  assert.deepEqual(gone, ["b", "c"]);
});

Deno.test("Callers gives up the one that is idle longest where nobody knocks", () => {
  const { gone, enter, entered: [a, b, c] } = entering(3, "abc");
  for (const one of [c, a, b]) one!.begin()();
  assert.ok(enter("d"));
  assert.deepEqual(gone, ["c"]);
});

Deno.test("Callers gives up nobody at work, until there is nothing under way", () => {
  const { gone, enter, entered: [a, b] } = entering(2, "ab");
  const [ended, other, more] = [a!.begin(), b!.begin(), b!.begin()];
  assert.equal(enter("c"), undefined);
  more();
  assert.equal(enter("c"), undefined);
  ended();
  assert.ok(enter("c"));
  assert.deepEqual(gone, ["a"]);
  other();
});

Deno.test("Callers has the place of one that has left once, whatever else is said of it", () => {
  const { gone, enter, entered: [a] } = entering(1, "a");
  const ended = a!.begin();
  a!.left();
  a!.left();
  ended();
  a!.admit();
  assert.ok(enter("b"));
  const busy = enter("c")!.begin();
  assert.equal(enter("d"), undefined, "one place, not two");
  busy();
  assert.deepEqual(gone, ["b"]);
});

Deno.test("Callers gives up who knocks or is idle too long", async () => {
  const callers = new Callers(new DescriptorBudget(100), { knockMs: 20, idleMs: 40 });
  const gone: string[] = [];
  callers.enter(() => gone.push("knocks"));
  const idle = callers.enter(() => gone.push("idle"))!;
  idle.begin()();
  const ended = callers.enter(() => gone.push("busy"))!.begin();
  await waitFor("both", () => gone.length === 2);
  assert.deepEqual(gone, ["knocks", "idle"]);
  ended();
  await waitFor("the third", () => gone.length === 3);
});
