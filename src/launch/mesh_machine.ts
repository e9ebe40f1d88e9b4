/**
 * What this machine has for a mesh. In: PATH, the settings. Out: programs, and whether traffic can be captured.
 *
 * @module
 */
import type { MeshMachine } from "../core/mesh_mode.ts";
import { meshProgram } from "../mesh/mesh_programs.ts";
import type { Surroundings } from "./surroundings.ts";

/** Looks for the programs of the mesh. Needs `--allow-read`. */
export function meshMachine({ env, self }: Surroundings): MeshMachine {
  const path = env.PATH ?? "";
  const [agent, envoy] = [meshProgram("pilot-agent", path), meshProgram("envoy", path)];
  return { agent, envoy, interceptionFault: self.uid === 0 ? "not yet" : "krun is not root" };
}
