/**
 * Whether a workload in a mesh has an HBONE endpoint of krun's, where it listens, whom it lets in and to what. In: settings, the Pod with
 * its proxy. Out: the plan, or why there is none.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import type { ReachableWorkload } from "./hbone_target.ts";
import type { MeshSettings } from "./mesh_settings.ts";
import { formatPeerPattern, type PeerPattern } from "./spiffe_id.ts";
import { podContainers } from "./volume_mounts.ts";

/** An endpoint. */
export interface HbonePlan {
  /** Where it listens: the first that nothing else holds. */
  readonly ports: readonly number[];
  /** Who is let in; unset: everyone in the trust domain of the workload's certificate. */
  readonly allow?: readonly PeerPattern[];
  /** What they reach. */
  readonly workload: ReachableWorkload;
}

/** Why there is none. */
export interface NoHbone {
  /** One clause. */
  readonly because: string;
}

/** Options of {@linkcode hbonePlan}. */
export interface HbonePlanOptions {
  readonly settings: Pick<MeshSettings, "hbonePeers" | "gateway">;
  /** With its proxy. */
  readonly pod: V1Pod;
  /** Containers that krun has added. */
  readonly ownContainers: ReadonlySet<string>;
  /** Of this machine. */
  readonly addresses: readonly string[];
  /** Names of this machine. */
  readonly names: readonly string[];
  /** As in `cluster.local`. */
  readonly clusterDomain: string;
  /** Where an ssh server listens on 127.0.0.1. */
  readonly sshPort: number;
  /** Why the runtime cannot do it; unset: it can. */
  readonly incapable?: string | undefined;
}

/** Where HBONE is expected, and where the original listened. */
export const HBONE_PORTS: readonly number[] = [15008, 15009];

/** Whether the endpoint may come to listen, which must be known before the Pod is. */
export function wantsHbone(
  { settings: { hbonePeers, gateway }, incapable }: Pick<HbonePlanOptions, "settings" | "incapable">,
): boolean {
  return hbonePeers !== "none" && gateway === undefined && incapable === undefined;
}

/** Decides it. */
export function hbonePlan(options: HbonePlanOptions): HbonePlan | NoHbone {
  const { settings: { hbonePeers, gateway }, pod, ownContainers, incapable, sshPort } = options;
  if (hbonePeers === "none") return { because: "HBONE_ALLOW is -" };
  if (gateway !== undefined) return { because: "a gateway has no program to reach" };
  if (incapable !== undefined) return { because: incapable };
  const containers = podContainers(pod).filter(({ name }) => !ownContainers.has(name));
  const declared = containers.flatMap(({ ports = [] }) => ports)
    .filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ containerPort }) => containerPort);
  // The proxy's own endpoint, by ISTIO_META_ENABLE_HBONE, opens with its first configuration.
  const isProxys = pod.metadata?.labels?.["networking.istio.io/tunnel"] === "http";
  const taken = [...declared, ...isProxys ? [15008] : []];
  const ports = HBONE_PORTS.filter((port) => !taken.includes(port));
  if (ports.length === 0) return { because: `ports ${HBONE_PORTS.join(" and ")} are the program's` };
  return {
    ports,
    ...(hbonePeers && { allow: hbonePeers }),
    workload: { hosts: hostsOf(options), ports: [...new Set(declared)], sshPort },
  };
}

/** Whom the endpoint lets in, in words. */
export function hbonePeersText({ allow }: HbonePlan, trustDomain: string): string {
  return (allow ?? [{ trustDomain }]).map(formatPeerPattern).join(",");
}

/** What an endpoint beside Envoy is, in words: what comes by it is not judged by Envoy. */
export function pastEnvoyText({ allow }: Pick<HbonePlan, "allow">): string {
  return allow
    ? "past Envoy, where HBONE_ALLOW alone says who may call, and AuthorizationPolicy does not count"
    : "past Envoy, where AuthorizationPolicy does not count: the whole trust domain may call, until HBONE_ALLOW says who";
}

/** What a caller may call the workload. */
function hostsOf({ pod, addresses, names, clusterDomain }: HbonePlanOptions): string[] {
  const { name = "", namespace = "" } = pod.metadata ?? {};
  const workload = pod.metadata?.labels?.["service.istio.io/canonical-name"] ?? name;
  const service = `${workload}.${namespace}`;
  const all = [...addresses, ...names, name, service, `${service}.svc`, `${service}.svc.${clusterDomain}`];
  return [...new Set(all.filter((host) => host !== ""))];
}
