import assert from "node:assert/strict";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { ChangeReaction } from "./change_reaction.ts";

const quiet: Logger = { error() {}, warn() {}, info() {}, debug() {} };

/** A clock that stands still until the test moves it. */
class HandClock implements Clock {
  #now = 0;
  #sleepers: { until: number; wake: () => void }[] = [];

  nowMs = () => this.#now;
  elapsedMs = () => this.#now;

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((wake) => {
      this.#sleepers.push({ until: this.#now + ms, wake });
      signal.addEventListener("abort", () => wake());
    });
  }

  deadline = () => new AbortController().signal;
  turn = () => Promise.resolve();

  async pass(ms: number): Promise<void> {
    this.#now += ms;
    for (const { until, wake } of this.#sleepers) if (until <= this.#now) wake();
    // Whoever was woken runs before the test looks.
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }
}

async function running(react: () => void | Promise<void>) {
  const clock = new HandClock();
  const reaction = new ChangeReaction({ react, clock, log: quiet });
  const over = new AbortController();
  const run = reaction.run(over.signal);
  await clock.pass(0);
  return { clock, reaction, end: () => (over.abort(), run) };
}

Deno.test("ChangeReaction reacts once to a burst, when it is over", async () => {
  let reactions = 0;
  const { clock, reaction, end } = await running(() => void reactions++);
  for (let i = 0; i < 5; i++) {
    reaction.changed();
    await clock.pass(500);
    assert.equal(reactions, 0);
  }
  await clock.pass(1000);
  await clock.pass(1000);
  assert.equal(reactions, 1);
  await clock.pass(60_000);
  assert.equal(reactions, 1);
  reaction.changed();
  await clock.pass(0);
  await clock.pass(1000);
  await clock.pass(1000);
  assert.equal(reactions, 2);
  await end();
});

Deno.test("ChangeReaction reacts to changes that do not end, after ten seconds", async () => {
  let reactions = 0;
  const { clock, reaction, end } = await running(() => void reactions++);
  for (let i = 0; i < 30 && reactions === 0; i++) {
    reaction.changed();
    await clock.pass(500);
  }
  assert.equal(reactions, 1);
  await end();
});

Deno.test("ChangeReaction counts a change during a reaction for the next one", async () => {
  const reactions: PromiseWithResolvers<void>[] = [];
  const { clock, reaction, end } = await running(() => {
    const done = Promise.withResolvers<void>();
    reactions.push(done);
    return done.promise;
  });
  const settle = async () => {
    for (let i = 0; i < 3; i++) await clock.pass(1000);
  };
  reaction.changed();
  await settle();
  reaction.changed();
  await settle();
  assert.equal(reactions.length, 1);
  reactions[0]!.resolve();
  await settle();
  assert.equal(reactions.length, 2);
  reactions[1]!.resolve();
  await end();
});
