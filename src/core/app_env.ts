/**
 * What the program sees of the environment. In: krun's own environment and the Pod's. Out: the program's.
 *
 * @module
 */
import { nearestName } from "./nearest_name.ts";
import type { Env } from "./pod_inputs.ts";
import { printable } from "./setting_invalid.ts";
import { SETTINGS } from "./settings_table.ts";

/** Variables that are taken out of krun's own environment before the program sees it. */
export interface TakenOut {
  /** The variable's name, or with a `*` at its end the beginning of its name. */
  readonly variable: string;
  /** For docs/settings.md. */
  readonly why: string;
  /** Taken out only when the Pod has an API server of its own; KRUN_PASS_ENV does not hand it on. */
  readonly onlyWithCluster?: boolean;
}

/** All of them. Every other variable reaches the program as it is. */
export const TAKEN_OUT: readonly TakenOut[] = [
  { variable: "KRUN_*", why: "settings of krun" },
  { variable: "K8S_SECRET_*", why: "settings of krun" },
  { variable: "K8S_CM_*", why: "settings of krun" },
  { variable: "K8S_TOKEN_*", why: "settings of krun" },
  { variable: "GCP_ACCESS_TOKEN", why: "setting of krun" },
  { variable: "GCP_ID_TOKEN_*", why: "settings of krun" },
  { variable: "KUBECONFIG", why: "krun's credentials: the program is the service account" },
  { variable: "GOOGLE_APPLICATION_CREDENTIALS", why: "krun's credentials" },
  { variable: "SSH_AUTH", why: "says who may log in, which is krun's to know" },
  { variable: "XDS_HEADER_*", why: "may be the mesh agent's credentials" },
  { variable: "CA_HEADER_*", why: "may be the mesh agent's credentials" },
  { variable: "KUBERNETES_SERVICE_HOST", why: "names the API server around krun", onlyWithCluster: true },
  { variable: "KUBERNETES_SERVICE_PORT*", why: "names the API server around krun", onlyWithCluster: true },
  { variable: "KUBERNETES_PORT*", why: "names the API server around krun", onlyWithCluster: true },
];

/** Options of {@linkcode programEnv}. */
export interface ProgramEnvOptions {
  /** KRUN_PASS_ENV: variables that the program gets although they are krun's. */
  readonly passEnv: readonly string[];
  /** The Pod has an API server of its own: `PlannedPod.ownsKubernetesEnv`. */
  readonly ownsKubernetesEnv: boolean;
  /** Variables that were references: what they are now stands in the Pod's, or nowhere. @default {none} */
  readonly references?: readonly string[];
}

/**
 * The environment of a container's process. The only way to make it, whether krun supervises the program or becomes it.
 *
 * The Pod's variables win over krun's own environment, as they win over an image's.
 */
export function programEnv(outer: Env, pod: Env, options: ProgramEnvOptions): Env {
  const { passEnv, ownsKubernetesEnv, references = [] } = options;
  const isKept = (name: string): boolean => {
    if (references.includes(name)) return false;
    const rule = TAKEN_OUT.find(({ variable }) => matches(variable, name));
    if (!rule) return true;
    return rule.onlyWithCluster ? !ownsKubernetesEnv : passEnv.includes(name);
  };
  return Object.fromEntries([...Object.entries(outer).filter(([name]) => isKept(name)), ...Object.entries(pod)]);
}

/** Whether a variable is krun's own, and taken out before the program sees it. */
export function isKruns(name: string): boolean {
  return TAKEN_OUT.some(({ variable, onlyWithCluster }) => !onlyWithCluster && matches(variable, name));
}

/**
 * A warning for each name of KRUN_PASS_ENV that cannot hand on anything: krun takes no such variable out, or it is neither set
 * nor a setting of krun. A setting that is not set is no mistake.
 */
export function passEnvWarnings(passEnv: readonly string[], env: Env): string[] {
  const known = SETTINGS.filter(({ seenBy }) => seenBy === "krun").map(({ env }): string => env);
  const isKnown = (name: string) => known.some((env) => matches(env.replace(/<.*/, "*"), name));
  return passEnv.filter((name) => !isKruns(name) || !(Object.hasOwn(env, name) || isKnown(name))).map((name) => {
    const nearest = nearestName(name, known);
    const instead = nearest ? `the nearest that does is ${nearest}` : "it is no variable of krun's own";
    return `KRUN_PASS_ENV=${printable(name)} has no effect; ${instead}`;
  });
}

function matches(variable: string, name: string): boolean {
  return variable.endsWith("*") ? name.startsWith(variable.slice(0, -1)) : name === variable;
}
