/**
 * Who the workload is: namespace, name and service account, each with the rule that decided it.
 *
 * In: the variables, the Pod's manifest, and what the cluster's source implies. Rules, the first that says something wins:
 *
 * | value | rules |
 * |---|---|
 * | namespace | WORKLOAD_NAMESPACE, the manifest, K_SERVICE (or CLOUD_RUN_JOB, CLOUD_RUN_WORKER_POOL), the source of the cluster (last a Google account or project) |
 * | name | WORKLOAD_NAME, the manifest, K_SERVICE, the namespace |
 * | service account | WORKLOAD_SERVICE_ACCOUNT, the manifest, `default` |
 *
 * @module
 */
import type { ClusterSource } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import type { PodManifest } from "./pod_manifest.ts";
import { isDnsLabel, isDnsSubdomain } from "./object_name.ts";
import { quoted } from "./setting_invalid.ts";
import type { WorkloadSettings } from "./settings.ts";
import type { SettingName } from "./settings_table.ts";

/** A value and the rule that decided it. */
export interface Decided {
  /** What was decided. */
  readonly value: string;
  /** For `--check`: a variable's name, `context "dev" of /home/a/.kube/config`, `the default`. */
  readonly rule: string;
}

/** Who the workload is in its cluster. Every value has the form that Kubernetes asks for (RFC 1123). */
export interface Identity {
  /** Where its Secrets, ConfigMaps and service account are. */
  readonly namespace: Decided;
  /** The Pod's name. */
  readonly name: Decided;
  /** Whose tokens the program gets. */
  readonly serviceAccount: Decided;
  /** The `$VERSION` of K_SERVICE, when it has one. */
  readonly version?: Decided;
}

/** Options of {@linkcode workloadIdentity}. */
export interface WorkloadIdentityOptions {
  /** KRUN_POD. */
  readonly manifest?: PodManifest | undefined;
  /** Where the cluster was found; `undefined`: there is none, and every value is only a word for the log. */
  readonly source?: ClusterSource | undefined;
}

/**
 * Decides who the workload is.
 *
 * Without a cluster nothing is an error: what no rule decides is `default`.
 *
 * @throws {KrunError} `NamespaceUnknown` when there is a cluster and no rule decides the namespace; `SettingInvalid` when a
 * value has not the form of its kind.
 */
export function workloadIdentity(workload: WorkloadSettings, { manifest, source }: WorkloadIdentityOptions): Identity {
  const service = parseService(workload.service, workload.namespace ?? manifest?.pod.metadata?.namespace);
  const serviceRule = workload.serviceSetting ?? "K_SERVICE";
  const namespace = first(
    decided(workload.namespace, "WORKLOAD_NAMESPACE"),
    decided(manifest?.pod.metadata?.namespace, "KRUN_POD"),
    decided(service?.namespace, serviceRule),
    decided(source?.namespace, source ? source.namespaceRule ?? describeSource(source) : ""),
    source ? undefined : { value: "default", rule: "no cluster" },
  );
  if (!namespace) throw namespaceUnknown(source!);
  const name = first(
    decided(workload.name, "WORKLOAD_NAME"),
    decided(manifest?.pod.metadata?.name, "KRUN_POD"),
    decided(service?.name, serviceRule),
    { value: namespace.value, rule: `the namespace, by ${namespace.rule}` },
  )!;
  const serviceAccount = first(
    decided(workload.serviceAccount, "WORKLOAD_SERVICE_ACCOUNT"),
    decided(manifest?.pod.spec?.serviceAccountName || manifest?.pod.spec?.serviceAccount, "KRUN_POD"),
    // That of the Pod that krun is in, for a workload in the same namespace.
    decided(
      namespace.value === source?.namespace ? source.serviceAccount : undefined,
      source ? describeSource(source) : "",
    ),
    { value: "default", rule: "the default" },
  )!;
  const version = decided(service?.version, serviceRule);
  if (source) {
    check(namespace, { env: "WORKLOAD_NAMESPACE", isValid: isDnsLabel });
    check(name, { env: "WORKLOAD_NAME", isValid: isDnsSubdomain });
    check(serviceAccount, { env: "WORKLOAD_SERVICE_ACCOUNT", isValid: isDnsSubdomain });
  }
  return { namespace, name, serviceAccount, ...(version && { version }) };
}

/** The source of a cluster in words: `context "dev" of /home/a/.kube/config`. */
export function describeSource({ kind, where, context }: ClusterSource): string {
  switch (kind) {
    case "kubeconfig":
      return context === undefined ? `kubeconfig ${where}` : `context ${quoted(context)} of ${where}`;
    case "in-cluster":
      return `the in-cluster service account in ${where}`;
    case "manifests":
      return `the manifests in ${where}`;
    case "google":
      return where;
  }
}

/** The parts of K_SERVICE. */
interface ServiceName {
  readonly version?: string;
  readonly namespace: string;
  readonly name?: string;
}

/**
 * `[$VERSION--]$WORKLOAD_NAMESPACE[-$WORKLOAD_NAME]`. A namespace that is known already may hold dashes: then what follows
 * it is the name. One that is not known ends at the first dash.
 */
function parseService(service: string | undefined, known: string | undefined): ServiceName | undefined {
  if (service === undefined) return undefined;
  const [, version, rest = ""] = /^(?:(.+?)--)?(.*)$/s.exec(service) ?? [];
  const dash = known !== undefined && `${rest}-`.startsWith(`${known}-`) ? known.length : rest.indexOf("-");
  const [namespace, name] = dash < 0 ? [rest] : [rest.slice(0, dash), rest.slice(dash + 1)];
  return { namespace, ...(version && { version }), ...(name && { name }) };
}

function decided(value: string | undefined, rule: string): Decided | undefined {
  return value ? { value, rule } : undefined;
}

function first(...candidates: readonly (Decided | undefined)[]): Decided | undefined {
  return candidates.find((candidate) => candidate !== undefined);
}

function check({ value, rule }: Decided, { env, isValid }: { env: SettingName; isValid(name: string): boolean }): void {
  if (isValid(value)) return;
  const kind = env.slice("WORKLOAD_".length).toLowerCase().replace("_", " ");
  throw new KrunError(
    rule === "KRUN_POD" ? "PodInvalid" : "SettingInvalid",
    `Cannot use ${quoted(value)} as the workload's ${kind} (by ${rule}): it is not a name that Kubernetes allows`,
    `set ${env} to a name of lower case letters, digits and dashes`,
  );
}

function namespaceUnknown(source: ClusterSource): KrunError {
  return new KrunError(
    "NamespaceUnknown",
    `Cannot find the workload's namespace: WORKLOAD_NAMESPACE and K_SERVICE are not set, and ${
      describeSource(source)
    } names none`,
    "set WORKLOAD_NAMESPACE",
  );
}
