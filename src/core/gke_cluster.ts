/**
 * Which of a project's GKE clusters is meant, and by which address it is reached. In: what the GKE API lists, and settings.
 * Out: one cluster with the rule that chose it, or candidates to choose from.
 *
 * The order is the original's (cloud-run-mesh pkg/gcp): labelled `mesh_id`; then by name in the region, by name anywhere,
 * `istio*` in the region, any in the region, `istio*` anywhere, any. Unlike there, two that are equally good are not a choice.
 *
 * @module
 */
import { isWithin } from "./google_location.ts";
import type { ClusterEndpoint } from "./google_settings.ts";

/** A cluster as the GKE API describes it (container.googleapis.com/v1, `Cluster`), as far as krun reads it. */
export interface GkeCluster {
  readonly name: string;
  readonly location: string;
  readonly selfLink?: string;
  readonly status?: string;
  readonly resourceLabels?: Readonly<Record<string, string>>;
  /** Address of the control plane. */
  readonly endpoint?: string;
  readonly masterAuth?: { readonly clusterCaCertificate?: string };
  readonly privateClusterConfig?: {
    readonly enablePrivateEndpoint?: boolean;
    readonly privateEndpoint?: string;
    readonly publicEndpoint?: string;
  };
  readonly controlPlaneEndpointsConfig?: {
    readonly dnsEndpointConfig?: {
      readonly endpoint?: string;
      readonly allowExternalTraffic?: boolean;
      readonly enableK8sTokensViaDns?: boolean;
    };
    readonly ipEndpointsConfig?: {
      readonly enabled?: boolean;
      readonly enablePublicEndpoint?: boolean;
      readonly publicEndpoint?: string;
      readonly privateEndpoint?: string;
      readonly authorizedNetworksConfig?: { readonly enabled?: boolean };
    };
  };
  readonly masterAuthorizedNetworksConfig?: { readonly enabled?: boolean };
  readonly workloadIdentityConfig?: { readonly workloadPool?: string };
  readonly fleet?: { readonly membership?: string };
}

/** What is looked for. */
export interface ClusterWish {
  /** CLUSTER_NAME. */
  readonly name?: string | undefined;
  /** CLUSTER_LOCATION: only there. */
  readonly location?: string | undefined;
  /** Region of the machine: rather there. */
  readonly region?: string | undefined;
  /** Clusters without the label `mesh_id` count as much, as with `gke://`. @default {false} */
  readonly anyMesh?: boolean;
}

/** What came of the choice. */
export type ClusterChoice<Candidate> =
  | { readonly kind: "chosen"; readonly chosen: Candidate; readonly rule: string }
  /** Equally good ones. */
  | { readonly kind: "ambiguous"; readonly candidates: readonly Candidate[]; readonly rule: string }
  | { readonly kind: "none" };

/** What the order looks at. */
export interface Choosable {
  readonly name: string;
  readonly location: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** These have a control plane that answers. */
const USABLE: readonly (string | undefined)[] = ["RUNNING", "RECONCILING", "DEGRADED", undefined];

/** Whether its control plane can answer. */
export function isUsable({ status }: GkeCluster): boolean {
  return USABLE.includes(status);
}

/** Chooses by the order that this module describes. A rule is a clause for a person: `the only one in us-central1`. */
export function chooseCluster<Candidate extends Choosable>(
  all: readonly Candidate[],
  { name, location, region, anyMesh = false }: ClusterWish,
): ClusterChoice<Candidate> {
  const there = all.filter((one) => location === undefined || isWithin(one.location, location));
  const inMesh = there.filter(({ labels }) => labels !== undefined && Object.hasOwn(labels, "mesh_id"));
  const onlyMesh = name === undefined && !anyMesh && inMesh.length > 0;
  const isNear = (one: Candidate) => region !== undefined && isWithin(one.location, region);
  const isIstio = (one: Candidate) => one.name.startsWith("istio");
  const place = location === undefined ? "" : ` in ${location}`;
  const groups: readonly [rule: string, fits: (one: Candidate) => boolean][] = name !== undefined
    ? [[`named ${name} in ${region}`, (one) => one.name === name && isNear(one)], [
      `named ${name}${place}`,
      (one) => one.name === name,
    ]]
    : [
      [`named istio* in ${region}`, (one) => isIstio(one) && isNear(one)],
      [`in ${region}`, isNear],
      [`named istio*${place}`, isIstio],
      [location === undefined ? "of the project" : `in ${location}`, () => true],
    ];
  for (const [rule, fits] of groups) {
    const candidates = exact((onlyMesh ? inMesh : there).filter(fits), location);
    const said = `the only one ${onlyMesh ? "labelled mesh_id " : ""}${rule}`;
    if (candidates.length > 1) return { kind: "ambiguous", candidates, rule: said.replace("the only one ", "") };
    if (candidates.length === 1) return { kind: "chosen", chosen: candidates[0]!, rule: said };
  }
  return { kind: "none" };
}

/** Of several, one that is in the very location: a region is also the place of clusters in its zones. */
function exact<Candidate extends Choosable>(
  all: readonly Candidate[],
  location: string | undefined,
): readonly Candidate[] {
  const there = all.length > 1 ? all.filter((one) => one.location === location) : [];
  return there.length === 1 ? there : all;
}

/** An address of a control plane. */
export interface GkeEndpoint {
  readonly kind: Exclude<ClusterEndpoint, "gateway">;
  /** Host, an IPv6 address in brackets. */
  readonly host: string;
  /** Who verifies it: the cluster's CA, or the public ones. */
  readonly trust: "cluster" | "public";
  /** Why service account tokens are not taken there. */
  readonly refusesServiceAccounts?: string;
}

/**
 * The address to use; `undefined` when the cluster has none of that kind.
 *
 * Without a wish: the public address, unless it is shut to all but some networks and the DNS endpoint is open to everybody;
 * else the DNS endpoint where it is open to everybody; else the private address; else the DNS endpoint.
 */
export function gkeEndpoint(
  cluster: GkeCluster,
  wish?: Exclude<ClusterEndpoint, "gateway">,
): GkeEndpoint | undefined {
  const all = endpointsOf(cluster);
  if (wish !== undefined) return all.find(({ kind }) => kind === wish);
  const dnsIsOpen = cluster.controlPlaneEndpointsConfig?.dnsEndpointConfig?.allowExternalTraffic ?? false;
  const order: readonly GkeEndpoint["kind"][] = dnsIsOpen && isShut(cluster)
    ? ["dns", "public", "private"]
    : dnsIsOpen
    ? ["public", "dns", "private"]
    : ["public", "private", "dns"];
  return order.map((kind) => all.find((one) => one.kind === kind)).find((one) => one !== undefined);
}

/** Authorized networks: only some may connect to the public address. */
function isShut({ controlPlaneEndpointsConfig: config, masterAuthorizedNetworksConfig: older }: GkeCluster): boolean {
  return config?.ipEndpointsConfig?.authorizedNetworksConfig?.enabled ?? older?.enabled ?? false;
}

function endpointsOf(cluster: GkeCluster): GkeEndpoint[] {
  const { ipEndpointsConfig: ip, dnsEndpointConfig: dns } = cluster.controlPlaneEndpointsConfig ?? {};
  const old = cluster.privateClusterConfig;
  const hasIp = ip?.enabled ?? true;
  const isPublic = hasIp && (ip?.enablePublicEndpoint ?? !old?.enablePrivateEndpoint);
  const publicHost = isPublic ? ip?.publicEndpoint ?? old?.publicEndpoint ?? cluster.endpoint : undefined;
  const privateHost = hasIp
    ? ip?.privateEndpoint ?? old?.privateEndpoint ?? (isPublic ? undefined : cluster.endpoint)
    : undefined;
  const withoutTokens = dns?.enableK8sTokensViaDns
    ? {}
    : { refusesServiceAccounts: "the cluster's DNS endpoint takes no service account tokens" };
  return [
    ...(publicHost ? [{ kind: "public", host: hostOf(publicHost), trust: "cluster" } as const] : []),
    ...(privateHost ? [{ kind: "private", host: hostOf(privateHost), trust: "cluster" } as const] : []),
    ...(dns?.endpoint ? [{ kind: "dns", host: dns.endpoint, trust: "public", ...withoutTokens } as const] : []),
  ];
}

function hostOf(address: string): string {
  return address.includes(":") && !address.startsWith("[") ? `[${address}]` : address;
}

/** Whether a host is one that a cluster of Google's can have: an address, or a name below `gke.goog`. */
export function isGkeHost({ kind, host }: GkeEndpoint): boolean {
  if (kind === "dns") return /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\.gke\.goog$/.test(host);
  return /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\])$/.test(host);
}
