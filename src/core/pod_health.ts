/**
 * Whether a Pod may be called by others. In: its containers and how each one is. Out: the verdict.
 *
 * @module
 */
import type { V1Container } from "@kubernetes/client-node";

/** How a container is. */
export interface ContainerHealth {
  readonly name: string;
  readonly pid: number | undefined;
  /** It has started, and its readiness probe succeeds. */
  readonly ready: boolean;
  /** How its last run ended; `undefined`: none has. */
  readonly lastEnd: unknown;
}

/**
 * Every container with a startup or readiness probe is ready, and none of the others has ended. One that nobody probes counts
 * before it runs: it will in a moment.
 */
export function mayBeCalled(containers: readonly V1Container[], states: readonly ContainerHealth[]): boolean {
  return containers.every(({ name, startupProbe, readinessProbe }) => {
    const state = states.find((one) => one.name === name);
    if (startupProbe || readinessProbe) return state?.ready === true;
    return state === undefined || state.pid !== undefined || state.lastEnd === undefined;
  });
}
