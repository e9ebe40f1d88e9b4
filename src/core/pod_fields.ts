/**
 * What each field of a Pod's manifest is to krun. `pod_shape.ts` accepts, warns of and refuses fields by this table, and
 * `docs/pod.md` is made from it.
 *
 * @module
 */

/** A field that krun accepts and does not make true. */
export interface IgnoredField {
  /** What is so instead, or why. */
  readonly says: string;
  /** Values that ask for nothing, among them what the API server fills in: no warning. Empty lists and objects never are. */
  readonly neutral?: readonly unknown[];
}

/** The fields of one object of the manifest, by what becomes of them. */
export interface PodObject {
  /** Made true; how, where krun differs from a kubelet. */
  readonly honoured: Readonly<Record<string, string>>;
  /** Warned of. */
  readonly ignored?: Readonly<Record<string, IgnoredField>>;
  /** Accepted without a word: they mean nothing here, or nothing at all. */
  readonly moot?: Readonly<Record<string, string>>;
  /** An error; the rest of its message. */
  readonly refused?: Readonly<Record<string, string>>;
}

const SERVER_WRITES = "written by the API server or a controller";
const UNCONFINED = "the program has what krun's own process has";
const NO_SCHEDULER = "krun chooses no node";
const NO_IMAGE = "the program is the machine's own";
const STDIN =
  "the program that krun's arguments name has krun's own standard input and terminal, other containers none";
const UNLIMITED = "shown by `resourceFieldRef`; nothing is reserved or limited";

/** Path of an object in the manifest → its fields. */
export const POD_FIELDS = {
  metadata: {
    honoured: {
      name: "unless WORKLOAD_NAME is set",
      namespace: "unless WORKLOAD_NAMESPACE is set",
      uid: "else a new one for each start",
      labels: "with those of LABEL_<key>",
      annotations: "shown by downwardAPI and `fieldRef`",
    },
    moot: {
      creationTimestamp: SERVER_WRITES,
      deletionGracePeriodSeconds: SERVER_WRITES,
      deletionTimestamp: SERVER_WRITES,
      finalizers: SERVER_WRITES,
      generateName: SERVER_WRITES,
      generation: SERVER_WRITES,
      managedFields: SERVER_WRITES,
      ownerReferences: SERVER_WRITES,
      resourceVersion: SERVER_WRITES,
      selfLink: SERVER_WRITES,
    },
  },
  spec: {
    honoured: {
      containers: "the first one is the program that krun's arguments name, if they name one",
      initContainers: "with sidecars (`restartPolicy: Always`)",
      volumes: "see below",
      restartPolicy: "`Never` where it is not set",
      terminationGracePeriodSeconds: "unless KRUN_GRACE_PERIOD is set; less than 10 s on Cloud Run",
      serviceAccountName: "unless WORKLOAD_SERVICE_ACCOUNT is set",
      serviceAccount: "old name of `serviceAccountName`, which goes before it",
      automountServiceAccountToken: "the service account's own field is not read",
      enableServiceLinks: "unless KRUN_SERVICE_LINKS is set",
      securityContext: "see below",
      nodeName: "shown by `fieldRef`; else the machine's name",
    },
    ignored: {
      activeDeadlineSeconds: { says: "the Pod has no deadline" },
      affinity: { says: NO_SCHEDULER },
      dnsConfig: { says: "names are resolved as the machine does" },
      dnsPolicy: { says: "names are resolved as the machine does", neutral: ["ClusterFirst", "Default"] },
      hostAliases: { says: "the machine's /etc/hosts" },
      hostUsers: { says: "no user namespace", neutral: [true] },
      hostname: { says: "the machine's name" },
      hostnameOverride: { says: "the machine's name" },
      imagePullSecrets: { says: NO_IMAGE },
      nodeSelector: { says: NO_SCHEDULER },
      overhead: { says: NO_SCHEDULER },
      preemptionPolicy: { says: NO_SCHEDULER, neutral: ["PreemptLowerPriority"] },
      priority: { says: NO_SCHEDULER, neutral: [0] },
      priorityClassName: { says: NO_SCHEDULER },
      readinessGates: { says: "`/readyz` looks at containers and volumes alone" },
      resourceClaims: { says: "krun allocates no devices" },
      resources: { says: UNLIMITED },
      runtimeClassName: { says: "there is no container runtime" },
      schedulerName: { says: NO_SCHEDULER, neutral: ["default-scheduler"] },
      schedulingGates: { says: NO_SCHEDULER },
      schedulingGroup: { says: NO_SCHEDULER },
      setHostnameAsFQDN: { says: "the machine's name", neutral: [false] },
      shareProcessNamespace: { says: "all containers see the machine's processes", neutral: [true] },
      subdomain: { says: "the machine's name" },
      tolerations: { says: NO_SCHEDULER },
      topologySpreadConstraints: { says: NO_SCHEDULER },
    },
    moot: {
      hostIPC: "it is always the machine's",
      hostNetwork: "it is always the machine's",
      hostPID: "it is always the machine's",
      os: "it is Linux",
    },
    refused: { ephemeralContainers: "cannot be part of a new Pod" },
  },
  "spec.securityContext": {
    honoured: {
      runAsUser: "unless KRUN_RUN_AS is set; krun must be root to become another user",
      runAsGroup: "else the user's own group",
      runAsNonRoot: "user 0 is refused",
      fsGroup: "group of the volumes' files and of every process",
      supplementalGroups: "for every process",
      supplementalGroupsPolicy: "the machine's /etc/group stands for the image's",
    },
    ignored: {
      appArmorProfile: { says: UNCONFINED },
      seLinuxChangePolicy: { says: UNCONFINED },
      seLinuxOptions: { says: UNCONFINED },
      seccompProfile: { says: UNCONFINED },
      sysctls: { says: "krun changes nothing of the kernel" },
      windowsOptions: { says: "it is Linux" },
    },
    moot: { fsGroupChangePolicy: "of no meaning for the kinds of volumes that krun has, in Kubernetes too" },
  },
  "spec.containers[]": {
    honoured: {
      name: "",
      command: "the program's is replaced by krun's arguments, if there are any",
      args: "as `command`",
      workingDir: "a path on the machine; else krun's own working directory",
      env: "all sources but `fileKeyRef`",
      envFrom: "",
      ports: "a probe may name one; the program itself opens them",
      volumeMounts: "`mountPath` lies below the base folder",
      startupProbe: "exec, httpGet, tcpSocket and grpc; without a host 127.0.0.1",
      livenessProbe: "as `startupProbe`",
      readinessProbe: "as `startupProbe`; `/readyz` tells its verdict",
      lifecycle: "see below",
      restartPolicy: "`Always` makes a sidecar of an init container",
      securityContext: "see below",
    },
    ignored: {
      image: { says: NO_IMAGE },
      imagePullPolicy: { says: NO_IMAGE, neutral: ["Always", "IfNotPresent"] },
      resizePolicy: { says: UNLIMITED },
      resources: { says: UNLIMITED },
      restartPolicyRules: { says: "the Pod's `restartPolicy` decides" },
      stdin: { says: STDIN, neutral: [false] },
      stdinOnce: { says: STDIN, neutral: [false] },
      tty: { says: STDIN, neutral: [false] },
      terminationMessagePath: { says: "no such file is read", neutral: ["/dev/termination-log"] },
      terminationMessagePolicy: { says: "no such file is read", neutral: ["File"] },
    },
    refused: { volumeDevices: "asks for block devices, which krun has not" },
  },
  "spec.containers[].securityContext": {
    honoured: {
      runAsUser: "goes before the Pod's",
      runAsGroup: "goes before the Pod's",
      runAsNonRoot: "goes before the Pod's",
    },
    ignored: {
      allowPrivilegeEscalation: { says: UNCONFINED, neutral: [true] },
      appArmorProfile: { says: UNCONFINED },
      capabilities: { says: UNCONFINED },
      privileged: { says: UNCONFINED, neutral: [false] },
      procMount: { says: UNCONFINED, neutral: ["Default"] },
      readOnlyRootFilesystem: { says: "the program sees the machine's files", neutral: [false] },
      seLinuxOptions: { says: UNCONFINED },
      seccompProfile: { says: UNCONFINED },
      windowsOptions: { says: "it is Linux" },
    },
  },
  "spec.containers[].ports[]": {
    honoured: { name: "for probes and hooks", containerPort: "for probes and hooks" },
    ignored: {
      hostIP: { says: "the program listens where it wants" },
      hostPort: { says: "nothing is forwarded: the program's own port is the machine's" },
    },
    moot: { protocol: "says nothing of what the program listens for" },
  },
  "spec.containers[].volumeMounts[]": {
    honoured: { name: "", mountPath: "", subPath: "", subPathExpr: "" },
    ignored: {
      readOnly: { says: "the modes of the files decide", neutral: [false] },
      recursiveReadOnly: { says: "the modes of the files decide", neutral: ["Disabled"] },
      mountPropagation: { says: "krun mounts nothing", neutral: ["None"] },
    },
  },
  "spec.containers[].lifecycle": {
    honoured: { postStart: "exec, httpGet, tcpSocket and sleep", preStop: "as `postStart`" },
    ignored: { stopSignal: { says: "it is SIGTERM" } },
  },
  "spec.volumes[].emptyDir": {
    honoured: { medium: "`Memory`, where the machine has a memory file system" },
    ignored: { sizeLimit: { says: "nothing is measured or evicted" } },
  },
} as const satisfies Readonly<Record<string, PodObject>>;

/** Name of an object of {@linkcode POD_FIELDS}. */
export type PodObjectName = keyof typeof POD_FIELDS;

/** Whether a value of an ignored field asks for something that krun does not do. */
export function asksInVain({ neutral = [] }: IgnoredField, value: unknown): boolean {
  const isEmpty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
  return !isEmpty && !neutral.includes(value);
}
