/**
 * What a probe's tries mean for its container. In: the probe of a Pod's container, what was seen, instants. Out: when to
 * try, and what becomes of the container. Who sends the requests is `pod/probe_runner.ts`.
 *
 * One {@linkcode ProbeState} per container and probe type lives as long as the Pod, as the kubelet's worker does:
 *
 *   containerStarted ─▶ (probeAction says "try" ─▶ probeStep)*  ─▶ killsContainer? ─▶ containerStarted ...
 *
 * Rules: pkg/kubelet/prober/worker.go, prober.go and prober_manager.go of Kubernetes v1.34.
 *
 * @module
 */
import type { V1Container, V1Probe } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import type { ContainerRole } from "./restart_backoff.ts";

/** What the probe decides: whether the container has started, still lives, gets traffic. */
export type ProbeType = "startup" | "liveness" | "readiness";

/** What one try, with its repeats, showed; `error` when the prober itself failed each time. */
export type ProbeResult = "success" | "failure" | "error";

/** What is believed of a container. */
export type ProbeVerdict = "unknown" | "success" | "failure";

/** Tries in a row that the prober makes when it fails itself; after the last of them the result is `error`. */
export const PROBER_TRIES = 3;

/** The numbers of a probe, with the API server's defaults. */
export interface ProbeTiming {
  /** Whole seconds after the container's start before which nothing is tried. @default {0} */
  readonly initialDelaySeconds: number;
  /** After this a try has failed. @default {1} */
  readonly timeoutSeconds: number;
  /** From one try to the next. @default {10} */
  readonly periodSeconds: number;
  /** Successes in a row that make a verdict; 1 but for readiness. @default {1} */
  readonly successThreshold: number;
  /** Failures in a row that make a verdict. @default {3} */
  readonly failureThreshold: number;
  /** Grace when this probe kills its container, instead of the Pod's. */
  readonly terminationGracePeriodSeconds?: number;
}

/** Where one probe of one container stands. */
export interface ProbeState {
  /** Which probe it is. */
  readonly type: ProbeType;
  /** What is believed now. */
  readonly verdict: ProbeVerdict;
  /** The last result that was not thrown away. */
  readonly last: ProbeVerdict;
  /** How many times in a row it was seen. */
  readonly run: number;
  /** Nothing is tried until the container is started anew. */
  readonly held: boolean;
}

/** A container as a probe sees it. */
export interface ProbedContainer {
  /** Sidecars are probed on while the Pod stops. */
  readonly role: ContainerRole;
  /** Milliseconds since it was started; `undefined` when it does not run. */
  readonly runningForMs: number | undefined;
  /** Its startup probe, if it has one, has succeeded. */
  readonly started: boolean;
  /** The Pod is being stopped. */
  readonly stopping: boolean;
}

/** `try` it now; `wait` for the next period; `stop` for good. */
export type ProbeAction = "try" | "wait" | "stop";

const INITIAL: Readonly<Record<ProbeType, ProbeVerdict>> = {
  startup: "unknown",
  liveness: "success",
  readiness: "failure",
};

/**
 * The numbers of a probe. Absent or 0 means: `timeoutSeconds` 1, `periodSeconds` 10, `successThreshold` 1,
 * `failureThreshold` 3, `initialDelaySeconds` 0.
 *
 * Rule: pkg/apis/core/v1/defaults.go `SetDefaults_Probe` and pkg/apis/core/validation/validation.go `validateProbe`.
 *
 * @throws {KrunError} `PodInvalid` for what the API server refuses.
 */
export function probeTiming(type: ProbeType, probe: V1Probe): ProbeTiming {
  const { terminationGracePeriodSeconds: grace } = probe;
  const timing = {
    initialDelaySeconds: probe.initialDelaySeconds || 0,
    timeoutSeconds: probe.timeoutSeconds || 1,
    periodSeconds: probe.periodSeconds || 10,
    successThreshold: probe.successThreshold || 1,
    failureThreshold: probe.failureThreshold || 3,
  };
  for (const [field, value] of Object.entries(timing)) {
    if (!Number.isInteger(value) || value < 0) throw refused(type, `${field} ${value} is not a whole number from 0`);
  }
  if (type !== "readiness" && timing.successThreshold !== 1) {
    throw refused(type, `successThreshold ${timing.successThreshold} is not 1`);
  }
  if (grace === undefined) return timing;
  if (type === "readiness") throw refused(type, "terminationGracePeriodSeconds is set, and it never kills");
  if (!Number.isInteger(grace) || grace < 1) {
    throw refused(type, `terminationGracePeriodSeconds ${grace} is not a whole number from 1`);
  }
  return { ...timing, terminationGracePeriodSeconds: grace };
}

/** Whether probes of a container run at all: those of an init container that is no sidecar do not. */
export function isProbed(role: ContainerRole): boolean {
  return role !== "init";
}

/** The state before the container was ever started. */
export function newProbe(type: ProbeType): ProbeState {
  return { type, verdict: INITIAL[type], last: "unknown", run: 0, held: false };
}

/**
 * The state when the container is started, for the first time or again: the verdict begins anew and nothing holds it.
 * The count goes on over the restart, as it does in the kubelet.
 */
export function containerStarted(state: ProbeState): ProbeState {
  return { ...state, verdict: INITIAL[state.type], held: false };
}

/**
 * The state when the container does not run: not started, not ready, not alive. Held probes keep their verdict.
 */
export function containerEnded(state: ProbeState): ProbeState {
  return state.held ? state : { ...state, verdict: "failure" };
}

/**
 * What to do at one tick of the probe's period; the first tick is at once.
 *
 * Nothing is tried while the container does not run, is held, or is younger than `initialDelaySeconds` (whole seconds), nor
 * before it has started, except by the startup probe, which in turn is not tried once it has. While the Pod stops, startup
 * and liveness of regular containers stop for good; readiness, and every probe of a sidecar, goes on.
 */
export function probeAction(state: ProbeState, timing: ProbeTiming, container: ProbedContainer): ProbeAction {
  const { role, runningForMs, started, stopping } = container;
  if (stopping && role === "regular" && state.type !== "readiness") return "stop";
  if (state.held || runningForMs === undefined) return "wait";
  if (Math.floor(runningForMs / 1000) < timing.initialDelaySeconds) return "wait";
  return started === (state.type !== "startup") ? "try" : "wait";
}

/**
 * Takes in one result. `verdict` is what was decided by it; `undefined` when it leaves everything as it was: too few equal
 * results in a row, or the prober failed, whose result is thrown away and does not even end a row.
 *
 * A startup verdict and a liveness failure hold the probe until the container is started anew, and end the row.
 */
export function probeStep(
  state: ProbeState,
  result: ProbeResult,
  timing: ProbeTiming,
): { readonly state: ProbeState; readonly verdict: "success" | "failure" | undefined } {
  if (result === "error") return { state, verdict: undefined };
  const run = result === state.last ? state.run + 1 : 1;
  const seen: ProbeState = { ...state, last: result, run };
  const threshold = result === "success" ? timing.successThreshold : timing.failureThreshold;
  if (run < threshold) return { state: seen, verdict: undefined };
  const held = state.type === "startup" || killsContainer(state.type, result);
  return { state: { ...seen, verdict: result, held, run: held ? 0 : run }, verdict: result };
}

/** Whether a verdict of this probe means that the container is killed, and its restart policy decides what follows. */
export function killsContainer(type: ProbeType, verdict: ProbeVerdict | undefined): boolean {
  return type !== "readiness" && verdict === "failure";
}

/** The probes of one container; `undefined` where it has none of that type. */
export interface ProbeStates {
  /** Decides `started`. */
  readonly startup?: ProbeState;
  /** Decides `ready`. */
  readonly readiness?: ProbeState;
}

/** `started` of a container's status: it runs, and its startup probe, if any, has succeeded. */
export function isStarted(running: boolean, { startup }: ProbeStates): boolean {
  return running && (startup === undefined || startup.verdict === "success");
}

/**
 * `ready` of a container's status: it has started, and its readiness probe, if any, has succeeded.
 *
 * The kubelet tries readiness once more, out of turn, at each update of the status of a container that has started and is
 * not ready; whoever drives the probes does the same, and counts the period from that try.
 */
export function isReady(running: boolean, probes: ProbeStates): boolean {
  return isStarted(running, probes) && (probes.readiness === undefined || probes.readiness.verdict === "success");
}

/**
 * Seconds between the stop signal and SIGKILL when a probe kills its container: those of the Pod's deletion if it is under
 * way, else the probe's own, which may be longer than the Pod's, else the Pod's.
 *
 * Rule: pkg/kubelet/kuberuntime/kuberuntime_container.go `setTerminationGracePeriod`.
 */
export function probeKillGraceSeconds(
  timing: ProbeTiming,
  pod: { readonly terminationGracePeriodSeconds: number; readonly deletionGracePeriodSeconds?: number },
): number {
  return pod.deletionGracePeriodSeconds ?? timing.terminationGracePeriodSeconds ?? pod.terminationGracePeriodSeconds;
}

/**
 * The port a probe or hook connects to: a number, else the container's port of that name, else the number in the text.
 * `undefined` when there is none from 1 to 65535; the try is then a prober error, not a failure.
 *
 * Rule: pkg/probe/util.go `ResolveContainerPort`.
 */
export function probePort(port: number | string, container: V1Container): number | undefined {
  const named = container.ports?.find(({ name }) => name !== undefined && name === port)?.containerPort;
  const number = named ?? (/^[+-]?\d+$/.test(`${port}`) ? Number(port) : NaN);
  return number >= 1 && number <= 65_535 ? number : undefined;
}

function refused(type: ProbeType, state: string): KrunError {
  return new KrunError("PodInvalid", `Cannot run ${type} probe: ${state}`, "correct this probe of the container");
}
