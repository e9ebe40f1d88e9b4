/**
 * The programs of the mesh on this machine, and what krun has to be before it makes a connection. In: PATH, settings. Out:
 * where programs are.
 *
 * @module
 */
import { PROXY_USER } from "../core/istio_proxy.ts";
import type { Logger } from "../core/log.ts";
import type { MeshMachine } from "../core/mesh_mode.ts";
import type { Settings } from "../core/settings.ts";
import { meshProgram } from "../mesh/mesh_programs.ts";
import { loadLibc } from "../pod/libc.ts";
import type { Surroundings } from "./surroundings.ts";

/** Key of the base's journal under which it is noted what was changed to intercept traffic. */
export const INTERCEPTION_NOTE = "interception";

/** Looks for them. Needs `--allow-read`. */
export function meshMachine({ env }: Surroundings): MeshMachine {
  const path = env.PATH ?? "";
  return { agent: meshProgram("pilot-agent", path), envoy: meshProgram("envoy", path) };
}

/** Whether a start may come to intercept traffic. */
export function mayIntercept({ self }: Pick<Surroundings, "self">, { mesh }: Settings, machine: MeshMachine): boolean {
  const { agent, envoy } = machine;
  return self.uid === 0 && agent !== undefined && envoy !== undefined && !mesh.off && mesh.gateway === undefined &&
    (mesh.mode ?? "intercept") === "intercept";
}

/**
 * Keeps krun's own connections out of what is captured, from now on: they have the proxy's group, which its program does not
 * get. Call it before there is a connection, and before threads that look up names.
 */
export function exemptOwnSockets(log: Logger): void {
  const errno = loadLibc().openSocketsAs(PROXY_USER);
  if (errno !== 0) log.debug("krun's own connections cannot be told from the program's", { errno });
}
