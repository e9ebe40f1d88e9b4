/**
 * Honest answers to settings for what krun does not have yet, and to clusters that several settings name. In: the settings. Out:
 * warnings, or the error that keeps krun from starting a program in another cluster, or outside a mesh, than was asked for.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { isProject } from "./google_resource.ts";
import { isGoogleTarget } from "./google_settings.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { SETTINGS } from "./settings_table.ts";
import type { Setting } from "./setting.ts";
import type { SettingName } from "./settings_table.ts";
import { isTrafficDirector } from "./traffic_director.ts";

/** The text of a variable that is set and not empty. */
export type ReadSetting = (name: SettingName) => string | undefined;

/** Many programs have it for themselves: no word about it alone. */
const QUIET: readonly string[] = ["OSS_ISTIO"] satisfies SettingName[];

/** They name a cluster. */
const CLUSTER_NAMES = ["CLUSTER_NAME", "MESH"] as const satisfies readonly SettingName[];

/**
 * Answers the reserved settings that are set; `passEnv` is KRUN_PASS_ENV.
 *
 * @throws {KrunError} `SettingConflict` when a setting names a cluster and a kubeconfig does too; `SettingInvalid` when MESH is
 * of no kind that krun knows.
 */
export function answerReserved(read: ReadSetting, passEnv: readonly string[]): string[] {
  const warnings = CLUSTER_NAMES.flatMap((name) => answerClusterName(name, read));
  for (const { env, reserved, seenBy } of SETTINGS as readonly Setting[]) {
    const isAnswered = [...QUIET, ...passEnv].includes(env);
    if (!reserved || isAnswered || read(env as SettingName) === undefined) continue;
    const handOn = seenBy === "krun" ? `; KRUN_PASS_ENV=${env} hands it on to the program` : "";
    warnings.push(`${env} has no effect: this krun does not have ${reserved} yet${handOn}`);
  }
  return warnings;
}

function answerClusterName(name: (typeof CLUSTER_NAMES)[number], read: ReadSetting): string[] {
  const value = read(name);
  if (value === undefined || name === "CLUSTER_NAME" && value === "-") return [];
  if (name === "MESH" && !isGoogleTarget(value)) {
    if (isTrafficDirector(value) || /^(?:file|https):\/\//.test(value)) return [];
    throw noMesh(value);
  }
  if (read("KRUN_MANIFESTS")) return [`${name} has no effect: KRUN_MANIFESTS decides the cluster`];
  for (const other of ["KUBECONFIG", "KRUN_CONTEXT"] as const) {
    if (!read(other)) continue;
    throw new KrunError(
      "SettingConflict",
      `Cannot choose a cluster: ${name} and ${other} are both set, and each names one`,
      `unset ${name} or ${other}`,
    );
  }
  const project = read("PROJECT_ID");
  if (project === undefined) return [];
  // Many programs have such a variable for themselves, which is no reason not to start where something else says the project.
  if (name === "MESH") return meshDecides(project, value);
  if (isProject(project) || read("MESH") !== undefined) return [];
  throw settingInvalid(
    "PROJECT_ID",
    `${quoted(project)} is not the id of a Google Cloud project, where CLUSTER_NAME is`,
    "my-project",
  );
}

function meshDecides(project: string, mesh: string): string[] {
  const [, ofMesh] = /^gke:\/\/([^/]+)$|\/projects\/([^/]+)\//.exec(mesh)?.filter((part) => part !== undefined) ?? [];
  const isSame = ofMesh === undefined || ofMesh === project || /^\d+$/.test(ofMesh) !== /^\d+$/.test(project);
  return isSame ? [] : [`PROJECT_ID has no effect on which cluster is taken: MESH says project ${ofMesh}`];
}

/** The program was meant to talk through that mesh: started without, it would talk in plain text. */
function noMesh(value: string): KrunError {
  return settingInvalid("MESH", `${quoted(value)} is not a mesh that krun knows`, "file:///etc/mesh.env");
}
