/**
 * Whether krun runs on Google Cloud, and what must be set where it does not. In: variables and what the machine's firmware says.
 * Out: words.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import type { GoogleSettings } from "./google_settings.ts";
import type { Settings } from "./settings.ts";

/** What is looked at for a sign of Google Cloud. */
export interface PlatformClues {
  readonly settings: Pick<Settings, "google" | "cloudRun" | "workload">;
  /** KUBERNETES_SERVICE_HOST is set: Knative sets K_SERVICE too, but in a Pod. */
  readonly isInPod: boolean;
  /** Text of /sys/class/dmi/id/product_name, where there is one. */
  readonly product: string | undefined;
}

/**
 * What says that this is Google Cloud; `undefined`: nothing does. K_SERVICE is such a sign, but not beside credentials of
 * krun's own without K_REVISION: that is how a service is tried on another machine, where K_SERVICE stands for the namespace.
 */
export function googleSign({ settings, isInPod, product }: PlatformClues): string | undefined {
  const { google, cloudRun, workload } = settings;
  if (google.metadataHost !== undefined) return "GCE_METADATA_HOST is set";
  if (cloudRun) return "this is Cloud Run";
  if (workload.service !== undefined && google.credentialsFile === undefined && !isInPod) return "K_SERVICE is set";
  return /\bGoogle\b/.test(product ?? "") ? "the machine is one of Compute Engine" : undefined;
}

/**
 * What must be set where there is no metadata server; every name that is not. A location alone may be missing where the cluster has a
 * name: two of that name are an error of their own.
 */
export function missingWithoutMetadata(
  { credentialsFile, clusterName, location, projectId, target }: GoogleSettings,
  { namesNamespace }: { readonly namesNamespace: boolean },
): string[] {
  const names: readonly [name: string, isSet: boolean][] = [
    ["GOOGLE_APPLICATION_CREDENTIALS", credentialsFile !== undefined],
    ["CLUSTER_LOCATION", location !== undefined || target?.kind === "cluster" || target?.kind === "membership"],
    ["PROJECT_ID", projectId !== undefined || target !== undefined],
    ["WORKLOAD_NAMESPACE or K_SERVICE", namesNamespace],
  ];
  const missing = names.filter(([, isSet]) => !isSet).map(([name]) => name);
  return clusterName !== undefined && missing.join() === "CLUSTER_LOCATION" ? [] : missing;
}

/** A clause that names them all. */
export function missingText(missing: readonly string[], state: string): string {
  const list = missing.length > 1 ? `${missing.slice(0, -1).join(", ")} and ${missing.at(-1)}` : missing[0];
  return `${state}, and ${list} ${missing.length > 1 ? "are" : "is"} not set`;
}

/** The error that names them all. It is returned, not thrown. */
export function settingsMissing(missing: readonly string[], state: string): KrunError {
  const message = `Cannot find a cluster of Google Cloud: ${missingText(missing, state)}`;
  const file = missing.includes("GOOGLE_APPLICATION_CREDENTIALS")
    ? "; gcloud auth application-default login writes ~/.config/gcloud/application_default_credentials.json"
    : "";
  return new KrunError("GoogleSettingsMissing", message, `set ${missing.length > 1 ? "them" : "it"}${file}`);
}
