/**
 * Whether and when a container that ended is started again. In: how it ended, the policies, instants. Out: yes or no, and
 * the earliest instant.
 *
 * Instants are milliseconds of any one clock; a monotonic one keeps a jump of the wall clock out of the back-off.
 *
 * @module
 */

/** `spec.restartPolicy` of a Pod. */
export type RestartPolicy = "Always" | "OnFailure" | "Never";

/** A sidecar is an init container whose own `restartPolicy` is `Always`. */
export type ContainerRole = "init" | "sidecar" | "regular";

/** Options of {@linkcode shouldRestart}. */
export interface EndedContainer {
  /** Which list of the Pod it is in, and how. */
  readonly role: ContainerRole;
  /** The Pod's. */
  readonly policy: RestartPolicy;
  /** As `exitStatus` gives it. */
  readonly exitCode: number;
  /** The Pod is being stopped. */
  readonly stopping: boolean;
}

/** How far the back-off of one container has got. */
export interface RestartBackoff {
  /** Pause that follows the end of the next run. */
  readonly delayMs: number;
  /** When the last step was taken: when the container was started again. */
  readonly steppedAtMs: number;
}

/** The first pause that is not zero. */
export const FIRST_DELAY_MS = 10_000;

/** No pause is longer. */
export const LONGEST_DELAY_MS = 300_000;

/** A run that ends later than this after the last step counts as stable: the back-off begins anew. */
export const STABLE_AFTER_MS = 2 * LONGEST_DELAY_MS;

/**
 * Whether a container that ended is started again.
 *
 * An init container that succeeded never is; for it `Always` means `OnFailure`. A sidecar always is, whatever the Pod's
 * policy. Nothing is while the Pod stops.
 *
 * Rule: pkg/kubelet/container/helpers.go `ShouldContainerBeRestarted` and pkg/kubelet/kuberuntime/kuberuntime_container.go
 * `computeInitContainerActions` of Kubernetes v1.34.
 */
export function shouldRestart({ role, policy, exitCode, stopping }: EndedContainer): boolean {
  if (stopping) return false;
  if (role === "sidecar") return true;
  const onSuccess = policy === "Always" && role === "regular";
  return exitCode === 0 ? onSuccess : policy !== "Never";
}

/**
 * The earliest instant at which a container may run again that ended at `finishedAtMs`; `backoff` is `undefined` before
 * its first restart. A pause is counted from the end, so time that has passed since is not waited again.
 *
 * With {@linkcode stepRestart} the pauses are 0, 10, 20, 40, 80, 160, 300, 300 ... seconds.
 *
 * Rule: pkg/kubelet/kuberuntime/kuberuntime_manager.go `doBackOff` of Kubernetes v1.34, client-go/util/flowcontrol.
 */
export function restartAtMs(backoff: RestartBackoff | undefined, finishedAtMs: number): number {
  return finishedAtMs + restartDelayMs(backoff, finishedAtMs);
}

/**
 * The back-off after a restart: call it at the moment the container is started again. Exit status 0 counts like any other.
 *
 * Rule: `Next` of client-go/util/flowcontrol/backoff.go of v0.34, with the kubelet's limits.
 */
export function stepRestart(
  backoff: RestartBackoff | undefined,
  { finishedAtMs, nowMs }: { readonly finishedAtMs: number; readonly nowMs: number },
): RestartBackoff {
  const delayMs = Math.min(restartDelayMs(backoff, finishedAtMs) * 2, LONGEST_DELAY_MS);
  return { delayMs: Math.max(delayMs, FIRST_DELAY_MS), steppedAtMs: nowMs };
}

/** The pause that a run which ended at `finishedAtMs` is followed by, in milliseconds. */
export function restartDelayMs(backoff: RestartBackoff | undefined, finishedAtMs: number): number {
  const stable = backoff !== undefined && finishedAtMs - backoff.steppedAtMs > STABLE_AFTER_MS;
  return stable ? 0 : backoff?.delayMs ?? 0;
}

/**
 * What a Pod's status says of a container that waits to be started again, under the reason `CrashLoopBackOff`.
 *
 * Rule: `doBackOff` of pkg/kubelet/kuberuntime/kuberuntime_manager.go.
 */
export function crashLoopMessage(
  container: string,
  { pod, delayMs }: { readonly pod: { name: string; namespace: string; uid: string }; readonly delayMs: number },
): string {
  const minutes = Math.floor(delayMs / 60_000);
  const seconds = Math.floor(delayMs / 1000) % 60;
  const pause = `${minutes > 0 ? `${minutes}m` : ""}${seconds}s`;
  return `back-off ${pause} restarting failed container=${container} pod=${pod.name}_${pod.namespace}(${pod.uid})`;
}
