/**
 * What variables say of Google Cloud. In: the process environment. Out: values, as they were set.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { isWithin } from "./google_location.ts";
import {
  type GkeClusterName,
  isGoogleName,
  isProject,
  type MembershipName,
  parseClusterName,
  parseMembershipName,
  parseWorkloadProvider,
  type WorkloadProvider,
} from "./google_resource.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { readChoice, readListenAddress, type SettingText } from "./setting_value.ts";
import type { SettingName } from "./settings_table.ts";

/** Which of a cluster's addresses is used. */
export const CLUSTER_ENDPOINTS = ["public", "private", "dns", "gateway"] as const;

/** One of {@linkcode CLUSTER_ENDPOINTS}. */
export type ClusterEndpoint = (typeof CLUSTER_ENDPOINTS)[number];

/** What MESH names, where it names a cluster. */
export type GoogleTarget =
  /** `gke://PROJECT`: any cluster of that project. */
  | { readonly kind: "project"; readonly project: string }
  /** `//container.googleapis.com/projects/P/locations/L/clusters/C`. */
  | { readonly kind: "cluster"; readonly name: GkeClusterName }
  /** `//gkehub.googleapis.com/projects/P/locations/L/memberships/M`. */
  | { readonly kind: "membership"; readonly name: MembershipName };

/** As whom the program meets Google's APIs. */
export type ProgramAccount =
  /** As krun itself: the machine's account, or the one of GOOGLE_APPLICATION_CREDENTIALS. */
  | { readonly kind: "platform" }
  /** As its Kubernetes service account. */
  | { readonly kind: "workload" }
  /** As that Google service account. */
  | { readonly kind: "email"; readonly email: string };

/** The variables of Google Cloud, as they were set. */
export interface GoogleSettings {
  /** CLUSTER_NAME is `-`: no cluster of Google Cloud is looked up. */
  readonly off: boolean;
  /** CLUSTER_NAME. */
  readonly clusterName?: string | undefined;
  /** CLUSTER_LOCATION: zone or region. */
  readonly location?: string | undefined;
  /** PROJECT_ID; ignored where it is none, since many programs have such a variable for themselves. */
  readonly projectId?: string | undefined;
  /** PROJECT_NUMBER. */
  readonly projectNumber?: string | undefined;
  /** MESH. */
  readonly target?: GoogleTarget | undefined;
  /** KRUN_GKE_ENDPOINT. */
  readonly endpoint?: ClusterEndpoint | undefined;
  /** GOOGLE_APPLICATION_CREDENTIALS. */
  readonly credentialsFile?: string | undefined;
  /** GCE_METADATA_HOST. */
  readonly metadataHost?: string | undefined;
  /** KRUN_GOOGLE_ACCOUNT. */
  readonly account?: ProgramAccount | undefined;
  /** KRUN_WORKLOAD_PROVIDER. */
  readonly workloadProvider?: WorkloadProvider | undefined;
  /** KRUN_METADATA: a loopback address. */
  readonly metadata?: { readonly hostname: string; readonly port: number } | undefined;
}

/** How the variables are read: by names of the table. */
export interface GoogleVariables {
  text(name: SettingName): string | undefined;
  read<T>(name: SettingName, reader: (setting: SettingText) => T): T | undefined;
}

/** Reads them. @throws {KrunError} `SettingInvalid`, `SettingConflict` */
export function readGoogle({ text, read }: GoogleVariables): GoogleSettings {
  const off = text("CLUSTER_NAME") === "-";
  const projectId = text("PROJECT_ID");
  const projectNumber = text("PROJECT_NUMBER");
  const settings: GoogleSettings = {
    off,
    clusterName: off ? undefined : text("CLUSTER_NAME"),
    location: text("CLUSTER_LOCATION"),
    projectId: projectId !== undefined && isProject(projectId) ? projectId : undefined,
    projectNumber: projectNumber !== undefined && /^[1-9]\d{0,17}$/.test(projectNumber) ? projectNumber : undefined,
    target: read("MESH", readTarget),
    endpoint: read("KRUN_GKE_ENDPOINT", (setting) => readChoice(setting, CLUSTER_ENDPOINTS)),
    credentialsFile: text("GOOGLE_APPLICATION_CREDENTIALS"),
    metadataHost: read("GCE_METADATA_HOST", readMetadataHost),
    account: read("KRUN_GOOGLE_ACCOUNT", readAccount),
    workloadProvider: read("KRUN_WORKLOAD_PROVIDER", readProvider),
    metadata: read("KRUN_METADATA", readLoopback),
  };
  checkNames(settings);
  return settings;
}

/** Whether a setting names a cluster of Google Cloud, or a project to look in. */
export function namesCluster({ clusterName, target }: GoogleSettings): boolean {
  return clusterName !== undefined || target !== undefined;
}

/** Whether a value of MESH names a cluster. */
export function isGoogleTarget(text: string): boolean {
  return text.startsWith("gke:") || /^(?:https:)?\/\/(?:container|gkehub)\.googleapis\.com\//.test(text);
}

const TARGET_EXAMPLE = "//container.googleapis.com/projects/my-project/locations/us-central1/clusters/prod";

function readTarget({ env, text }: SettingText): GoogleTarget | undefined {
  if (!isGoogleTarget(text)) return undefined;
  const [, project] = /^gke:\/\/(.*)$/s.exec(text) ?? [];
  if (project !== undefined && isProject(project)) return { kind: "project", project };
  const cluster = parseClusterName(text);
  if (cluster) return { kind: "cluster", name: cluster };
  const membership = parseMembershipName(text);
  if (membership) return { kind: "membership", name: membership };
  throw settingInvalid(env, `${quoted(text)} names no project, cluster or fleet membership`, TARGET_EXAMPLE);
}

/** A name that no cluster can have would be looked for in vain, and becomes part of an error that a person reads. */
function checkNames({ clusterName, location, target, endpoint }: GoogleSettings): void {
  for (
    const [env, value, example] of [["CLUSTER_NAME", clusterName, "prod"], [
      "CLUSTER_LOCATION",
      location,
      "us-central1",
    ]]
  ) {
    if (value === undefined || isGoogleName(value)) continue;
    throw settingInvalid(env!, `${quoted(value)} is not a name of lower case letters, digits and dashes`, example!);
  }
  const inTarget = target?.kind === "cluster"
    ? target.name.cluster
    : target?.kind === "membership"
    ? target.name.membership
    : undefined;
  if (clusterName !== undefined && inTarget !== undefined && clusterName !== inTarget) {
    throw contradicts("CLUSTER_NAME", clusterName, `MESH says ${quoted(inTarget)}`);
  }
  // A member of a fleet is mostly in "global": where its cluster is shows when it is found.
  if (location !== undefined && target?.kind === "cluster" && !isWithin(target.name.location, location)) {
    throw contradicts("CLUSTER_LOCATION", location, `MESH says ${quoted(target.name.location)}`);
  }
  if (endpoint !== undefined && endpoint !== "gateway" && target?.kind === "membership") {
    throw contradicts("KRUN_GKE_ENDPOINT", endpoint, "MESH names a member of a fleet, which only gateway leads to");
  }
}

function contradicts(name: SettingName, value: string, other: string): KrunError {
  const message = `Cannot choose a cluster: ${name} says ${quoted(value)} and ${other}`;
  return new KrunError("SettingConflict", message, `unset ${name} or MESH`);
}

/** A host and maybe a port; nothing that could be more of a URL. */
function readMetadataHost({ env, text }: SettingText): string {
  if (/^(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(text)) return text;
  throw settingInvalid(env, `${quoted(text)} is not host or host:port`, "169.254.169.254");
}

function readAccount({ env, text }: SettingText): ProgramAccount {
  if (text === "platform" || text === "workload") return { kind: text };
  if (isServiceAccountEmail(text)) return { kind: "email", email: text };
  throw settingInvalid(
    env,
    `${quoted(text)} is not the e-mail of a Google service account, nor platform or workload`,
    "web@my-project.iam.gserviceaccount.com",
  );
}

/** Whether a text has the form of a Google service account's e-mail address. */
export function isServiceAccountEmail(text: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{0,62}@[a-z0-9][a-z0-9.-]{0,200}\.gserviceaccount\.com$/.test(text);
}

function readProvider({ env, text }: SettingText): WorkloadProvider {
  const provider = parseWorkloadProvider(text);
  if (provider) return provider;
  const example = "projects/123456789/locations/global/workloadIdentityPools/my-pool/providers/my-provider";
  throw settingInvalid(env, `${quoted(text)} is not a provider of a workload identity pool`, example);
}

/** Tokens are given to whoever asks there: to nobody beyond this machine. */
function readLoopback(setting: SettingText): { hostname: string; port: number } {
  const example = "127.0.0.1:15988";
  const address = readListenAddress(setting, example);
  if (/^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address.hostname) || address.hostname === "::1") return address;
  throw settingInvalid(setting.env, `${quoted(address.hostname)} is not a loopback address`, example);
}
