import assert from "node:assert/strict";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { KrunError } from "../core/errors.ts";
import type { FoundObject } from "../core/reference_value.ts";
import { PolledReader, type SecretAccess, type SecretContent } from "./polled_reader.ts";

const MINUTE = 60_000;

/** A secret that a test changes. */
class ChangingSecret implements SecretAccess {
  asked = 0;
  value: string | undefined = "one";
  failure: KrunError | undefined;

  access({ known }: { known?: string | undefined }): Promise<SecretContent | "unchanged" | undefined> {
    this.asked++;
    if (this.failure) return Promise.reject(this.failure);
    if (this.value === undefined) return Promise.resolve(undefined);
    if (this.value === known) return Promise.resolve("unchanged");
    return Promise.resolve({ bytes: new TextEncoder().encode(this.value), version: this.value });
  }
}

interface Followed {
  readonly secret: ChangingSecret;
  readonly clock: FakeClock;
  readonly delivered: (string | undefined)[];
  readonly states: string[];
}

async function following(
  options: { pollMs: number; chance?: number },
  test: (followed: Followed) => Promise<void>,
): Promise<void> {
  const clock = new FakeClock();
  const secret = new ChangingSecret();
  const reader = new PolledReader(secret, { ...options, clock, random: () => options.chance ?? 0.5 });
  const stop = new AbortController();
  await reader.read(stop.signal);
  const delivered: (string | undefined)[] = [];
  const states: string[] = [];
  const following = reader.follow({
    signal: stop.signal,
    deliver: (found: FoundObject | undefined) => {
      delivered.push(found?.kind === "bytes" ? new TextDecoder().decode(found.bytes) : undefined);
      return Promise.resolve();
    },
    onState: (state) => states.push(state),
  });
  try {
    await test({ secret, clock, delivered, states });
  } finally {
    stop.abort();
    await following;
  }
}

Deno.test("PolledReader looks again after the time that was asked for, and tells what is new alone", async () => {
  await following({ pollMs: 5 * MINUTE }, async ({ secret, clock, delivered, states }) => {
    await clock.pass(5 * MINUTE - 1);
    assert.equal(secret.asked, 1);
    await clock.pass(1);
    assert.equal(secret.asked, 2);
    assert.deepEqual(delivered, []);
    secret.value = "two";
    await clock.pass(5 * MINUTE);
    assert.deepEqual(delivered, ["two"]);
    secret.value = undefined;
    await clock.pass(5 * MINUTE);
    assert.deepEqual(delivered, ["two", undefined]);
    assert.deepEqual(states, ["polling"]);
  });
});

Deno.test("PolledReader spreads its looks by a tenth either way", async () => {
  for (const [chance, atMs] of [[0, 4.5 * MINUTE], [0.999999, 5.5 * MINUTE]] as const) {
    await following({ pollMs: 5 * MINUTE, chance }, async ({ secret, clock }) => {
      await clock.pass(atMs - 10);
      assert.equal(secret.asked, 1);
      await clock.pass(10);
      assert.equal(secret.asked, 2);
    });
  }
});

Deno.test("PolledReader never looks again when it is told so", async () => {
  await following({ pollMs: 0 }, async ({ secret, clock, states }) => {
    await clock.pass(1000 * MINUTE);
    await settle();
    assert.equal(secret.asked, 1);
    assert.deepEqual(states, []);
  });
});

Deno.test("PolledReader tries again sooner after a failure, says so once, and goes on", async () => {
  await following({ pollMs: 5 * MINUTE }, async ({ secret, clock, delivered, states }) => {
    secret.failure = new KrunError("GoogleApiFailed", "Cannot access it: 503", "wait", { transient: true });
    await clock.pass(5 * MINUTE);
    await clock.pass(5_000);
    await clock.pass(10_000);
    assert.ok(secret.asked >= 4, `${secret.asked}`);
    assert.deepEqual(states, ["polling", "retrying"]);
    secret.failure = undefined;
    secret.value = "two";
    await clock.pass(5 * MINUTE);
    assert.deepEqual(delivered, ["two"]);
    assert.deepEqual(states, ["polling", "retrying", "polling"]);
  });
});
