/**
 * One-shot mode: files and environment are made, then the program takes krun's place.
 *
 * @module
 */
import type { V1Container } from "@kubernetes/client-node";
import { containerCommand } from "../core/container_env.ts";
import { KrunError } from "../core/errors.ts";
import { ISTIO_PROXY } from "../core/istio_proxy.ts";
import { execInPlace } from "../pod/one_shot.ts";
import { obeySignals } from "../pod/signals.ts";
import type { Plan } from "./plan.ts";
import { machineRunAs } from "./machine_run_as.ts";
import { containerEnvironment } from "./run_containers.ts";
import type { Run } from "./run.ts";
import { summary } from "./summary.ts";

/**
 * Replaces krun by the program: same process, no memory left behind, files stay as they are. Where that fails the caller
 * removes the files, as after every failed start.
 *
 * @throws {KrunError} `SettingConflict` when the Pod is more than one program; `ProgramNotFound`, `ProgramNotExecutable`,
 * `RunAsDenied`.
 */
export async function replaceByProgram(run: Run): Promise<never> {
  const { mounted, plan, base, log } = run;
  const container = onlyContainer(plan);
  mounted.resolveSubPaths(container.name);
  const env = containerEnvironment(run, container);
  const command = containerCommand(container, env);
  if (command === undefined) {
    throw new KrunError("PodInvalid", "Cannot run the program: it has no name", "name a program");
  }
  run.phases.end("program");
  log.info("program takes over", summary(run));
  await plan.cluster?.[Symbol.asyncDispose]();
  base?.tendMemory();
  // The base stays open: its lock ends with execve(2), and when that fails, what was made is removed.
  const cwd = container.workingDir;
  // A signal that came until now ends the start; one that comes later ends this process, whichever program it is by then.
  await obeySignals();
  run.control.stop.throwIfAborted();
  return execInPlace({
    ...command,
    env,
    ...machineRunAs(container, { pod: mounted.pod, self: run.outer.self }),
    ...(cwd ? { cwd } : {}),
  });
}

/** The one container whose program can take krun's place. @throws {KrunError} `SettingConflict` when there is not just one. */
export function onlyContainer({ planned, isSideProcess }: Plan): V1Container {
  const { containers = [], initContainers = [] } = planned.pod.spec ?? {};
  const [container] = containers;
  if (container && containers.length === 1 && initContainers.length === 0 && !isSideProcess) return container;
  if (planned.ownContainers.has(ISTIO_PROXY)) {
    throw conflict(
      "the mesh's proxy has to run beside it",
      "unset KRUN_REFRESH, or set XDS_ADDR=- to start without a mesh",
    );
  }
  const state = isSideProcess
    ? "there is none"
    : `the Pod has ${containers.length + initContainers.length} containers to run`;
  throw conflict(state, "unset KRUN_REFRESH, or name one program");
}

function conflict(state: string, hint: string): KrunError {
  return new KrunError("SettingConflict", `Cannot replace krun by the program: ${state}`, hint);
}
