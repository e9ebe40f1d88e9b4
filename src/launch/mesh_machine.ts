/**
 * What this machine has for a mesh. In: PATH, the settings. Out: programs, and whether traffic can be captured.
 *
 * @module
 */
import type { MeshMachine } from "../core/mesh_mode.ts";
import type { Settings } from "../core/settings.ts";
import { meshProgram } from "../mesh/mesh_programs.ts";
import type { Surroundings } from "./surroundings.ts";

/** Looks for the programs of the mesh. `undefined`: no mesh is wanted. Needs `--allow-read`. */
export function meshMachine({ env, self }: Surroundings, { mesh }: Settings): MeshMachine | undefined {
  if (mesh.off) return undefined;
  const path = env.PATH ?? "";
  const [agent, envoy] = [meshProgram("pilot-agent", path), meshProgram("envoy", path)];
  return { agent, envoy, interceptionFault: self.uid === 0 ? "not yet" : "krun is not root" };
}
