/**
 * Drives the probes of one container: when to try is decided by `core/probe.ts`, a try is made by `probe_handlers.ts`.
 *
 * @module
 */
import type { V1Container, V1Probe } from "@kubernetes/client-node";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import {
  containerEnded,
  containerStarted,
  isProbed,
  isReady,
  isStarted,
  killsContainer,
  newProbe,
  probeAction,
  PROBER_TRIES,
  type ProbeState,
  probeStep,
  type ProbeTiming,
  probeTiming,
  type ProbeType,
} from "../core/probe.ts";
import type { ContainerRole } from "../core/restart_backoff.ts";
import { type ProbeTarget, type ProbeTry, tryProbe } from "./probe_handlers.ts";

/** Options of {@linkcode ProbeRunner}. */
export interface ProbeRunnerOptions {
  readonly role: ContainerRole;
  readonly clock: Clock;
  readonly log: Logger;
  /** The Pod is being stopped. */
  stopping(): boolean;
}

/** One probe with its state, which lives as long as the Pod. */
interface Probe {
  readonly spec: V1Probe;
  readonly timing: ProbeTiming;
  state: ProbeState;
}

/** The probes of one container over all of its runs. */
export class ProbeRunner {
  readonly #container: V1Container;
  readonly #options: ProbeRunnerOptions;
  readonly #probes: Partial<Record<ProbeType, Probe>> = {};
  #startedAtMs: number | undefined;

  /** @throws {KrunError} `PodInvalid` for a probe that the API server would refuse. */
  constructor(container: V1Container, options: ProbeRunnerOptions) {
    this.#container = container;
    this.#options = options;
    if (!isProbed(options.role)) return;
    const specs = {
      startup: container.startupProbe,
      liveness: container.livenessProbe,
      readiness: container.readinessProbe,
    };
    for (const [name, spec] of Object.entries(specs)) {
      const type = name as ProbeType;
      if (spec) this.#probes[type] = { spec, timing: probeTiming(type, spec), state: newProbe(type) };
    }
  }

  /** It runs, and its startup probe, if any, has succeeded. */
  get started(): boolean {
    return isStarted(this.#startedAtMs !== undefined, this.#states());
  }

  /** It has started, and its readiness probe, if any, has succeeded. */
  get ready(): boolean {
    return isReady(this.#startedAtMs !== undefined, this.#states());
  }

  /**
   * Probes one run of the container until `over` aborts. `fail` is called when a startup or liveness probe decides that the
   * container must be killed, with the grace that the probe itself asks for; `onStarted` once it has started.
   */
  async run(
    target: ProbeTarget,
    { over, fail, onStarted }: {
      over: AbortSignal;
      fail(reason: string, graceSeconds: number | undefined): void;
      onStarted(): void;
    },
  ): Promise<void> {
    this.#startedAtMs = this.#options.clock.elapsedMs();
    const probes = Object.values(this.#probes);
    for (const probe of probes) probe.state = containerStarted(probe.state);
    if (this.started) onStarted();
    const onVerdict = (probe: Probe, message: string, verdict: "success" | "failure") => {
      if (probe.state.type === "startup" && verdict === "success") onStarted();
      if (!killsContainer(probe.state.type, verdict)) return;
      fail(`${probe.state.type} probe failed: ${message}`, probe.timing.terminationGracePeriodSeconds);
    };
    const ended = new Promise<void>((resolve) => over.addEventListener("abort", () => resolve(), { once: true }));
    await Promise.all([ended, ...probes.map((probe) => this.#loop(probe, { target, over, onVerdict }))]);
    this.#startedAtMs = undefined;
    for (const probe of probes) probe.state = containerEnded(probe.state);
  }

  #states() {
    const { startup, readiness } = this.#probes;
    return { ...(startup && { startup: startup.state }), ...(readiness && { readiness: readiness.state }) };
  }

  async #loop(
    probe: Probe,
    { target, over, onVerdict }: {
      target: ProbeTarget;
      over: AbortSignal;
      onVerdict(probe: Probe, message: string, verdict: "success" | "failure"): void;
    },
  ): Promise<void> {
    const { clock, role, stopping, log } = this.#options;
    while (!over.aborted) {
      const runningForMs = this.#startedAtMs === undefined ? undefined : clock.elapsedMs() - this.#startedAtMs;
      const seen = { role, runningForMs, started: this.started, stopping: stopping() };
      const action = probeAction(probe.state, probe.timing, seen);
      if (action === "stop") return;
      if (action === "try") {
        const got = await tryRepeatedly(probe.spec, { target, over });
        if (over.aborted) return;
        const before = probe.state.verdict;
        const { state, verdict } = probeStep(probe.state, got.result, probe.timing);
        probe.state = state;
        if (got.result !== "success") this.#report(probe, got);
        if (verdict && verdict !== before) log.info("probe changed", { ...this.#fields(probe), verdict });
        if (verdict) onVerdict(probe, got.message, verdict);
      }
      await clock.sleep(this.#pauseMs(probe, runningForMs ?? 0), over);
    }
  }

  /** A probe that waits for its initial delay, or for the container to have started, looks again each second. */
  #pauseMs({ timing, state }: Probe, runningForMs: number): number {
    const early = runningForMs < timing.initialDelaySeconds * 1000;
    const unstarted = state.type !== "startup" && !this.started;
    // The kubelet tries readiness out of turn at each status update of a container that is not ready: about each second.
    const unready = state.type === "readiness" && !this.ready;
    return early || unstarted || unready ? Math.min(1000, timing.periodSeconds * 1000) : timing.periodSeconds * 1000;
  }

  #fields({ state }: Probe) {
    return { container: this.#container.name, probe: state.type };
  }

  #report(probe: Probe, { result, message }: ProbeTry): void {
    // What is being stopped is not ready any more, and that is as it should be.
    const isNoNews = result === "error" || probe.state.verdict === "failure" || this.#options.stopping();
    const at = isNoNews ? "debug" : "warn";
    this.#options.log[at]("probe failed", { ...this.#fields(probe), reason: message });
  }
}

async function tryRepeatedly(
  spec: V1Probe,
  { target, over }: { target: ProbeTarget; over: AbortSignal },
): Promise<ProbeTry> {
  let got: ProbeTry;
  let tries = 0;
  do got = await tryProbe(spec, target, over); while (
    !over.aborted && got.result === "error" && ++tries < PROBER_TRIES
  );
  return got;
}
