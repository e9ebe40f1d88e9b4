/**
 * What a workload's owner has to know, or to set, before a mesh does for it what a Pod's owner expects. In: how the workload
 * joins, what the mesh has for it. Out: sentences, and objects to apply.
 *
 * @module
 */
import type { Identity } from "./identity.ts";
import type { Mesh } from "./mesh.ts";
import type { Sidecar } from "./mesh_objects.ts";
import type { MeshMode } from "./mesh_settings.ts";

/** What is looked at. */
export interface MeshAdviceOptions {
  readonly mesh: Pick<Mesh, "group" | "sidecars" | "unreadable">;
  readonly mode: MeshMode;
  readonly identity: Identity;
  /** Name of the WorkloadGroup that was looked for. */
  readonly groupName: string;
  /** Final labels of the Pod. */
  readonly labels: Readonly<Record<string, string>>;
  /** Why traffic is not captured although krun is root, and what to do about it. */
  readonly uncaptured: string | undefined;
  /** The agent resolves names for the program. */
  readonly resolvesNames: boolean;
  /** Of the program: name and number. */
  readonly ports: readonly { readonly name?: string | undefined; readonly containerPort: number }[];
}

/** Advice. */
export interface MeshAdvice {
  readonly warnings: readonly string[];
  /** YAML for `kubectl apply -f -`, each with a comment that says what for. */
  readonly manifests: readonly string[];
}

const UNRESOLVED =
  "ISTIO_META_DNS_CAPTURE is false: the machine's own resolver has to know the Services that are called, " +
  "or they are called by cluster IP";

/** Looks for what is missing. A program without ports calls, and is not called: nothing is missing for it. */
export function meshAdvice(options: MeshAdviceOptions): MeshAdvice {
  const { mesh, mode, groupName, ports, uncaptured, resolvesNames } = options;
  const traffic = [
    ...uncaptured === undefined ? [] : [`the program's traffic is not captured: ${uncaptured}`],
    ...mode === "intercept" && !resolvesNames ? [UNRESOLVED] : [],
  ];
  const proxied = mode === "proxy"
    ? [
      "an http:// host that is no Service of the mesh is answered 503 by its proxy: NO_PROXY, or a ServiceEntry, spares it",
    ]
    : [];
  if (ports.length === 0) return { warnings: [...traffic, ...proxied], manifests: [] };
  const unread = mesh.unreadable?.includes("workloadgroups") ?? false;
  const uncalled = mesh.group === undefined && !unread;
  const plain = mode === "proxy" && mesh.sidecars !== undefined && !hasIngress(options);
  const unknown = mode === "proxy" && mesh.sidecars === undefined;
  return {
    warnings: [
      ...traffic,
      ...proxied,
      ...unread
        ? [`krun may not read WorkloadGroup "${groupName}" (docs/rights.md): the mesh cannot call this workload`]
        : [],
      ...uncalled ? [`the mesh cannot call this workload: it has no WorkloadGroup "${groupName}"`] : [],
      ...plain ? ["the mesh cannot call this workload with mTLS in mode proxy: no Sidecar has an ingress for it"] : [],
      ...unknown ? ["krun may not list Sidecars: without one that has an ingress, the mesh cannot call with mTLS"] : [],
    ],
    manifests: [...uncalled ? [workloadGroup(options)] : [], ...plain ? [sidecar(options)] : []],
  };
}

function hasIngress({ mesh, labels }: MeshAdviceOptions): boolean {
  return countingSidecars(mesh.sidecars ?? [], labels).some(({ ingressPorts }) => ingressPorts.length > 0);
}

/** Istio takes the Sidecars that select the workload, and where there is none, that of the whole namespace. */
export function countingSidecars(
  all: readonly Sidecar[],
  labels: Readonly<Record<string, string>>,
): readonly Sidecar[] {
  const selecting = all.filter(({ selector }) =>
    Object.keys(selector).length > 0 && Object.entries(selector).every(([key, value]) => labels[key] === value)
  );
  return selecting.length > 0 ? selecting : all.filter(({ selector }) => Object.keys(selector).length === 0);
}

const quoted = JSON.stringify;

function workloadGroup({ identity, groupName, mode, ports }: MeshAdviceOptions): string {
  const entries = ports.map((port) =>
    `${quoted(nameOf(port))}: ${mode === "proxy" ? meshPort(port) : port.containerPort}`
  );
  return [
    "# Makes the workload callable by a Service with selector app. The first word of a port's name is its protocol.",
    "apiVersion: networking.istio.io/v1",
    "kind: WorkloadGroup",
    `metadata: {namespace: ${quoted(identity.namespace.value)}, name: ${quoted(groupName)}}`,
    "spec:",
    `  metadata: {labels: {app: ${quoted(groupName)}}}`,
    "  template:",
    `    serviceAccount: ${quoted(identity.serviceAccount.value)}`,
    `    ports: {${entries.join(", ")}}`,
    "",
  ].join("\n");
}

function sidecar({ identity, groupName, ports }: MeshAdviceOptions): string {
  return [
    "# Ports of the proxy, with mTLS, for those of the program: a Service names these as its targetPort.",
    "apiVersion: networking.istio.io/v1",
    "kind: Sidecar",
    `metadata: {namespace: ${quoted(identity.namespace.value)}, name: ${quoted(groupName)}}`,
    "spec:",
    `  workloadSelector: {labels: {app: ${quoted(groupName)}}}`,
    "  ingress:",
    ...ports.flatMap((port) => [
      `  - port: {number: ${meshPort(port)}, protocol: ${protocolOf(port)}, name: ${quoted(nameOf(port))}}`,
      `    defaultEndpoint: 127.0.0.1:${port.containerPort}`,
    ]),
    "  egress:",
    "  # The Services that are called from here: the proxy takes the port of each of them on 127.0.0.1, and no other.",
    '  - hosts: ["./*", "istio-system/*"]',
    "",
  ].join("\n");
}

type Port = MeshAdviceOptions["ports"][number];

function nameOf({ name, containerPort }: Port): string {
  return name ?? `http-${containerPort}`;
}

/** The program has its own: the proxy needs another one on the same machine. */
function meshPort({ containerPort }: Port): number {
  return containerPort > 55_000 ? containerPort - 10_000 : containerPort + 10_000;
}

/** Istio reads a port's protocol from what its name begins with. */
function protocolOf(port: Port): string {
  const [, first = ""] = /^([a-z0-9]+)(?:-|$)/.exec(nameOf(port)) ?? [];
  const known = ["http", "http2", "grpc", "tcp", "tls", "mongo", "redis", "mysql"];
  return known.includes(first) ? first.toUpperCase() : "TCP";
}
