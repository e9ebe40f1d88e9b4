/**
 * A planned Pod in the mesh. In: the Pod that settings and manifest ask for, and how it joins. Out: the Pod with its proxy, as the
 * injector would hand it back.
 *
 * @module
 */
import type { V1Container, V1Pod, V1PodSpec } from "@kubernetes/client-node";
import { ISTIO_PROXY, istioProxy, type IstioProxyOptions, type IstioProxyParts, PROXY_USER } from "./istio_proxy.ts";
import { KrunError } from "./errors.ts";
import { defaultPod } from "./pod_defaults.ts";
import type { PlannedPod } from "./pod_from_settings.ts";

/** Options of {@linkcode meshedPod}. */
export interface MeshedPodOptions extends Omit<IstioProxyOptions, "pod" | "program" | "self" | "agentUser"> {
  /** krun's own user and group. */
  readonly self: { readonly uid: number; readonly gid: number };
  /** Another name for the Pod: of two instances of a workload each has its own in the mesh. Unset: it has one of its own. */
  readonly podName?: string | undefined;
}

/** Whoever asks for the proxy's volumes and variables. */
const ORIGIN = "the mesh";

/** The Pod with its proxy. @throws {KrunError} `PodInvalid` for a volume of the Pod that has the name of one of the proxy's. */
export function meshedPod(planned: PlannedPod, options: MeshedPodOptions): PlannedPod {
  const { self, podName } = options;
  const { metadata } = planned.pod;
  const pod = { ...planned.pod, metadata: { ...metadata, ...(podName !== undefined && { name: podName }) } };
  const program = pod.spec!.containers.find(({ name }) => name === planned.program)!;
  const user = agentUser(options, { pod, program });
  const parts = istioProxy({ ...options, pod, program, agentUser: user.securityContext });
  const taken = parts.volumes.find(({ name }) => pod.spec?.volumes?.some((volume) => volume.name === name));
  if (taken) throw nameTaken(taken.name);
  const isAlone = options.settings.gateway !== undefined && !program.command?.length;
  const whole = isAlone ? gatewayPod(pod, parts) : mergedPod(pod, { parts, program: planned.program });
  const ownEnv = parts.programEnv.map(({ name }) => [`env:${planned.program}/${name}`, ORIGIN] as const);
  return {
    ...planned,
    pod: defaultPod(whole, self),
    ...(isAlone && { program: ISTIO_PROXY }),
    // What the Pod has said itself of a variable stays its own.
    origins: new Map([...ownEnv, ...planned.origins, ...parts.volumes.map(({ name }) => [name, ORIGIN] as const)]),
    localObjects: new Map([
      ...planned.localObjects,
      ...parts.localObjects.map((object) => [`${object.kind}/${object.metadata?.name}`, object] as const),
    ]),
    ownContainers: new Set([...planned.ownContainers, ISTIO_PROXY]),
    volumeUsers: new Map([...planned.volumeUsers, ...parts.privateVolumes.map((name) => [name, user.uid] as const)]),
  };
}

/** What mounts one would mount the other: the agent's token is for the agent alone. */
function nameTaken(volume: string): KrunError {
  const message =
    `Cannot add the mesh's proxy to the Pod: it has a volume "${volume}" of its own, which is a name of the proxy's`;
  return new KrunError("PodInvalid", message, "give the Pod's volume another name");
}

/** In mode proxyless the program reads the keys itself: the agent is its user. Else it is its own, where krun can choose. */
function agentUser(
  { mode, self }: MeshedPodOptions,
  { pod, program }: { pod: V1Pod; program: V1Container },
): { readonly uid: number; readonly securityContext: V1Container["securityContext"] } {
  if (mode !== "proxyless" && self.uid === 0) {
    const securityContext = { runAsUser: PROXY_USER, runAsGroup: PROXY_USER, runAsNonRoot: true };
    return { uid: PROXY_USER, securityContext };
  }
  const { runAsUser, runAsGroup } = program.securityContext ?? {};
  const securityContext = {
    ...(runAsUser !== undefined && { runAsUser }),
    ...(runAsGroup !== undefined && { runAsGroup }),
  };
  return { uid: runAsUser ?? pod.spec?.securityContext?.runAsUser ?? self.uid, securityContext };
}

function mergedPod(pod: V1Pod, { parts, program }: { parts: IstioProxyParts; program: string }): V1Pod {
  const spec: V1PodSpec = pod.spec!;
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { ...parts.labels }, annotations: { ...parts.annotations } },
    spec: {
      ...spec,
      // Before the others: they too may call into the mesh.
      initContainers: [parts.container, ...spec.initContainers ?? []],
      containers: spec.containers.map((container) =>
        container.name === program ? withMesh(container, parts) : container
      ),
      volumes: [...spec.volumes ?? [], ...parts.volumes],
    },
  };
}

/** A gateway has no program of its own: the proxy is what the Pod is for, and it is started again however it ends. */
function gatewayPod(pod: V1Pod, { container, volumes, labels, annotations }: IstioProxyParts): V1Pod {
  const { restartPolicy: _, ...proxy } = container;
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { ...labels }, annotations: { ...annotations } },
    spec: {
      ...pod.spec,
      restartPolicy: "Always",
      containers: [proxy],
      volumes: [...pod.spec?.volumes ?? [], ...volumes],
    },
  };
}

/** What the manifest itself says of a variable, a path or the readiness counts. */
function withMesh(container: V1Container, { programEnv, programMounts, programProbe }: IstioProxyParts): V1Container {
  const names = new Set(container.env?.map(({ name }) => name));
  const paths = new Set(container.volumeMounts?.map(({ mountPath }) => mountPath));
  return {
    ...(programProbe && { readinessProbe: programProbe }),
    ...container,
    env: [...container.env ?? [], ...programEnv.filter(({ name }) => !names.has(name))],
    volumeMounts: [...container.volumeMounts ?? [], ...programMounts.filter(({ mountPath }) => !paths.has(mountPath))],
  };
}
