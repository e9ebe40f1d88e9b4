/**
 * Whether there is a mesh, and what it says of itself. In: a cluster, settings. Out: what was found, or nothing.
 *
 * All objects are asked for at once. Only two of them decide, and a 403 on these is a failure: whoever is not allowed to see the
 * mesh would start in plain text without a word. The others refine what a mesh outside the cluster can know.
 *
 * @module
 */
import type { Cluster, ResourceRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { ISTIO_NAMESPACE, type MeshFound, revisionedName } from "../core/mesh.ts";
import { meshEnvOfDocument } from "../core/mesh_env.ts";
import {
  injectorValuesOf,
  jsonObject,
  loadBalancerAddress,
  meshConfigOf,
  sidecarsOf,
  workloadGroupOf,
} from "../core/mesh_objects.ts";
import type { MeshSettings } from "../core/mesh_settings.ts";
import { startFailure } from "../core/start_failure.ts";
import { parseText } from "./mesh_text.ts";

/** Options of {@linkcode findMesh}. */
export interface FindMeshOptions {
  readonly settings: MeshSettings;
  /** The workload's. */
  readonly namespace: string;
  /** Name of the WorkloadGroup that is looked for. */
  readonly groupName: string;
  readonly revision: string;
  readonly log: Logger;
  /** Makes a request, again where that may help. */
  retry<T>(what: string, call: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** What MESH names, read by the caller; unset: ConfigMap mesh-env counts. */
  readonly description?: MeshFound["description"] | undefined;
}

const OTHERWISE = "set XDS_ADDR=- to start without a mesh";

/**
 * Looks for the mesh. `undefined`: there is none.
 *
 * @throws {KrunError} `Forbidden` for ConfigMap mesh-env or istio; `ClusterUnreachable` and the like; `MeshUnknown` for a
 * MeshConfig that cannot be read; the retry's own.
 */
export async function findMesh(cluster: Cluster, options: FindMeshOptions): Promise<MeshFound | undefined> {
  const { settings, namespace, groupName, revision } = options;
  const get = (ref: ResourceRef) =>
    options.retry(
      `read ${ref.resource} "${ref.namespace}/${ref.name ?? "*"}"`,
      (signal) => cluster.resource(ref, { signal }),
    );
  const istio = (resource: string, name: string): ResourceRef => ({
    ...{ apiGroup: "", version: "v1", resource, namespace: ISTIO_NAMESPACE, name, otherwise: OTHERWISE },
  });
  const own = (resource: string) => ({ apiGroup: "networking.istio.io", version: "v1", resource, namespace });
  const unreadable: string[] = [];
  const known = (ref: ResourceRef) =>
    get(ref).catch((cause) => {
      passOver(cause, ref, options.log);
      unreadable.push(ref.resource);
    });
  const [decisive, injector, gateway, workloadGroup, sidecars] = await Promise.all([
    allOrFailure([
      options.description ? undefined : get(istio("configmaps", "mesh-env")),
      get(istio("configmaps", revisionedName("istio", revision))),
    ]),
    known(istio("configmaps", revisionedName("istio-sidecar-injector", revision))),
    known(istio("services", "istio-eastwestgateway")),
    known({ ...own("workloadgroups"), name: groupName }),
    known(own("sidecars")),
  ]);
  const [meshEnv, config] = decisive;
  const description = options.description ?? (meshEnv === undefined ? undefined : {
    values: meshEnvOfDocument(meshEnv),
    where: `ConfigMap ${ISTIO_NAMESPACE}/mesh-env`,
  });
  if (settings.address === undefined && description === undefined && config === undefined) return undefined;
  const [meshConfig, values] = await Promise.all([
    parsedKey(config, "mesh", options),
    parsedKey(injector, "values", options),
  ]);
  return {
    description,
    meshConfig: config === undefined ? undefined : meshConfigOf(meshConfig),
    injector: injectorValuesOf(values),
    gatewayAddress: loadBalancerAddress(gateway),
    group: workloadGroupOf(workloadGroup),
    sidecars: sidecarsOf(sidecars),
    ...(unreadable.length > 0 && { unreadable }),
  };
}

/** All failures together: each 403 comes with the Role that would end it. */
async function allOrFailure(parts: readonly (Promise<unknown> | undefined)[]): Promise<unknown[]> {
  const ends = await Promise.allSettled(parts);
  const failures = ends.flatMap((end) => end.status === "rejected" ? [end.reason] : []);
  const unforeseen = failures.find((failure) => !(failure instanceof KrunError));
  if (unforeseen !== undefined) throw unforeseen;
  if (failures.length > 0) throw startFailure(failures.map((error) => ({ error, askedBy: "the mesh" })));
  return ends.map((end) => end.status === "fulfilled" ? end.value : undefined);
}

/** What krun may not see, it does without. */
function passOver(cause: unknown, { resource, namespace, name }: ResourceRef, log: Logger): void {
  if (!(cause instanceof KrunError) || cause.code !== "Forbidden") throw cause;
  log.debug("an object of the mesh may not be read", { resource, object: `${namespace}/${name ?? "*"}` });
}

/** One key of a ConfigMap, as data. */
async function parsedKey(object: unknown, key: string, { revision }: FindMeshOptions): Promise<unknown> {
  const text = jsonObject(jsonObject(object).data)[key];
  if (typeof text !== "string") return undefined;
  const name = revisionedName(key === "mesh" ? "istio" : "istio-sidecar-injector", revision);
  return await parseText(text, `key "${key}" of ConfigMap "${ISTIO_NAMESPACE}/${name}"`);
}
