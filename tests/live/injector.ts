/**
 * Istio's real injector, served by an istiod of the rig.
 *
 * In: the templates and values of Istio's own chart, a Pod. Out: the Pod as the injector hands it back to the API server.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { load } from "js-yaml";
import { liveTool } from "../../scripts/live_tools.ts";
import type { KubeObject } from "./api_server.ts";
import { ISTIO_NAMESPACE, type Istiod } from "./istiod.ts";

/** A JSON value that can be walked. */
type Json = Record<string, unknown>;

/**
 * The ConfigMap that the chart makes of its values, with `overrides` as a user of the chart sets some of them. It must be there
 * before istiod starts; istiod follows it then.
 */
export async function injectorConfigMap(overrides: Json = {}): Promise<KubeObject> {
  const file = async (tool: string) => await Deno.readTextFile(await liveTool(tool));
  // The chart keeps its defaults below this one key, so that a user's values go over them.
  const { _internal_defaults_do_not_set: defaults } = load(await file("istio-values")) as Record<string, Json>;
  const values = merged(defaults!, overrides);
  const { global, sidecarInjectorWebhook, revision, cni, env, gateways } = values;
  const config = {
    policy: "enabled",
    defaultTemplates: ["sidecar"],
    templates: {
      sidecar: await file("istio-sidecar-template"),
      "grpc-agent": await file("istio-grpc-agent-template"),
    },
  };
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: ISTIO_NAMESPACE, name: "istio-sidecar-injector" },
    data: {
      config: JSON.stringify(config),
      values: JSON.stringify({ global, sidecarInjectorWebhook, revision, pilot: { cni, env }, gateways }),
    },
  };
}

function merged(below: Json, above: Json): Json {
  const both = Object.entries(above).map(([key, value]) => {
    const under = below[key];
    return [key, isObject(value) && isObject(under) ? merged(under, value) : value];
  });
  return { ...below, ...Object.fromEntries(both) };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As an API server writes a Pod: the patch names fields that are always there. */
function written(created: V1Pod): V1Pod {
  // Through its text, since krun's own has parts in common, of which the patch means one.
  const pod: V1Pod = JSON.parse(JSON.stringify(created));
  const { containers = [], initContainers, ...spec } = pod.spec ?? {};
  const withResources = (container: V1Container) => ({ resources: {}, ...container });
  return {
    ...pod,
    spec: {
      ...spec,
      containers: containers.map(withResources),
      ...(initContainers && { initContainers: initContainers.map(withResources) }),
    },
    status: {},
  };
}

/** What the injector makes of a Pod that somebody creates. @throws {Error} with its words when it refuses. */
export async function inject(istiod: Istiod, created: V1Pod): Promise<V1Pod> {
  const pod = written(created);
  const review = {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: crypto.randomUUID(),
      kind: { group: "", version: "v1", kind: "Pod" },
      resource: { group: "", version: "v1", resource: "pods" },
      namespace: pod.metadata?.namespace,
      operation: "CREATE",
      object: pod,
    },
  };
  const answer = await fetch(`${istiod.webhooks}/inject`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(review),
  });
  const { response } = await answer.json();
  if (!response?.allowed || !response.patch) throw new Error(`the injector refuses: ${JSON.stringify(response)}`);
  return patched(pod, JSON.parse(atob(response.patch)));
}

/** One operation of a JSON patch (RFC 6902), of the kinds that the injector uses. */
interface PatchOperation {
  readonly op: "add" | "replace" | "remove";
  readonly path: string;
  readonly value?: unknown;
}

function patched<T extends object>(document: T, operations: readonly PatchOperation[]): T {
  const copy = structuredClone(document);
  for (const { op, path, value } of operations) {
    const keys = path.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop()!;
    const parent = keys.reduce<unknown>((at, key) => (at as Json)[key], copy);
    if (Array.isArray(parent)) {
      const index = last === "-" ? parent.length : Number(last);
      parent.splice(index, op === "add" ? 0 : 1, ...op === "remove" ? [] : [value]);
    } else if (op === "remove") delete (parent as Json)[last];
    else (parent as Json)[last] = value;
  }
  return copy;
}
