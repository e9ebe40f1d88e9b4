/**
 * `fieldRef`: what a Pod says of itself. In: a field path, the Pod, the node. Out: the field's value as text.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import { downwardFile } from "./downward_file.ts";
import { KrunError } from "./errors.ts";
import { onePerFamily, parseIp } from "./ip_address.ts";
import type { NodeFacts } from "./pod_inputs.ts";

/** Options of {@linkcode envFieldValue}. */
export interface EnvFieldOptions {
  /** The Pod whose field is asked for. */
  readonly pod: V1Pod;
  /** The node it runs on. */
  readonly node: NodeFacts;
  /** `fieldRef.apiVersion`. @default {"v1"} */
  readonly apiVersion?: string | undefined;
}

type Fields<Source> = Readonly<Record<string, (source: Source) => string>>;

/** What an environment variable and a volume may both show. */
const COMMON_FIELDS: Fields<V1Pod> = {
  "metadata.name": (pod) => pod.metadata?.name ?? "",
  "metadata.namespace": (pod) => pod.metadata?.namespace ?? "",
  "metadata.uid": (pod) => pod.metadata?.uid ?? "",
};

/** Whole maps: a volume only. */
const VOLUME_FIELDS: Fields<V1Pod> = {
  ...COMMON_FIELDS,
  "metadata.labels": (pod) => downwardFile(pod.metadata?.labels ?? {}),
  "metadata.annotations": (pod) => downwardFile(pod.metadata?.annotations ?? {}),
};

/** What is known only when the Pod runs: an environment variable only. */
const RUN_FIELDS: Fields<EnvFieldOptions> = {
  "spec.nodeName": nodeName,
  // Old name of spec.nodeName, which ConvertDownwardAPIFieldLabel of pkg/apis/core/pods/helpers.go still takes.
  "spec.host": nodeName,
  "spec.serviceAccountName": ({ pod }) => pod.spec?.serviceAccountName ?? "",
  "status.podIP": (options) => podIps(options)[0] ?? "",
  "status.podIPs": (options) => podIps(options).join(","),
  "status.hostIP": (options) => hostIps(options)[0] ?? "",
  "status.hostIPs": (options) => hostIps(options).join(","),
};

/** `metadata.labels['key']`: exactly this form, split at the first `['`. */
const SUBSCRIPTED = /^([^]+?)\['([^]*)'\]$/;

/**
 * Value of an `env[].valueFrom.fieldRef`. An absent label or annotation gives the empty text, not an error. Addresses are
 * in canonical form, at most one of each family, the family of the node's first address first; the Pod's own come from
 * `status`, else from the node, since krun gives a Pod no network of its own.
 *
 * Rule: pkg/kubelet/kubelet_pods.go `podFieldSelectorRuntimeValue`, pkg/fieldpath/fieldpath.go and, for what is refused,
 * `validateObjectFieldSelector` of pkg/apis/core/validation/validation.go of Kubernetes v1.34.
 *
 * @throws {KrunError} `PodInvalid` when an environment variable cannot show this field.
 */
export function envFieldValue(fieldPath: string, options: EnvFieldOptions): string {
  const { pod, apiVersion = "v1" } = options;
  if (apiVersion !== "v1") throw refused(fieldPath, pod, `apiVersion "${apiVersion}" is not "v1"`);
  const value = keyedValue(fieldPath, pod) ?? plainValue(COMMON_FIELDS, fieldPath, pod) ??
    plainValue(RUN_FIELDS, fieldPath, options);
  if (value === undefined) throw refused(fieldPath, pod, "an environment variable cannot show this field");
  return value;
}

/**
 * Value of a `fieldRef` in a downwardAPI volume or projection: the exact bytes of the file, as text.
 *
 * Rule: pkg/fieldpath/fieldpath.go `ExtractFieldPathAsString` of Kubernetes v1.34.
 *
 * @throws {KrunError} `PodInvalid` when a volume cannot show this field.
 */
export function volumeFieldValue(fieldPath: string, pod: V1Pod): string {
  const value = keyedValue(fieldPath, pod) ?? plainValue(VOLUME_FIELDS, fieldPath, pod);
  if (value === undefined) throw refused(fieldPath, pod, "a volume cannot show this field");
  return value;
}

function plainValue<Source>(fields: Fields<Source>, fieldPath: string, source: Source): string | undefined {
  return Object.hasOwn(fields, fieldPath) ? fields[fieldPath]!(source) : undefined;
}

/** One label or annotation; `undefined` when the path has no subscript. */
function keyedValue(fieldPath: string, pod: V1Pod): string | undefined {
  const [, path, key] = SUBSCRIPTED.exec(fieldPath) ?? [];
  if (path === undefined || key === undefined) return undefined;
  if (path !== "metadata.labels" && path !== "metadata.annotations") {
    throw refused(fieldPath, pod, "this field takes no subscript");
  }
  const labels = path === "metadata.labels";
  // The keys of annotations may have upper case prefixes, so Kubernetes checks them in lower case.
  if (!isQualifiedName(labels ? key : key.toLowerCase())) {
    throw refused(fieldPath, pod, `"${key}" is not a qualified name`);
  }
  const map = (labels ? pod.metadata?.labels : pod.metadata?.annotations) ?? {};
  return Object.hasOwn(map, key) ? map[key] : "";
}

const NAME_PART = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const DNS_LABELS = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** `IsQualifiedName` of k8s.io/apimachinery/pkg/util/validation: `[dns.prefix/]name`. */
function isQualifiedName(text: string): boolean {
  const [name, prefix, ...more] = text.split("/").reverse();
  if (more.length > 0 || !NAME_PART.test(name!)) return false;
  return prefix === undefined || (prefix.length <= 253 && DNS_LABELS.test(prefix));
}

function nodeName({ pod, node }: EnvFieldOptions): string {
  return pod.spec?.nodeName ?? node.name;
}

function podIps({ pod, node }: EnvFieldOptions): string[] {
  const { podIP, podIPs } = pod.status ?? {};
  const own = podIPs?.map(({ ip }) => ip) ?? (podIP ? [podIP] : []);
  return onePerFamily(own.length > 0 ? own : node.ips, primaryFamily(node));
}

function hostIps({ pod, node }: EnvFieldOptions): string[] {
  const ips = onePerFamily(node.ips, primaryFamily(node));
  if (ips.length === 0) throw refused("status.hostIP", pod, "this machine has no address");
  return ips;
}

function primaryFamily(node: NodeFacts): 4 | 6 {
  return parseIp(node.ips[0] ?? "")?.family ?? 4;
}

function refused(fieldPath: string, pod: V1Pod, state: string): KrunError {
  const name = `${pod.metadata?.namespace ?? ""}/${pod.metadata?.name ?? ""}`;
  return new KrunError(
    "PodInvalid",
    `Cannot resolve fieldRef "${fieldPath}" of Pod "${name}": ${state}`,
    "use metadata.name, metadata.namespace, metadata.uid, metadata.labels['<key>'] or metadata.annotations['<key>']; " +
      "a variable also shows spec.nodeName, spec.serviceAccountName and status.podIP(s), hostIP(s), a volume whole maps",
  );
}
