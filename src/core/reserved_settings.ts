/**
 * Honest answers to settings for what krun does not have yet. In: the settings. Out: warnings, or the error that keeps
 * krun from starting a program in another cluster, or outside a mesh, than was asked for.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { SETTINGS } from "./settings_table.ts";
import type { Setting } from "./setting.ts";
import type { SettingName } from "./settings_table.ts";
import { isTrafficDirector } from "./traffic_director.ts";

/** The text of a variable that is set and not empty. */
export type ReadSetting = (name: SettingName) => string | undefined;

/** They only refine CLUSTER_NAME, and many programs have them for themselves: no word about them alone. */
const QUIET: readonly string[] = [
  "PROJECT_ID",
  "GCE_METADATA_HOST",
  "OSS_ISTIO",
] satisfies SettingName[];

/** They name a cluster. */
const CLUSTER_NAMES = ["CLUSTER_NAME", "MESH"] as const satisfies readonly SettingName[];

/**
 * Answers the reserved settings that are set; `passEnv` is KRUN_PASS_ENV.
 *
 * @throws {KrunError} `ClusterNotFound` when a setting names a cluster that krun cannot look up and nothing else names one;
 * `SettingConflict` when a kubeconfig does too; `SettingInvalid` when MESH is of no kind that krun knows.
 */
export function answerReserved(read: ReadSetting, passEnv: readonly string[]): string[] {
  const warnings = CLUSTER_NAMES.flatMap((name) => answerClusterName(name, read));
  const used: SettingName[] = isTrafficDirector(read("MESH") ?? "") ? ["GOOGLE_APPLICATION_CREDENTIALS"] : [];
  for (const { env, reserved, seenBy } of SETTINGS as readonly Setting[]) {
    const isAnswered = [...QUIET, ...CLUSTER_NAMES, ...used, ...passEnv].includes(env);
    if (!reserved || isAnswered || read(env as SettingName) === undefined) continue;
    const handOn = seenBy === "krun" ? `; KRUN_PASS_ENV=${env} hands it on to the program` : "";
    warnings.push(`${env} has no effect: this krun does not have ${reserved} yet${handOn}`);
  }
  return warnings;
}

function answerClusterName(name: (typeof CLUSTER_NAMES)[number], read: ReadSetting): string[] {
  const value = read(name);
  if (value === undefined) return [];
  if (name === "MESH" && isTrafficDirector(value)) return [];
  if (name === "MESH" && /^(?:file|https):\/\/(?!container\.googleapis\.com\/)/.test(value)) return [];
  if (name === "MESH" && !/^gke:|container\.googleapis\.com\//.test(value)) throw noMesh(value);
  if (read("KRUN_MANIFESTS")) return [`${name} has no effect: KRUN_MANIFESTS decides the cluster`];
  for (const other of ["KUBECONFIG", "KRUN_CONTEXT"] as const) {
    if (!read(other)) continue;
    throw new KrunError(
      "SettingConflict",
      `Cannot choose a cluster: ${name} and ${other} are both set, and each names one`,
      `unset ${name} or ${other}`,
    );
  }
  if (read("KUBERNETES_SERVICE_HOST")) {
    return [`${name} has no effect: this krun does not look up clusters of Google Cloud yet, and runs in a Pod`];
  }
  throw new KrunError(
    "ClusterNotFound",
    `Cannot find cluster ${quoted(value)} (${name}): this krun does not look up clusters of Google Cloud yet`,
    `set KUBECONFIG or KRUN_MANIFESTS, and unset ${name}`,
  );
}

/** The program was meant to talk through that mesh: started without, it would talk in plain text. */
function noMesh(value: string): KrunError {
  return settingInvalid("MESH", `${quoted(value)} is not a mesh that krun knows`, "file:///etc/mesh.env");
}
