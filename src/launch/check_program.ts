/**
 * Whether the programs of a Pod could be started. In: a Pod whose files and environments can be made. Out: why not.
 *
 * @module
 */
import type { V1Container } from "@kubernetes/client-node";
import { containerCommand } from "../core/container_env.ts";
import { KrunError } from "../core/errors.ts";
import type { Settings } from "../core/settings.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { podContainers } from "../core/volume_mounts.ts";
import type { CheckedPod } from "../pod/checked_pod.ts";
import { checkProgram, programPlaces } from "../pod/program_check.ts";
import type { ProgramSpec } from "../pod/program.ts";
import type { Plan } from "./plan.ts";
import { onlyContainer } from "./replace.ts";
import { machineRunAs } from "./machine_run_as.ts";
import { containerEnvironment } from "./run_containers.ts";
import type { Surroundings } from "./surroundings.ts";

/** Options of {@linkcode programFailures}. */
export interface ProgramCheckOptions {
  readonly plan: Plan;
  readonly settings: Settings;
  readonly pod: CheckedPod;
  /** Final paths of every mount: what lies there at a start cannot be seen before. */
  readonly mountPaths: readonly string[];
}

/** Why a program would not start; empty for a side process, which starts none. */
export function programFailures(outer: Surroundings, options: ProgramCheckOptions): StartFailure[] {
  const { plan, settings } = options;
  if (plan.isSideProcess && !settings.oneShot) return [];
  return podContainers(plan.planned.pod).flatMap((container) => {
    try {
      if (settings.oneShot) onlyContainer(plan);
      checkContainer(outer, container, options);
      return [];
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      return [{ error, askedBy: `container "${container.name}"` }];
    }
  });
}

/** @throws {KrunError} as `Processes.start` */
function checkContainer(
  outer: Surroundings,
  container: V1Container,
  { plan, settings, pod, mountPaths }: ProgramCheckOptions,
): void {
  const mounted = { env: pod.env, pod: plan.planned.pod };
  const env = containerEnvironment({ outer, plan, settings, mounted }, container);
  const user = machineRunAs(container, { pod: mounted.pod, self: outer.self });
  const command = containerCommand(container, env);
  if (command === undefined) return;
  const cwd = container.workingDir;
  const spec: ProgramSpec = { ...command, env, ...user, ...(cwd ? { cwd } : {}) };
  const isMounted = (path: string) => mountPaths.some((mount) => path === mount || path.startsWith(`${mount}/`));
  // An init container may make whatever a later one runs; krun's own make nothing.
  const { pod: { spec: whole }, ownContainers } = plan.planned;
  const inits = (whole?.initContainers ?? []).filter(({ name }) => !ownContainers.has(name));
  const mayAppear = inits.length > 0 && container !== inits[0] && !ownContainers.has(container.name);
  if (mayAppear || programPlaces(spec, outer).some(isMounted)) return;
  checkProgram(spec);
}
