/**
 * What `--check` says of the mesh. In: a plan. Out: each value that decides how the workload joins, with its reason.
 *
 * @module
 */
import type { Decided } from "../core/identity.ts";
import { interceptionArgs, type InterceptionPlan } from "../core/interception.ts";
import { ipCapture } from "../core/ip_capture.ts";
import { MESH_PORTS } from "../core/istio_proxy.ts";
import { type MeshAdvice, meshAdvice } from "../core/mesh_advice.ts";
import type { ProcReader } from "../mesh/network_namespace.ts";
import type { Finding } from "./check_report.ts";
import { hboneFindings } from "./ways_in_findings.ts";
import type { MeshPlan } from "./mesh_plan.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./surroundings.ts";

const ROOTS = {
  "config-map": "istio-ca-root-cert",
  pem: "PEM",
  file: "a file",
  system: "the machine's CAs",
} as const;

/** The values; one line where there is no mesh. */
export function meshFindings(
  { mesh: plan, trafficDirector, noMesh = "", meshFault }: Pick<
    Plan,
    "mesh" | "trafficDirector" | "noMesh" | "meshFault"
  >,
  proc: ProcReader,
): Finding[] {
  if (trafficDirector) {
    const { address, configuration, mode, interception } = trafficDirector;
    return [
      { what: "mesh", value: address.value, because: address.rule },
      { what: "mesh mode", value: mode.mode, because: mode.rule },
      { what: "configuration", value: configuration.value, because: configuration.rule },
      ...(interception ? captureFindings(interception) : []),
    ];
  }
  if (meshFault) {
    const because = meshFault === "told" ? "see what cannot be read or joined" : noMesh;
    return [{ what: "mesh", value: "unknown", because }];
  }
  if (plan === undefined) return [{ what: "mesh", value: "none", because: noMesh }];
  const { mesh, mode, places, ports } = plan;
  const values: readonly [what: string, value: Decided | undefined][] = [
    ["mesh", mesh.address],
    ["mesh mode", { value: mode.mode, rule: mode.rule }],
    ["mesh agent", { value: places.agent, rule: "found" }],
    ["Envoy", mode.mode === "proxyless" ? undefined : { value: places.envoy ?? "none", rule: "found" }],
    ["proxy's ports", {
      value: Object.values(ports).join(),
      rule: ports.ready === MESH_PORTS.ready ? "the usual ones" : "of the usual ones some are in use",
    }],
    ["istiod's name", mesh.san],
    ["istiod's root", { value: ROOTS[mesh.root.kind], rule: mesh.rootRule }],
    ["mesh CA", mesh.caAddress],
    ["mesh revision", mesh.revision],
    ["trust domain", mesh.trustDomain],
    ["cluster id", mesh.clusterId],
    ["mesh id", mesh.meshId],
    ["mesh network", mesh.network],
    ["WorkloadGroup", {
      value: mesh.group?.name ?? "none",
      rule: mesh.group ? "the workload registers itself" : groupAbsence(plan),
    }],
  ];
  const known = values.flatMap(([what, value]) =>
    value === undefined ? [] : [{ what, value: value.value, because: value.rule }]
  );
  const capture = plan.interception ? captureFindings(plan.interception) : [];
  return [...known, ...capture, ...hboneFindings(plan, proc)];
}

function groupAbsence({ mesh: { unreadable = [] }, groupName }: MeshPlan): string {
  return unreadable.includes("workloadgroups") ? `krun may not read "${groupName}"` : `there is no "${groupName}"`;
}

function captureFindings(plan: InterceptionPlan): Finding[] {
  const { argv, env } = interceptionArgs(plan);
  const { families, leavesOut } = ipCapture(plan.addresses, { dualStack: plan.dualStack ?? false });
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value} `).join("");
  const scopes = {
    own: "nobody but krun and its program is in the network namespace",
    shared: plan.sharedWith ?? "others are in the network namespace",
    "cloud-run": "Cloud Run",
  };
  return [
    { what: "capture", value: plan.scope, because: scopes[plan.scope] },
    {
      what: "captured",
      value: families.map((family) => `IPv${family}`).join(" and "),
      because: leavesOut ?? "all there is",
    },
    { what: "rules", value: `iptables${plan.backend.suffix}`, because: `${variables}${argv.map(shown).join(" ")}` },
  ];
}

const shown = (argument: string) => argument === "" ? "''" : argument;

/** What its owner has to know or to set. */
export function adviceOf(
  { mesh: plan, planned: { pod, program }, identity }: Plan,
  { self }: Surroundings,
): MeshAdvice {
  if (plan === undefined) return { warnings: [], manifests: [] };
  const { fault } = plan.mode;
  const container = pod.spec?.containers.find(({ name }) => name === program);
  return meshAdvice({
    ...plan,
    mode: plan.mode.mode,
    identity,
    labels: pod.metadata?.labels ?? {},
    ports: container?.ports ?? [],
    resolvesNames: plan.interception?.dnsCapture ?? false,
    // An ordinary user knows that it is none.
    uncaptured: fault && self.uid === 0 ? `${plan.mode.rule}; ${fault.hint}` : undefined,
  });
}
