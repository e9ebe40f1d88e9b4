/**
 * What variables say of references. In: the process environment. Out: which variables are resolved, and how.
 *
 * @module
 */
import { isKruns } from "./app_env.ts";
import { asksForOwnCluster, isNearlyReference, isReference } from "./reference_prefix.ts";
import { printable, settingInvalid } from "./setting_invalid.ts";
import { readChoice, readDurationMs, readNames, type SettingText } from "./setting_value.ts";
import type { Env } from "./pod_inputs.ts";
import type { SettingName } from "./settings_table.ts";

/** Variables that krun reads as well, and that belong to the program where they are references. */
const SHARED: readonly string[] = ["KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS"] satisfies SettingName[];

/** Which references there are. */
export interface ReferenceSettings {
  /** KRUN_REFS=off. */
  readonly off: boolean;
  /** KRUN_REFS: these alone; unset: all. */
  readonly names?: readonly string[] | undefined;
  /** KRUN_ENV_SOURCE. */
  readonly source: "process" | "cloudrun";
  /** KRUN_REFS_POLL; 0: never. */
  readonly pollMs: number;
  /** TMPDIR. */
  readonly tempFolder: string;
  /** Variables of krun's own environment whose values are references to be resolved, in the order of their names. */
  readonly variables: readonly string[];
  /** Those of them that need the workload's own cluster. */
  readonly ofOwnCluster: readonly string[];
}

const POLL_MS = 5 * 60_000;

/** Reads them. @throws {KrunError} `SettingInvalid` */
export function readReferences(
  env: Env,
  read: <T>(name: SettingName, reader: (setting: SettingText) => T) => T | undefined,
): ReferenceSettings {
  const listed = read("KRUN_REFS", readNamesOrOff);
  const settings = { off: listed === "off", names: listed === "off" ? undefined : listed };
  const variables = Object.keys(env).sort().filter((name) => isReference(env[name]!) && mayResolve(name, settings));
  return {
    ...settings,
    source: read("KRUN_ENV_SOURCE", (setting) => readChoice(setting, ["process", "cloudrun"])) ?? "process",
    pollMs: read("KRUN_REFS_POLL", readDurationMs) ?? POLL_MS,
    tempFolder: read("TMPDIR", ({ text }) => isReference(text) ? undefined : text) ?? "/tmp",
    variables,
    ofOwnCluster: variables.filter((name) => asksForOwnCluster(env[name]!)),
  };
}

function readNamesOrOff(setting: SettingText): "off" | string[] {
  if (setting.text === "off") return "off";
  const names = readNames(setting);
  if (names.length > 0) return names;
  throw settingInvalid(setting.env, "it names no variable", "DB_PASSWORD,API_KEY");
}

/** Whether a variable may be resolved: it is the program's, and KRUN_REFS does not leave it out. */
export function mayResolve(name: string, { off, names }: Pick<ReferenceSettings, "off" | "names">): boolean {
  return !off && (names?.includes(name) ?? true) && (!isKruns(name) || SHARED.includes(name));
}

/** Names in KRUN_REFS that are no references, and values that somebody has meant for one. */
export function referenceWarnings({ off, names, variables, source }: ReferenceSettings, env: Env): string[] {
  if (source !== "process" || off) return [];
  const idle = (names ?? []).filter((name) => !variables.includes(name))
    .map((name) => `KRUN_REFS=${printable(name)} has no effect: ${printable(name)} is no reference of the program's`);
  const near = Object.keys(env).sort().filter((name) =>
    names === undefined && !isKruns(name) && isNearlyReference(env[name]!)
  )
    .map((name) => `${printable(name)} begins nearly as a reference, and is none: the program gets it as it is`);
  return [...idle, ...near];
}
