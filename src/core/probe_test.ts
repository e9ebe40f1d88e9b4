import type { V1ContainerPort, V1Probe } from "@kubernetes/client-node";
import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import {
  containerEnded,
  containerStarted,
  isProbed,
  isReady,
  isStarted,
  killsContainer,
  newProbe,
  type ProbeAction,
  probeAction,
  type ProbedContainer,
  probeKillGraceSeconds,
  probePort,
  type ProbeResult,
  probeStep,
  type ProbeTiming,
  probeTiming,
  type ProbeType,
} from "./probe.ts";

interface Script {
  type: ProbeType;
  probe: V1Probe;
  events: ("started" | "ended" | ProbeResult)[];
}

for (const { id, why, input, expect } of loadVectors<Script, string[]>("probe")) {
  Deno.test(`probeStep() ${id}: ${why}`, () => assert.deepEqual(play(input), expect));
}

interface ActionInput {
  type: ProbeType;
  state: "started" | "held";
  probe: V1Probe;
  container: Omit<ProbedContainer, "runningForMs"> & { runningForMs: number | null };
}

for (const { id, why, input, expect } of loadVectors<ActionInput, ProbeAction>("probe_action")) {
  Deno.test(`probeAction() ${id}: ${why}`, () => {
    const state = { ...containerStarted(newProbe(input.type)), held: input.state === "held" };
    const container = { ...input.container, runningForMs: input.container.runningForMs ?? undefined };
    assert.equal(probeAction(state, probeTiming(input.type, input.probe), container), expect);
  });
}

type TimingExpect = ProbeTiming | { error: string };

for (
  const { id, why, input, expect } of loadVectors<{ type: ProbeType; probe: V1Probe }, TimingExpect>("probe_timing")
) {
  Deno.test(`probeTiming() ${id}: ${why}`, () => {
    const timing = () => probeTiming(input.type, input.probe);
    if ("error" in expect) assert.throws(timing, { code: expect.error });
    else assert.deepEqual(timing(), expect);
  });
}

type PortInput = { port: number | string; ports: V1ContainerPort[] };

for (const { id, why, input, expect } of loadVectors<PortInput, number | null>("probe_port")) {
  Deno.test(`probePort() ${id}: ${why}`, () => {
    assert.equal(probePort(input.port, { name: "app", ports: input.ports }) ?? null, expect);
  });
}

Deno.test("isProbed() is true for regular and sidecar containers only", () => {
  assert.deepEqual((["regular", "sidecar", "init"] as const).map(isProbed), [true, true, false]);
});

Deno.test("isStarted() and isReady() are true without probes as soon as the container runs", () => {
  assert.deepEqual([isStarted(true, {}), isReady(true, {})], [true, true]);
  assert.deepEqual([isStarted(false, {}), isReady(false, {})], [false, false]);
});

Deno.test("isReady() needs startup and readiness when the container has both", () => {
  const timing = probeTiming("startup", {});
  const startup = newProbe("startup");
  const readiness = newProbe("readiness");
  const up = probeStep(startup, "success", timing).state;
  const ready = probeStep(readiness, "success", timing).state;
  assert.equal(isStarted(true, { startup }), false);
  assert.equal(isReady(true, { startup, readiness: ready }), false);
  assert.equal(isReady(true, { startup: up, readiness }), false);
  assert.equal(isReady(true, { startup: up, readiness: ready }), true);
  assert.equal(isReady(false, { startup: up, readiness: ready }), false);
});

Deno.test("probeKillGraceSeconds() takes the deletion's grace, else the probe's, else the Pod's", () => {
  const own = probeTiming("liveness", { terminationGracePeriodSeconds: 100 });
  const none = probeTiming("liveness", {});
  const pod = { terminationGracePeriodSeconds: 30 };
  assert.equal(probeKillGraceSeconds(none, pod), 30);
  assert.equal(probeKillGraceSeconds(own, pod), 100);
  assert.equal(probeKillGraceSeconds(own, { ...pod, deletionGracePeriodSeconds: 5 }), 5);
});

Deno.test("probeStep() decides only what the last results in a row say", () => {
  const results = fc.array(fc.constantFrom<ProbeResult>("success", "failure", "error"), { maxLength: 40 });
  const thresholds = {
    successThreshold: fc.integer({ min: 1, max: 4 }),
    failureThreshold: fc.integer({ min: 1, max: 4 }),
  };
  fc.assert(fc.property(results, fc.record(thresholds), (results, probe) => {
    const timing = probeTiming("readiness", probe);
    let state = containerStarted(newProbe("readiness"));
    const kept: ProbeResult[] = [];
    for (const result of results) {
      const step = probeStep(state, result, timing);
      state = step.state;
      if (result !== "error") kept.push(result);
      const threshold = result === "success" ? timing.successThreshold : timing.failureThreshold;
      const row = kept.slice(-threshold);
      const decided = result !== "error" && row.length === threshold && row.every((r) => r === result);
      assert.equal(step.verdict, decided ? result : undefined);
    }
  }));
});

/** What each event leaves: the verdict, and `kill` and `held` where they hold. */
function play({ type, probe, events }: Script): string[] {
  const timing = probeTiming(type, probe);
  let state = newProbe(type);
  return events.map((event) => {
    let kill = false;
    if (event === "started") state = containerStarted(state);
    else if (event === "ended") state = containerEnded(state);
    else {
      const step = probeStep(state, event, timing);
      state = step.state;
      kill = killsContainer(type, step.verdict);
    }
    return [state.verdict, kill ? "kill" : "", state.held ? "held" : ""].filter(Boolean).join(" ");
  });
}
