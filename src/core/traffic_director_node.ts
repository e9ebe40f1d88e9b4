/**
 * As whom a client of Traffic Director presents itself. In: a Pod, what is known of the machine, a node id. Out: the xDS node of
 * its bootstrap, the same for Envoy and for gRPC but for what only a proxy has.
 *
 * Sources: GoogleCloudPlatform/traffic-director-grpc-bootstrap main.go (id, locality, INSTANCE_IP,
 * TRAFFIC_DIRECTOR_CLIENT_ENVIRONMENT); Google's pages "Configure Envoy bootstrap attributes" and "Prepare to set up on service
 * routing APIs with Envoy and proxyless workloads" (TRAFFICDIRECTOR_*); README of td-sidecar-injector (the annotations).
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import type { JsonObject } from "./mesh_objects.ts";
import { settingInvalid } from "./setting_invalid.ts";
import { networkIdentifier, type TrafficDirector } from "./traffic_director.ts";

/** The node of an xDS client (envoy.config.core.v3.Node), as JSON. */
export interface XdsNode {
  readonly id: string;
  readonly cluster: string;
  readonly locality: { readonly zone?: string };
  readonly metadata: JsonObject;
}

/** Options of {@linkcode trafficDirectorNode}. */
export interface TrafficDirectorNodeOptions {
  /** With its final name, namespace, labels and annotations. */
  readonly pod: V1Pod;
  readonly workloadName: string;
  /** Another one for each client: a UUID. */
  readonly nodeId: string;
  /** Zone of Google Cloud. @default {label topology.kubernetes.io/zone, else none} */
  readonly zone?: string | undefined;
  /** Address by which the workload is reached. */
  readonly ip?: string | undefined;
  /** Where it runs, by Google's names: GCE-VM, GCP-ZONE, INSTANCE-ID. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** What only a proxy says. @default {{}} */
  readonly proxyMetadata?: Readonly<Record<string, string>>;
  /** ISTIO_META_* and ISTIO_METAJSON_*, which say node metadata here as they do for the mesh agent. */
  readonly agentEnv: ReadonlyMap<string, string>;
}

/** Key/value pairs for the node's metadata: Google's own annotation for its injector. */
const METADATA_ANNOTATION = "cloud.google.com/proxyMetadata";

const ZONE_LABEL = "topology.kubernetes.io/zone";

/**
 * The node. Of one key of the metadata a variable wins over the annotation, that over what krun says, and that over a label:
 * labels are there for the metadata filters of Google's routes.
 *
 * @throws {KrunError} `PodInvalid` for an annotation, `SettingInvalid` for an ISTIO_METAJSON_*, that is no JSON object
 */
export function trafficDirectorNode(mesh: TrafficDirector, options: TrafficDirectorNodeOptions): XdsNode {
  const { pod, workloadName, nodeId, agentEnv } = options;
  const { labels = {}, annotations = {}, namespace = "default" } = pod.metadata ?? {};
  const zone = options.zone ?? labels[ZONE_LABEL];
  return {
    id: `projects/${mesh.projectNumber}/networks/${networkIdentifier(mesh)}/nodes/${nodeId}`,
    // Traffic Director reads none; Envoy does not start without.
    cluster: `${workloadName}.${namespace}`,
    locality: { ...(zone && { zone }) },
    metadata: {
      ...labels,
      ...ownMetadata(mesh, options),
      ...annotatedMetadata(annotations),
      ...variableMetadata(agentEnv),
    },
  };
}

/** NAME, NAMESPACE and SERVICE_ACCOUNT are Istio's keys: they say who it is to whoever looks at the client's status. */
function ownMetadata(mesh: TrafficDirector, options: TrafficDirectorNodeOptions): JsonObject {
  const { pod, ip, environment, proxyMetadata } = options;
  return {
    NAME: pod.metadata?.name,
    NAMESPACE: pod.metadata?.namespace,
    SERVICE_ACCOUNT: pod.spec?.serviceAccountName,
    ...(ip !== undefined && { INSTANCE_IP: ip }),
    TRAFFICDIRECTOR_GCP_PROJECT_NUMBER: mesh.projectNumber,
    ...(mesh.network !== undefined && { TRAFFICDIRECTOR_NETWORK_NAME: mesh.network }),
    ...(mesh.mesh !== undefined && { TRAFFICDIRECTOR_MESH_NAME: mesh.mesh }),
    ...proxyMetadata,
    ...(environment && { TRAFFIC_DIRECTOR_CLIENT_ENVIRONMENT: environment }),
  };
}

function annotatedMetadata(annotations: Readonly<Record<string, string>>): JsonObject {
  const text = annotations[METADATA_ANNOTATION];
  if (text === undefined) return {};
  const value = parsedObject(text);
  if (value !== undefined) return value;
  throw new KrunError(
    "PodInvalid",
    `Cannot use annotation "${METADATA_ANNOTATION}" of the Pod: it is no JSON object`,
    `write for example '{"version":"canary"}'`,
  );
}

function variableMetadata(agentEnv: ReadonlyMap<string, string>): JsonObject {
  const named = [...agentEnv].flatMap(([env, text]) => {
    const [, name] = /^ISTIO_META_(.+)$/.exec(env) ?? [];
    return name === undefined ? [] : [[name, text] as const];
  });
  const objects = [...agentEnv].filter(([env]) => env.startsWith("ISTIO_METAJSON_")).map(([env, text]) => {
    const value = parsedObject(text);
    if (value === undefined) throw settingInvalid(env, "it is no JSON object", '{"app":"web"}');
    return value;
  });
  return Object.assign({}, Object.fromEntries(named), ...objects);
}

function parsedObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as JsonObject : undefined;
  } catch {
    return undefined;
  }
}
