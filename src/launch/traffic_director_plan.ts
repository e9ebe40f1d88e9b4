/**
 * How a workload becomes a client of Traffic Director. In: a plan without a mesh. Out: the plan with its files, and with Envoy
 * where gRPC is not to do it alone. Nothing is asked of a cluster, which need not be there.
 *
 * @module
 */
import type { Decided } from "../core/identity.ts";
import { MESH_PORTS, type MeshPorts } from "../core/istio_proxy.ts";
import { hostPortText, type MeshSettings } from "../core/mesh_settings.ts";
import type { DecidedMode, MeshMachine } from "../core/mesh_mode.ts";
import { mountPath } from "../core/mount_path.ts";
import { meshNoProxy } from "../core/no_proxy.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Settings } from "../core/settings.ts";
import { networkIdentifier, TRAFFIC_DIRECTOR_SERVER } from "../core/traffic_director.ts";
import { trafficDirectorMode } from "../core/traffic_director_mode.ts";
import { trafficDirectorPod } from "../core/traffic_director_pod.ts";
import { instanceName } from "./mesh_plan.ts";
import { nodeFacts } from "./node_facts.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./surroundings.ts";

/** How the workload is a client. */
export interface TrafficDirectorPlan {
  readonly address: Decided;
  /** Which configuration it asks for. */
  readonly configuration: Decided;
  readonly mode: DecidedMode;
  readonly ports: MeshPorts;
}

/** Options of {@linkcode planTrafficDirector}. */
export interface TrafficDirectorPlanOptions {
  readonly settings: Settings;
  readonly plan: Plan;
  readonly machine: MeshMachine;
}

/** Decides it. @throws {KrunError} `MeshUnavailable`, `PodInvalid`, `SettingInvalid` */
export function planTrafficDirector(
  { env, self }: Surroundings,
  { settings, plan, machine }: TrafficDirectorPlanOptions,
): { readonly planned: PlannedPod; readonly trafficDirector: TrafficDirectorPlan } {
  const { planned, identity, base, cluster } = plan;
  const mode = trafficDirectorMode(machine, settings.mesh);
  const joined = trafficDirectorPod(planned, {
    ...{ mode: mode.mode, settings: settings.mesh, envoy: machine.envoy, ports: MESH_PORTS, self },
    workloadName: identity.name.value,
    podName: identity.name.rule === "KRUN_POD" ? undefined : instanceName(settings.platformRevision ?? Deno.hostname()),
    nodeId: crypto.randomUUID(),
    ip: nodeFacts().ips[0],
    place: (path) => mountPath(path, { base, cwd: "/", aliases: planned.baseAliases }),
    ...{ home: settings.cluster.home, certFile: settings.cluster.certFile, passEnv: settings.passEnv },
    noProxy: meshNoProxy(env.NO_PROXY ?? env.no_proxy, cluster?.endpoint?.server),
  });
  return { planned: joined.planned, trafficDirector: { ...described(settings.mesh), mode, ports: MESH_PORTS } };
}

function described({ address, trafficDirector }: MeshSettings): Pick<TrafficDirectorPlan, "address" | "configuration"> {
  const mesh = trafficDirector!;
  return {
    address: address === undefined
      ? { value: TRAFFIC_DIRECTOR_SERVER, rule: "MESH=td:" }
      : { value: hostPortText(address), rule: "XDS_ADDR" },
    configuration: { value: `projects/${mesh.projectNumber}/networks/${networkIdentifier(mesh)}`, rule: "MESH" },
  };
}
