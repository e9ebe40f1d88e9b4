import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { WatchedObject } from "./cluster.ts";
import { fromTheBeginning, initialWatchState, stepEvent, stepRead, type WatchEvent } from "./watch_state.ts";

interface Input {
  readonly known: WatchedObject | null | "unset";
  /** Present for a server that does not mark the end of the initial state. */
  readonly read?: WatchedObject | null;
  readonly events: readonly WatchEvent[];
}

interface Expect {
  /** `<uid>/<resourceVersion>`, or `gone`. */
  readonly tells: readonly string[];
  readonly resourceVersion: string | null;
  readonly failure?: number;
}

for (const { id, why, input, expect } of loadVectors<Input, Expect>("watch_state")) {
  Deno.test(`stepEvent() ${id}: ${why}`, () => {
    let state = initialWatchState(input.known === "unset" ? undefined : input.known);
    const tells: string[] = [];
    let failure: number | undefined;
    const steps = [
      ...("read" in input ? [() => stepRead(state, input.read ?? undefined)] : []),
      ...input.events.map((event) => () => stepEvent(state, event)),
    ];
    for (const step of steps) {
      const { state: next, tell, failure: failed } = step();
      state = next;
      const metadata = tell?.object?.metadata;
      if (tell) tells.push(metadata ? `${metadata.uid}/${metadata.resourceVersion}` : "gone");
      failure ??= failed?.code;
    }
    assert.deepEqual(tells, expect.tells);
    assert.equal(state.resourceVersion ?? null, expect.resourceVersion);
    assert.equal(failure, expect.failure);
  });
}

Deno.test("fromTheBeginning() keeps what was told and forgets where the watch was", () => {
  const object = { metadata: { uid: "u", resourceVersion: "7" } };
  const bookmark = { metadata: { resourceVersion: "9", annotations: { "k8s.io/initial-events-end": "true" } } };
  const { state } = stepEvent(initialWatchState(object), { type: "BOOKMARK", object: bookmark });
  const again = fromTheBeginning(state);
  assert.equal(again.resourceVersion, undefined);
  // Nothing was told since the object went away, so the next end of an empty initial state is no news.
  assert.equal(stepEvent(again, { type: "BOOKMARK", object: bookmark }).tell, undefined);
});
