/**
 * What the API server fills in when a Pod is created. In: a valid Pod. Out: the same Pod with every default.
 *
 * Source: pkg/apis/core/v1/defaults.go of Kubernetes v1.34.4; krun adds what a container runtime would know: as whom a
 * container runs whose manifest does not say it.
 *
 * @module
 */
import type {
  V1Container,
  V1ContainerPort,
  V1DownwardAPIVolumeFile,
  V1EnvVar,
  V1HTTPGetAction,
  V1Pod,
  V1PodSpec,
  V1Probe,
  V1ProjectedVolumeSource,
  V1ResourceRequirements,
  V1Volume,
} from "@kubernetes/client-node";

/** Options of {@linkcode defaultPod}. */
export interface PodDefaultsOptions {
  /** krun's own user: that of a container which names none, as the image's would be. */
  readonly uid: number;
  /** krun's own group: that of a container which names neither user nor group. */
  readonly gid: number;
}

/** Files of a volume whose source names no mode. */
const VOLUME_MODE = 0o644;

/** A Pod with every default filled in; the one given is not changed. Never throws for a Pod of the right form. */
export function defaultPod(pod: V1Pod, options: PodDefaultsOptions): V1Pod {
  const spec: V1PodSpec = {
    restartPolicy: "Always",
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    terminationGracePeriodSeconds: 30,
    enableServiceLinks: true,
    securityContext: {},
    containers: [],
    ...structuredClone(pod.spec),
  };
  const defaultOne = (container: V1Container) => defaultContainer(container, { spec, ...options });
  return {
    apiVersion: "v1",
    kind: "Pod",
    ...structuredClone(pod),
    spec: {
      ...spec,
      containers: spec.containers.map(defaultOne),
      ...(spec.initContainers && { initContainers: spec.initContainers.map(defaultOne) }),
      ...(spec.volumes && { volumes: spec.volumes.map(defaultVolume) }),
    },
  };
}

function defaultContainer(container: V1Container, options: PodDefaultsOptions & { spec: V1PodSpec }): V1Container {
  const { ports, env, resources, lifecycle, startupProbe, livenessProbe, readinessProbe } = container;
  return {
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    ...(container.image !== undefined && { imagePullPolicy: pullPolicy(container.image) }),
    ...container,
    ...defaultUser(container, options),
    ...(ports && { ports: ports.map((port) => defaultPort(port, options.spec)) }),
    ...(env && { env: env.map(defaultEnv) }),
    ...(resources && { resources: defaultRequests(resources) }),
    ...(startupProbe && { startupProbe: defaultProbe(startupProbe) }),
    ...(livenessProbe && { livenessProbe: defaultProbe(livenessProbe) }),
    ...(readinessProbe && { readinessProbe: defaultProbe(readinessProbe) }),
    ...(lifecycle && {
      lifecycle: {
        ...lifecycle,
        ...(lifecycle.postStart && { postStart: defaultHandler(lifecycle.postStart) }),
        ...(lifecycle.preStop && { preStop: defaultHandler(lifecycle.preStop) }),
      },
    }),
  };
}

/** Not a rule of the API server: the kubelet's volume rules ask for the user of every container. */
function defaultUser(
  { securityContext: own }: V1Container,
  { spec, uid, gid }: PodDefaultsOptions & { spec: V1PodSpec },
): Pick<V1Container, "securityContext"> {
  const shared = spec.securityContext;
  if ((own?.runAsUser ?? shared?.runAsUser) !== undefined) return {};
  const hasGroup = (own?.runAsGroup ?? shared?.runAsGroup) !== undefined;
  return { securityContext: { ...own, runAsUser: uid, ...(!hasGroup && { runAsGroup: gid }) } };
}

/** `latest`, or no tag and no digest, is always pulled. */
function pullPolicy(image: string): string {
  const [, tag] = /:([^/@:]+)(?:@.*)?$/.exec(image) ?? [];
  const isLatest = tag === "latest" || (tag === undefined && !image.includes("@"));
  return isLatest ? "Always" : "IfNotPresent";
}

function defaultPort(port: V1ContainerPort, spec: V1PodSpec): V1ContainerPort {
  return { protocol: "TCP", ...(spec.hostNetwork && { hostPort: port.containerPort }), ...port };
}

function defaultEnv(variable: V1EnvVar): V1EnvVar {
  const fieldRef = variable.valueFrom?.fieldRef;
  if (!fieldRef) return variable;
  return { ...variable, valueFrom: { ...variable.valueFrom, fieldRef: { apiVersion: "v1", ...fieldRef } } };
}

function defaultRequests(resources: V1ResourceRequirements): V1ResourceRequirements {
  return resources.limits ? { ...resources, requests: { ...resources.limits, ...resources.requests } } : resources;
}

function defaultProbe(probe: V1Probe): V1Probe {
  return {
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
    ...defaultHandler(probe),
    ...(probe.grpc && { grpc: { service: "", ...probe.grpc } }),
  };
}

function defaultHandler<Handler extends { httpGet?: V1HTTPGetAction }>(handler: Handler): Handler {
  return handler.httpGet ? { ...handler, httpGet: { path: "/", scheme: "HTTP", ...handler.httpGet } } : handler;
}

function defaultVolume(volume: V1Volume): V1Volume {
  const { secret, configMap, downwardAPI, projected, hostPath } = volume;
  const hasSource = Object.keys(volume).some((field) => field !== "name");
  return {
    ...volume,
    ...(!hasSource && { emptyDir: {} }),
    ...(secret && { secret: { defaultMode: VOLUME_MODE, ...secret } }),
    ...(configMap && { configMap: { defaultMode: VOLUME_MODE, ...configMap } }),
    ...(downwardAPI && { downwardAPI: { defaultMode: VOLUME_MODE, ...defaultItems(downwardAPI) } }),
    ...(projected && { projected: { defaultMode: VOLUME_MODE, ...projected, ...defaultSources(projected) } }),
    ...(hostPath && { hostPath: { type: "", ...hostPath } }),
  };
}

function defaultSources({ sources }: V1ProjectedVolumeSource): Pick<V1ProjectedVolumeSource, "sources"> {
  if (!sources) return {};
  return {
    sources: sources.map((source) => ({
      ...source,
      ...(source.downwardAPI && { downwardAPI: defaultItems(source.downwardAPI) }),
      ...(source.serviceAccountToken && {
        serviceAccountToken: { expirationSeconds: 3600, ...source.serviceAccountToken },
      }),
    })),
  };
}

function defaultItems<Source extends { items?: V1DownwardAPIVolumeFile[] }>(source: Source): Source {
  if (!source.items) return source;
  const items = source.items.map((item) =>
    item.fieldRef ? { ...item, fieldRef: { apiVersion: "v1", ...item.fieldRef } } : item
  );
  return { ...source, items };
}
