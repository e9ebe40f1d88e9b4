/**
 * What `--check` says of the mesh. In: a plan. Out: each value that decides how the workload joins, with its reason.
 *
 * @module
 */
import type { Decided } from "../core/identity.ts";
import { type MeshAdvice, meshAdvice } from "../core/mesh_advice.ts";
import type { Finding } from "./check_report.ts";
import type { Plan } from "./plan.ts";

const ROOTS = { "config-map": "istio-ca-root-cert", pem: "PEM", system: "the machine's CAs" } as const;

/** The values; one line where there is no mesh. */
export function meshFindings({ mesh: plan, noMesh = "" }: Pick<Plan, "mesh" | "noMesh">): Finding[] {
  if (plan === undefined) return [{ what: "mesh", value: "none", because: noMesh }];
  const { mesh, mode, places, groupName } = plan;
  const values: readonly [what: string, value: Decided | undefined][] = [
    ["mesh", mesh.address],
    ["mesh mode", { value: mode.mode, rule: mode.rule }],
    ["mesh agent", { value: places.agent, rule: "found" }],
    ["Envoy", mode.mode === "proxyless" ? undefined : { value: places.envoy ?? "none", rule: "found" }],
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
      rule: mesh.group ? "the workload registers itself" : `there is no "${groupName}", or it may not be read`,
    }],
  ];
  return values.flatMap(([what, value]) =>
    value === undefined ? [] : [{ what, value: value.value, because: value.rule }]
  );
}

/** What its owner has to know or to set. */
export function adviceOf({ mesh: plan, planned: { pod, program }, identity }: Plan): MeshAdvice {
  if (plan === undefined) return { warnings: [], manifests: [] };
  const container = pod.spec?.containers.find(({ name }) => name === program);
  return meshAdvice({
    ...plan,
    mode: plan.mode.mode,
    identity,
    labels: pod.metadata?.labels ?? {},
    ports: container?.ports ?? [],
  });
}
