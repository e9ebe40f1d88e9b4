/**
 * How a workload becomes a client of Traffic Director. In: a plan without a mesh. Out: the plan with its files, and with Envoy
 * where gRPC is not to do it alone. Nothing is asked of a cluster, which need not be there.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { Decided } from "../core/identity.ts";
import type { MeshPorts } from "../core/istio_proxy.ts";
import { hostPortText, type MeshSettings } from "../core/mesh_settings.ts";
import type { DecidedMode, MeshMachine } from "../core/mesh_mode.ts";
import { mountPath } from "../core/mount_path.ts";
import { meshNoProxy } from "../core/no_proxy.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Settings } from "../core/settings.ts";
import { networkIdentifier, TRAFFIC_DIRECTOR_SERVER } from "../core/traffic_director.ts";
import { trafficDirectorMode } from "../core/traffic_director_mode.ts";
import { trafficDirectorPod } from "../core/traffic_director_pod.ts";
import { lookAtNetwork, planInterception, type PlannedInterception } from "./interception.ts";
import { instancePodName, portsFor } from "./mesh_plan.ts";
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
  /** What is captured, in mode intercept. */
  readonly interception?: PlannedInterception;
}

/** Options of {@linkcode planTrafficDirector}. */
export interface TrafficDirectorPlanOptions {
  readonly settings: Settings;
  readonly plan: Plan;
  readonly machine: MeshMachine;
}

/** Decides it. @throws {KrunError} `MeshUnavailable`, `PodInvalid`, `SettingInvalid` */
export async function planTrafficDirector(
  outer: Surroundings,
  { settings, plan, machine }: TrafficDirectorPlanOptions,
): Promise<{ readonly planned: PlannedPod; readonly trafficDirector: TrafficDirectorPlan }> {
  const { env, self } = outer;
  const { planned, identity, base, cluster } = plan;
  const look = lookAtNetwork(outer, { settings, machine, base });
  // The agent, which would answer questions for names and for health, does not run.
  const agentless = { dnsCapture: false, dualStack: false, statusPort: 0 };
  const possible = await planInterception(outer, look, { settings, planned, machine, ...agentless });
  const interceptionFault = possible instanceof KrunError ? possible : undefined;
  const mode = trafficDirectorMode({ ...machine, interceptionFault }, settings.mesh);
  const ports = portsFor(mode);
  const joined = trafficDirectorPod(planned, {
    ...{ mode: mode.mode, settings: settings.mesh, envoy: machine.envoy, ports, self },
    workloadName: identity.name.value,
    podName: instancePodName({ identity, planned, settings }),
    nodeId: crypto.randomUUID(),
    ip: nodeFacts().ips[0],
    place: (path) => mountPath(path, { base, cwd: "/", aliases: planned.baseAliases }),
    ...{ home: settings.cluster.home, certFile: settings.cluster.certFile, passEnv: settings.passEnv },
    noProxy: meshNoProxy(env.NO_PROXY ?? env.no_proxy, cluster?.endpoint?.server),
  });
  // Google's annotations are in the Pod as Istio's.
  const annotations = joined.planned.pod.metadata?.annotations ?? {};
  const interception = mode.mode === "intercept"
    ? await planInterception(outer, look, { settings, planned, machine, annotations, ...agentless })
    : undefined;
  if (interception instanceof KrunError) throw interception;
  const described = describe(settings.mesh);
  return {
    planned: joined.planned,
    trafficDirector: { ...described, mode, ports, ...(interception && { interception }) },
  };
}

function describe({ address, trafficDirector }: MeshSettings): Pick<TrafficDirectorPlan, "address" | "configuration"> {
  const mesh = trafficDirector!;
  return {
    address: address === undefined
      ? { value: TRAFFIC_DIRECTOR_SERVER, rule: "MESH=td:" }
      : { value: hostPortText(address), rule: "XDS_ADDR" },
    configuration: { value: `projects/${mesh.projectNumber}/networks/${networkIdentifier(mesh)}`, rule: "MESH" },
  };
}
