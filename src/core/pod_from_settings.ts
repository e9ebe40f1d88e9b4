/**
 * Settings, identity and a Pod manifest go in; one Pod comes out, with what krun itself adds to the cluster's objects.
 *
 * @module
 */
import type { V1ConfigMap, V1Container, V1Pod, V1PodSpec, V1Probe, V1Service } from "@kubernetes/client-node";
import type { Cluster } from "./cluster.ts";
import type { Identity } from "./identity.ts";
import { withoutExpansion } from "./expansion.ts";
import { instanceMetadata } from "./cloud_run.ts";
import { googleTokenAudience, type GoogleTokenRequest } from "./google_token.ts";
import { withoutInjected } from "./injected.ts";
import { inClusterFailure, kubernetesService, SERVICE_ACCOUNT_FOLDER } from "./in_cluster.ts";
import { mountPath } from "./mount_path.ts";
import { isGoogleMount } from "./mount_setting.ts";
import { dnsLabelOf, googleRequest, mountVolume } from "./mount_volume.ts";
import { oneShotWarnings } from "./one_shot.ts";
import { defaultPod } from "./pod_defaults.ts";
import type { PodManifest } from "./pod_manifest.ts";
import type { StartupProbeSetting } from "./port_setting.ts";
import type { PlannedReferences } from "./reference_pod.ts";
import { hasOwnToken, isTokenVolume, kubeconfigVolume, tokenVolume } from "./service_account_volume.ts";
import type { ServiceAccountPart } from "./service_account_volume.ts";
import type { Settings } from "./settings.ts";
import { type TunnelPlan, tunnelPlan } from "./tunnel.ts";

/** Options of {@linkcode podFromSettings}. */
export interface PodFromSettingsOptions {
  /** What variables say. */
  readonly settings: Settings;
  /** Who the workload is. */
  readonly identity: Identity;
  /** The program and its arguments, which it gets byte for byte; empty: the manifest's own command, or none. */
  readonly argv: readonly string[];
  /** KRUN_POD. */
  readonly manifest?: PodManifest | undefined;
  /** Without one there is no service account. */
  readonly cluster?: Pick<Cluster, "source" | "endpoint"> | undefined;
  /** krun's own user and group. */
  readonly self: { readonly uid: number; readonly gid: number };
  /** Absolute path of the base folder. */
  readonly base: string;
  /** Other absolute paths of the base, as through a link. @default {none} */
  readonly baseAliases?: readonly string[];
  /** Cloud Run's id of this instance. */
  readonly instanceId?: string | undefined;
  /** For `metadata.uid`: any UUID, another one for each Pod. */
  readonly podUid: string;
  /** krun runs in a Pod, and the kubelet's own service account folder is where the program looks for one. @default {false} */
  readonly kubeletServiceAccount?: boolean;
  /**
   * The home folder has a `.kube/config`, which clients would use before the in-cluster configuration. krun itself looks there
   * too: without a cluster it was left out. @default {false}
   */
  readonly homeKubeconfig?: boolean;
}

/** The Pod that is made true on this machine, and what it refers to that no cluster holds. */
export interface PlannedPod {
  /** Complete: every default of the API server is filled in. */
  readonly pod: V1Pod;
  /** Name of the regular container that runs krun's argv, and gets the `K8S_*` mounts: the first one. */
  readonly program: string;
  /** Who asked: volume name, or `env:<container>/<name>` → the variable, `KRUN_POD`, or `the service account`. */
  readonly origins: ReadonlyMap<string, string>;
  /** Other absolute paths of the base, in which a mount may be named. */
  readonly baseAliases?: readonly string[];
  /** Which rule decided the Pod's namespace. */
  readonly namespaceRule?: string;
  /**
   * Volumes of one file (`?key=`, a token): the `subPath` of their one mount names it. Unlike a manifest's subPath, which a
   * Pod pins at the container's start, such a file stays fresh.
   */
  readonly liveFiles: ReadonlySet<string>;
  /** `<kind>/<name>` → an object that is krun's own and never read from the cluster, whatever stands there. */
  readonly localObjects: ReadonlyMap<string, V1ConfigMap>;
  /**
   * Services that are krun's own. `kubernetes` of namespace `default` is only ever taken from here, never from the
   * cluster: the cluster's own cluster IP is not reachable from outside. Without it there are no KUBERNETES_* variables.
   */
  readonly localServices: readonly V1Service[];
  /** KUBERNETES_* of krun's own environment name another API server than this Pod's and are taken out. */
  readonly ownsKubernetesEnv: boolean;
  /** A container has an empty KUBECONFIG, since it would find the one of the home folder, which is krun's. */
  readonly hidesKubeconfig: boolean;
  /** Containers that krun itself has added, such as the mesh's proxy: nothing of krun's environment reaches them. */
  readonly ownContainers: ReadonlySet<string>;
  /** Audience of a token → the Google token that is meant by it, in volumes that krun itself has added. */
  readonly googleTokens: ReadonlyMap<string, GoogleTokenRequest>;
  /** Volume → the one user it is for, where krun itself has added it. */
  readonly volumeUsers: ReadonlyMap<string, number>;
  /** References in the values of krun's own environment. */
  readonly references?: PlannedReferences;
  /** The front door that KRUN_TUNNEL asks for. */
  readonly tunnel?: TunnelPlan;
  /** Why a program that only knows the in-cluster configuration will not work, for `--check`: one clause. */
  readonly inClusterFailure?: string;
  /** For the log. */
  readonly warnings: readonly string[];
}

/**
 * The Pod that settings and manifest ask for.
 *
 * The setting wins where both say something. The manifest's first regular container is the program; without a manifest there
 * is one container, named after the workload. A Pod that names no restartPolicy has `Never`, unlike in a cluster: krun ends
 * as the program ends.
 *
 * @throws {KrunError} `PathInvalid` when the base folder cannot hold the service account's folder; `SettingConflict` when the
 * program has declared the port where krun listens for KRUN_TUNNEL.
 */
export function podFromSettings(options: PodFromSettingsOptions): PlannedPod {
  const plan = new Draft(options);
  plan.describeProgram();
  plan.addTunnel();
  plan.addMounts();
  plan.addServiceAccount();
  plan.hideKubeconfig();
  return plan.finish();
}

/** A Pod that is being put together. */
class Draft {
  readonly #options: PodFromSettingsOptions;
  readonly #pod: V1Pod;
  readonly #spec: V1PodSpec;
  readonly #program: V1Container;
  readonly #origins = new Map<string, string>();
  readonly #liveFiles = new Set<string>();
  readonly #localObjects = new Map<string, V1ConfigMap>();
  readonly #localServices: V1Service[] = [];
  readonly #warnings: string[];
  readonly #googleTokens = new Map<string, GoogleTokenRequest>();
  #inClusterFailure: string | undefined;
  #hidesKubeconfig = false;
  #tunnel: TunnelPlan | undefined;

  constructor(options: PodFromSettingsOptions) {
    const { settings, identity, manifest, podUid } = options;
    this.#options = options;
    this.#warnings = [...manifest?.warnings ?? []];
    const written = manifest && withoutInjected(structuredClone(manifest.pod));
    const containers = written?.spec?.containers ?? [{ name: dnsLabelOf(identity.name.value) }];
    this.#program = containers[0]!;
    this.#spec = {
      restartPolicy: "Never",
      enableServiceLinks: manifest !== undefined,
      ...written?.spec,
      containers,
      ...(settings.serviceLinks !== undefined && { enableServiceLinks: settings.serviceLinks }),
      serviceAccountName: identity.serviceAccount.value,
      terminationGracePeriodSeconds: this.#gracePeriodSeconds(written?.spec?.terminationGracePeriodSeconds),
    };
    const { version } = identity;
    const instance = settings.platform && instanceMetadata(settings.platform, options.instanceId);
    const labels = {
      ...instance?.labels,
      ...(version && { version: version.value }),
      ...written?.metadata?.labels,
      ...Object.fromEntries(settings.labels),
    };
    const annotations = { ...instance?.annotations, ...written?.metadata?.annotations };
    const metadata = {
      uid: podUid,
      ...written?.metadata,
      ...(Object.keys(annotations).length > 0 && { annotations }),
      name: identity.name.rule === "KRUN_POD" ? identity.name.value : instance?.name ?? identity.name.value,
      namespace: identity.namespace.value,
    };
    this.#pod = { ...written, metadata: { ...metadata, ...(Object.keys(labels).length > 0 && { labels }) } };
    this.#dropTokenVolumes();
    this.#recordManifest();
  }

  /** The program's command, user, ports and startup probe. */
  describeProgram(): void {
    const { argv, settings: { runAs, ports, startupProbe } } = this.#options;
    const program = this.#program;
    if (argv.length > 0) {
      program.command = argv.map(withoutExpansion);
      delete program.args;
    }
    if (runAs) {
      this.#spec.securityContext = withUser(this.#spec.securityContext, runAs);
      // The container's own would win over the Pod's.
      if (program.securityContext) program.securityContext = withUser(program.securityContext, runAs);
    }
    const known = (program.ports ?? []).map(({ containerPort }) => containerPort);
    const added = ports.filter(({ port }) => !known.includes(port))
      .map(({ name, port }) => ({ ...(name !== undefined && { name }), containerPort: port }));
    if (added.length > 0) program.ports = [...program.ports ?? [], ...added];
    if (startupProbe) program.startupProbe = probeOf(startupProbe);
  }

  /** The front door, and the PORT that the program has then. */
  addTunnel(): void {
    const { tunnel } = this.#options.settings;
    if (!tunnel) return;
    const { ports = [], env = [] } = this.#program;
    const declared = ports.filter(({ protocol = "TCP" }) => protocol === "TCP")
      .map(({ name, containerPort }) => ({ name, port: containerPort }));
    this.#tunnel = tunnelPlan(tunnel, declared);
    const { givenPort } = this.#tunnel;
    if (givenPort === undefined) return;
    if (!ports.some(({ containerPort }) => containerPort === givenPort)) {
      this.#program.ports = [...ports, { containerPort: givenPort }];
    }
    this.#program.env = [...env.filter(({ name }) => name !== "PORT"), { name: "PORT", value: `${givenPort}` }];
    this.#origins.set(`env:${this.#program.name}/PORT`, "KRUN_TUNNEL");
  }

  /** The volumes of the `K8S_*` variables, for the program. */
  addMounts(): void {
    for (const setting of this.#options.settings.mounts) {
      const taken = (this.#spec.volumes ?? []).map(({ name }) => name);
      const { volume, mount } = mountVolume(setting, taken);
      if (isGoogleMount(setting)) {
        const request = googleRequest(setting);
        this.#googleTokens.set(googleTokenAudience(request), request);
      }
      this.#spec.volumes = [...this.#spec.volumes ?? [], volume];
      this.#program.volumeMounts = [...this.#program.volumeMounts ?? [], mount];
      this.#origins.set(volume.name, setting.env);
      if (mount.subPath !== undefined) this.#liveFiles.add(volume.name);
    }
  }

  /** Token, CA and namespace, and the way to the API server. */
  addServiceAccount(): void {
    const { cluster, kubeletServiceAccount } = this.#options;
    if (!cluster) return;
    if (kubeletServiceAccount) return this.#keepKubelets();
    const { endpoint } = cluster;
    const failure = endpoint ? inClusterFailure(endpoint) : "a folder of manifests has no API server";
    if (endpoint && failure === undefined) this.#localServices.push(kubernetesService(endpoint));
    const hasToken = this.#spec.automountServiceAccountToken ?? true;
    if (!hasToken) return;
    const place = this.#placeOf(SERVICE_ACCOUNT_FOLDER);
    if (failure !== undefined) {
      this.#inClusterFailure = endpoint ? `API server ${endpoint.server}: ${failure}` : failure;
    } else if (place !== SERVICE_ACCOUNT_FOLDER) {
      this.#inClusterFailure = `the service account's folder is ${place}, not ${SERVICE_ACCOUNT_FOLDER}`;
    }
    const served = this.#containers().filter((container) => !hasOwnToken(container));
    if (served.length > 0) this.#add(tokenVolume(endpoint), served);
    // Where its token is not taken, a kubeconfig would lead it into a 401.
    if (endpoint && endpoint.refusesServiceAccounts === undefined && this.#needsKubeconfig()) this.#addKubeconfig();
  }

  /**
   * The kubeconfig of the home folder is a person's, often an admin's: a program that has no token of its own, for whatever
   * reason, must not become that person.
   */
  hideKubeconfig(): void {
    const { settings, homeKubeconfig = false } = this.#options;
    if (!homeKubeconfig || settings.passEnv.includes("KUBECONFIG")) return;
    const served = this.#withoutKubeconfig();
    this.#setKubeconfig(served, EMPTY_KUBECONFIG);
    this.#hidesKubeconfig = served.length > 0;
  }

  /** The Pod with all defaults, and all that was learnt on the way. */
  finish(): PlannedPod {
    const { cluster, kubeletServiceAccount, self, settings } = this.#options;
    const failure = this.#inClusterFailure;
    return {
      pod: defaultPod({ ...this.#pod, spec: this.#spec }, self),
      program: this.#program.name,
      origins: this.#origins,
      ...(this.#options.baseAliases && { baseAliases: this.#options.baseAliases }),
      namespaceRule: this.#options.identity.namespace.rule,
      liveFiles: this.#liveFiles,
      localObjects: this.#localObjects,
      localServices: this.#localServices,
      ownsKubernetesEnv: cluster !== undefined && !kubeletServiceAccount,
      hidesKubeconfig: this.#hidesKubeconfig,
      ownContainers: new Set(),
      googleTokens: this.#googleTokens,
      volumeUsers: new Map(),
      ...(this.#tunnel && { tunnel: this.#tunnel }),
      ...(failure !== undefined && { inClusterFailure: failure }),
      warnings: [...this.#warnings, ...oneShotWarnings(settings, { program: this.#program, spec: this.#spec })],
    };
  }

  #containers(): V1Container[] {
    return [...this.#spec.initContainers ?? [], ...this.#spec.containers];
  }

  #placeOf(path: string): string {
    const { base, baseAliases: aliases } = this.#options;
    return mountPath(path, { base, cwd: "/", aliases });
  }

  /** Cloud Run kills 10 s after SIGTERM, whatever the Pod says. */
  #gracePeriodSeconds(written: number | undefined): number {
    const { gracePeriodSeconds, cloudRun } = this.#options.settings;
    const asked = gracePeriodSeconds ?? written;
    if (!cloudRun) return asked ?? DEFAULT_GRACE_SECONDS;
    if (asked === undefined || asked < CLOUD_RUN_KILLS_AFTER) return asked ?? CLOUD_RUN_GRACE_SECONDS;
    this.#warnings.push(
      `the grace period of ${asked} s becomes ${CLOUD_RUN_GRACE_SECONDS} s: Cloud Run kills after 10`,
    );
    return CLOUD_RUN_GRACE_SECONDS;
  }

  /** A manifest that was read from a cluster has the volume that admission made for another Pod. */
  #dropTokenVolumes(): void {
    if (!this.#spec.volumes?.some(({ name }) => isTokenVolume(name))) return;
    this.#spec.volumes = this.#spec.volumes.filter(({ name }) => !isTokenVolume(name));
    for (const container of this.#containers()) {
      if (container.volumeMounts) {
        container.volumeMounts = container.volumeMounts.filter(({ name }) => !isTokenVolume(name));
      }
    }
  }

  #recordManifest(): void {
    for (const { name } of this.#spec.volumes ?? []) this.#origins.set(name, "KRUN_POD");
    for (const container of this.#containers()) {
      for (const { name } of container.env ?? []) this.#origins.set(`env:${container.name}/${name}`, "KRUN_POD");
    }
  }

  #keepKubelets(): void {
    const { cluster, identity } = this.#options;
    const { kind, namespace, serviceAccount = "default" } = cluster?.source ?? {};
    const isSame = serviceAccount === this.#spec.serviceAccountName && namespace === identity.namespace.value;
    if (kind === "in-cluster" && isSame) return;
    this.#warnings.push(
      `the service account in ${SERVICE_ACCOUNT_FOLDER} is the one that the kubelet mounted, not "${this.#spec.serviceAccountName}"`,
    );
  }

  /** In-cluster configuration does not work, or a kubeconfig in the home folder would go before it. */
  #needsKubeconfig(): boolean {
    const { settings, homeKubeconfig = false } = this.#options;
    if (settings.passEnv.includes("KUBECONFIG")) return false;
    return this.#inClusterFailure !== undefined || homeKubeconfig;
  }

  #addKubeconfig(): void {
    const endpoint = this.#options.cluster!.endpoint!;
    const namespace = this.#options.identity.namespace.value;
    const part = kubeconfigVolume({ endpoint, namespace, placeOf: (path) => this.#placeOf(path) });
    const served = this.#withoutKubeconfig();
    if (served.length === 0) return;
    this.#add(part, served);
    this.#setKubeconfig(served, part.path);
  }

  #withoutKubeconfig(): V1Container[] {
    return this.#containers().filter(({ env }) => !env?.some(({ name }) => name === "KUBECONFIG"));
  }

  #setKubeconfig(containers: readonly V1Container[], path: string): void {
    for (const container of containers) {
      container.env = [...container.env ?? [], { name: "KUBECONFIG", value: withoutExpansion(path) }];
      this.#origins.set(`env:${container.name}/KUBECONFIG`, SERVICE_ACCOUNT);
    }
  }

  #add({ volume, mount, localObjects }: ServiceAccountPart, containers: readonly V1Container[]): void {
    this.#spec.volumes = [...this.#spec.volumes ?? [], volume];
    for (const container of containers) container.volumeMounts = [...container.volumeMounts ?? [], mount];
    this.#origins.set(volume.name, SERVICE_ACCOUNT);
    for (const object of localObjects) this.#localObjects.set(`${object.kind}/${object.metadata?.name}`, object);
  }
}

/** Whoever asks for token and kubeconfig. */
const SERVICE_ACCOUNT = "the service account";

/** An empty file is a configuration without clusters and users, from which kubectl goes on to the in-cluster one. */
const EMPTY_KUBECONFIG = "/dev/null";

const DEFAULT_GRACE_SECONDS = 30;

/** Seconds from SIGTERM to SIGKILL there, and what krun uses of them: it needs some itself. */
const CLOUD_RUN_KILLS_AFTER = 10;
const CLOUD_RUN_GRACE_SECONDS = 8;

/** The user replaces user and group: the group of another user is none of theirs. */
function withUser<Context extends { runAsUser?: number; runAsGroup?: number }>(
  context: Context | undefined,
  { uid, gid }: { readonly uid: number; readonly gid?: number },
): Context {
  const { runAsUser: _user, runAsGroup: _group, ...others } = { ...context };
  return { ...others, runAsUser: uid, ...(gid !== undefined && { runAsGroup: gid }) } as Context;
}

/** Once a second for ten minutes, as Istio's injector has it: the original program's ten seconds were too short. */
function probeOf({ host, port, http }: StartupProbeSetting): V1Probe {
  const timing = { periodSeconds: 1, failureThreshold: 600 };
  return http ? { httpGet: { host, port, ...http }, ...timing } : { tcpSocket: { host, port }, ...timing };
}
