/**
 * What an injector has added to a Pod in a cluster. In: a Pod as the cluster has it. Out: the Pod without: that proxy is an
 * image's, and knows a way to the control plane that there is not here.
 *
 * Source: pkg/kube/inject/webhook.go and app_probe.go of Istio 1.31, which leave behind what they have changed.
 *
 * @module
 */
import type { V1Container, V1EnvVar, V1LifecycleHandler, V1Pod, V1Probe } from "@kubernetes/client-node";
import { type JsonObject, jsonObject } from "./mesh_objects.ts";
import { podContainers } from "./volume_mounts.ts";

const INJECTED: readonly string[] = ["istio-proxy", "istio-init", "istio-validation"];

/** What only template `grpc-agent` has, and what that gives each container. */
const GRPC_VOLUME = "istio-xds";
const GRPC_VARIABLES: Readonly<Record<string, string>> = {
  GRPC_XDS_BOOTSTRAP: "/etc/istio/proxy/grpc-bootstrap.json",
  GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT: "true",
};

/** Annotations of the injector's own. */
const ITS_ANNOTATIONS: readonly string[] = ["istio.io/rev", "sidecar.istio.io/status", "proxy.istio.io/overrides"];

/** Where metrics are once the agent adds the program's to its own. */
const MERGED_METRICS = { path: "/stats/prometheus", port: "15020" };

/**
 * The Pod without its injected containers, and with what the injector has changed in the others as it was before: probes and
 * hooks, mounts, variables, annotations. The same Pod where nothing was injected.
 */
export function withoutInjected(pod: V1Pod): V1Pod {
  const injected = podContainers(pod).filter(isInjected);
  if (injected.length === 0) return pod;
  const { initContainers = [], containers = [], volumes = [] } = pod.spec!;
  const proxy = injected.find(({ name }) => name === "istio-proxy");
  const theirs = injectedVolumes(pod, injected);
  const restored = (container: V1Container) => withoutChanges(container, { theirs, probers: left(proxy, PROBERS) });
  const kept = {
    initContainers: initContainers.filter((container) => !isInjected(container)).map(restored),
    containers: containers.filter((container) => !isInjected(container)).map(restored),
  };
  const { annotations, ...metadata } = pod.metadata ?? {};
  return {
    ...pod,
    metadata: { ...metadata, ...(annotations && { annotations: ownAnnotations(annotations, proxy) }) },
    spec: { ...pod.spec!, ...kept, volumes: volumes.filter(({ name }) => !theirs.has(name)) },
  };
}

function isInjected({ name }: V1Container): boolean {
  return INJECTED.includes(name);
}

/** Those that the injector says it has added; where it says nothing, those that only its containers mount. */
function injectedVolumes(pod: V1Pod, injected: readonly V1Container[]): ReadonlySet<string> {
  const { volumes } = parsed(pod.metadata?.annotations?.["sidecar.istio.io/status"]);
  if (Array.isArray(volumes)) return new Set(volumes);
  const mounts = (of: readonly V1Container[]) =>
    new Set(of.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
  return mounts(injected).difference(mounts(podContainers(pod).filter((container) => !isInjected(container))));
}

const PROBERS = "ISTIO_KUBE_APP_PROBERS", METRICS = "ISTIO_PROMETHEUS_ANNOTATIONS";

/** What the injector has left in a variable of its proxy. */
function left(proxy: V1Container | undefined, variable: string): JsonObject {
  return parsed(proxy?.env?.find(({ name }) => name === variable)?.value);
}

function parsed(text: string | undefined): JsonObject {
  try {
    return jsonObject(JSON.parse(text ?? "{}"));
  } catch {
    return {};
  }
}

interface Changes {
  readonly theirs: ReadonlySet<string>;
  /** Path at the agent → what it asks of the program instead. */
  readonly probers: JsonObject;
}

function withoutChanges(container: V1Container, { theirs, probers }: Changes): V1Container {
  const { env, volumeMounts, readinessProbe, livenessProbe, startupProbe, lifecycle } = container;
  const own = (handler: V1LifecycleHandler | V1Probe | undefined, path: string) =>
    handler && ownHandler(handler, jsonObject(probers[path]));
  const health = `/app-health/${container.name}`, hooks = `/app-lifecycle/${container.name}`;
  const changed = {
    env: env?.filter((variable) => !(theirs.has(GRPC_VOLUME) && isGrpcVariable(variable))),
    volumeMounts: volumeMounts?.filter(({ name }) => !theirs.has(name)),
    readinessProbe: own(readinessProbe, `${health}/readyz`),
    livenessProbe: own(livenessProbe, `${health}/livez`),
    startupProbe: own(startupProbe, `${health}/startupz`),
    lifecycle: lifecycle && withoutUndefined({
      ...lifecycle,
      preStop: own(lifecycle.preStop, `${hooks}/prestopz`),
      postStart: own(lifecycle.postStart, `${hooks}/poststartz`),
    }),
  };
  return { ...container, ...withoutUndefined(changed) };
}

/** The injector has every probe ask the agent by HTTP, whatever it was. */
function ownHandler(handler: V1LifecycleHandler & V1Probe, prober: JsonObject): V1LifecycleHandler & V1Probe {
  const { timeoutSeconds: _asBefore, ...action } = prober;
  const { httpGet: _ofAgent, ...others } = handler;
  return Object.keys(action).length > 0 ? { ...others, ...action } : handler;
}

function isGrpcVariable({ name, value }: V1EnvVar): boolean {
  return Object.hasOwn(GRPC_VARIABLES, name) && GRPC_VARIABLES[name] === value;
}

function ownAnnotations(annotations: Record<string, string>, proxy: V1Container | undefined): Record<string, string> {
  const { "prometheus.io/path": path, "prometheus.io/port": port, "prometheus.io/scrape": _, ...others } = annotations;
  const areMerged = path === MERGED_METRICS.path && port === MERGED_METRICS.port;
  const before = Object.entries(left(proxy, METRICS)).filter(([, value]) => typeof value === "string" && value !== "");
  const metrics = Object.fromEntries(before.map(([key, value]) => [`prometheus.io/${key}`, String(value)]));
  const all = areMerged ? { ...others, ...metrics } : annotations;
  return Object.fromEntries(Object.entries(all).filter(([name]) => !ITS_ANNOTATIONS.includes(name)));
}

type Defined<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

function withoutUndefined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Defined<T>;
}
