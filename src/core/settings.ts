/**
 * The process environment goes in, krun's settings come out.
 *
 * @module
 */
import { passEnvWarnings } from "./app_env.ts";
import { type CloudRunNames, readCloudRun } from "./cloud_run.ts";
import { KrunError } from "./errors.ts";
import { type GoogleSettings, readGoogle } from "./google_settings.ts";
import type { LogLevel } from "./log.ts";
import { type LogFormat, type LogTrace, readTrace } from "./log_format.ts";
import { type MeshSettings, readMesh } from "./mesh_settings.ts";
import { isGoogleMount, isMountSetting, parseMountSetting } from "./mount_setting.ts";
import type { MountSetting } from "./mount_setting.ts";
import { isLabelKey, isLabelValue } from "./object_name.ts";
import type { Env } from "./pod_inputs.ts";
import { readHttpProbe, readMainPort, readNamedPort, readTcpProbe } from "./port_setting.ts";
import type { PortSetting, StartupProbeSetting } from "./port_setting.ts";
import { readReferences, type ReferenceSettings, referenceWarnings } from "./reference_settings.ts";
import { answerReserved } from "./reserved_settings.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import {
  readBoolean,
  readChoice,
  readDurationMs,
  readIpAddress,
  readListenAddress,
  readNames,
  readUser,
  readWholeSeconds,
} from "./setting_value.ts";
import type { SettingText } from "./setting_value.ts";
import { SETTINGS } from "./settings_table.ts";
import type { SettingName, SettingPrefix } from "./settings_table.ts";
import { FORWARDED, signalName, signalNumber } from "./signals.ts";
import { readSsh, type SshSettings, sshWarnings } from "./ssh_settings.ts";
import { isTrafficDirector } from "./traffic_director.ts";
import { portsBehind, type TunnelSetting, undeclaredPort } from "./tunnel.ts";
import { unknownSettings } from "./unknown_settings.ts";

export { SETTINGS };

/** What happens to the program when a mounted object changes. */
export type OnChange =
  | { readonly kind: "none" }
  | { readonly kind: "restart" }
  /** The signal's name, as `SIGHUP`. */
  | { readonly kind: "signal"; readonly signal: string };

/** An address to listen on. */
export interface ListenAddress {
  /** Without brackets. */
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
}

/** The variables that name the workload, as they were set. */
export interface WorkloadSettings {
  /** WORKLOAD_NAMESPACE. */
  readonly namespace?: string | undefined;
  /** WORKLOAD_NAME. */
  readonly name?: string | undefined;
  /** WORKLOAD_SERVICE_ACCOUNT. */
  readonly serviceAccount?: string | undefined;
  /** K_SERVICE, else CLOUD_RUN_JOB, else CLOUD_RUN_WORKER_POOL. */
  readonly service?: string | undefined;
  /** Which of them, where it is not the first. */
  readonly serviceSetting?: SettingName | undefined;
}

/** Where a cluster may be found, as far as variables say it. */
export interface ClusterSettings {
  /** KRUN_MANIFESTS. */
  readonly manifests?: string | undefined;
  /** The files of KUBECONFIG, in their order. */
  readonly kubeconfig?: readonly string[] | undefined;
  /** KRUN_CONTEXT. */
  readonly context?: string | undefined;
  /** HOME. */
  readonly home?: string | undefined;
  /** KUBERNETES_SERVICE_HOST. */
  readonly serviceHost?: string | undefined;
  /** KUBERNETES_SERVICE_PORT. */
  readonly servicePort?: string | undefined;
  /** SSL_CERT_FILE. */
  readonly certFile?: string | undefined;
}

/** Everything that variables say to krun. */
export interface Settings {
  /** Who the workload is. */
  readonly workload: WorkloadSettings;
  /** Where a cluster may be. */
  readonly cluster: ClusterSettings;
  /** What variables say of Google Cloud. */
  readonly google: GoogleSettings;
  /** The variables that ask for a cluster; empty: none is needed. */
  readonly clusterAskedBy: readonly string[];
  /** The variables that ask for Google tokens of the program's account, where the cluster says whose those are. */
  readonly googleAccountAskedBy: readonly string[];
  /** In the order of the variables' names. */
  readonly mounts: readonly MountSetting[];
  /** KRUN_POD. */
  readonly podFile?: string | undefined;
  /** Label key → value, from `LABEL_<key>`. */
  readonly labels: ReadonlyMap<string, string>;
  /** Each number once; those with a name first. Not the one where krun listens itself for KRUN_TUNNEL. */
  readonly ports: readonly PortSetting[];
  /** `startupProbe.http`, `startupProbe.tcp`. */
  readonly startupProbe?: StartupProbeSetting | undefined;
  /** KRUN_RUN_AS, or K8S_UID of the original program. */
  readonly runAs?: { readonly uid: number; readonly gid?: number } | undefined;
  /** KRUN_GRACE_PERIOD. */
  readonly gracePeriodSeconds?: number | undefined;
  /** The platform is Cloud Run: it gives 10 s from SIGTERM to SIGKILL. */
  readonly cloudRun: boolean;
  /** What Cloud Run calls this instance; unset elsewhere. */
  readonly platform?: CloudRunNames | undefined;
  /** KRUN_SERVICE_LINKS; unset: off for a Pod made from variables, the manifest's own otherwise. */
  readonly serviceLinks?: boolean | undefined;
  /** MESH_BASE_DIR. */
  readonly baseDir?: string | undefined;
  /** KRUN_FILES=keep: files stay after a normal end. */
  readonly keepFiles: boolean;
  /** KRUN_REFRESH=never: krun replaces itself by the program once files and environment are made. */
  readonly oneShot: boolean;
  /** KRUN_ON_CHANGE. */
  readonly onChange: OnChange;
  /** KRUN_START_TIMEOUT, in milliseconds. */
  readonly startTimeoutMs: number;
  /** KRUN_LOG: the quietest level that is still written. */
  readonly logLevel: LogLevel;
  /** KRUN_LOG_FORMAT. */
  readonly logFormat: LogFormat;
  /** TRACEPARENT, for log lines. */
  readonly trace?: LogTrace | undefined;
  /** KRUN_STATUS. */
  readonly status?: ListenAddress | undefined;
  /** KRUN_TUNNEL. */
  readonly tunnel?: TunnelSetting | undefined;
  /** SSH_AUTH, KRUN_SSH and all that refines them. */
  readonly ssh: SshSettings;
  /** XDS_ADDR, MESH and all that refines them. */
  readonly mesh: MeshSettings;
  /** KRUN_REFS and all that refines it. */
  readonly references: ReferenceSettings;
  /** KRUN_PASS_ENV: variables of krun's own that the program gets all the same. */
  readonly passEnv: readonly string[];
  /** One line each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Reads every setting. An empty value is the same as none.
 *
 * Never throws anything but a {@linkcode KrunError}, for whatever environment.
 *
 * @throws {KrunError} `SettingInvalid`, `SettingConflict`, `PathInvalid`.
 */
export function parseSettings(env: Env): Settings {
  const variables = new Variables(env);
  const { text, read } = variables;
  const warnings: string[] = [];
  const passEnv = read("KRUN_PASS_ENV", readNames) ?? [];
  const references = readReferences(env, read);
  // What is a reference is the program's, and says nothing to krun: not where to write, nor by which proxy to go.
  variables.hide(references.variables);
  const mounts = variables.names.flatMap((name) => readMount({ env: name, text: env[name]! }));
  const google = readGoogle(variables);
  const platform = readCloudRun(text);
  const tunnel = readTunnel(variables, { platform, warnings });
  const ports = portsBehind(tunnel, readPorts(variables, warnings));
  const oneShot = read("KRUN_REFRESH", (s) => readChoice(s, ["always", "never"])) === "never";
  const settings: Omit<Settings, "warnings"> = {
    workload: {
      namespace: text("WORKLOAD_NAMESPACE"),
      name: text("WORKLOAD_NAME"),
      serviceAccount: text("WORKLOAD_SERVICE_ACCOUNT"),
      ...readService(variables),
    },
    cluster: readCluster(variables),
    google,
    googleAccountAskedBy: google.account?.kind === "platform" ? [] : [
      ...google.metadata ? ["KRUN_METADATA"] : [],
      ...mounts.filter(isGoogleMount).map((mount) => mount.env),
    ],
    clusterAskedBy: [
      ...ASKS_FOR_CLUSTER.filter((name) =>
        text(name) && !(["XDS_ADDR", "CLUSTER_NAME"].includes(name) && text(name) === "-")
      )
        .filter((name) => !(OF_MESH.includes(name) && isTrafficDirector(text("MESH") ?? ""))),
      ...mounts.filter((mount) => !isGoogleMount(mount)).map((mount) => mount.env),
      ...references.ofOwnCluster,
    ],
    mounts,
    podFile: text("KRUN_POD"),
    labels: readLabels(variables, warnings),
    ports,
    startupProbe: readStartupProbe(variables, { ports: withTunnelPort(ports, tunnel), warnings }),
    runAs: readRunAs(variables),
    gracePeriodSeconds: read("KRUN_GRACE_PERIOD", readWholeSeconds),
    cloudRun: platform !== undefined,
    platform,
    serviceLinks: read("KRUN_SERVICE_LINKS", readBoolean),
    baseDir: text("MESH_BASE_DIR"),
    keepFiles: read("KRUN_FILES", (s) => readChoice(s, ["remove", "keep"])) === "keep",
    oneShot,
    onChange: read("KRUN_ON_CHANGE", readOnChange) ?? { kind: "none" },
    startTimeoutMs: read("KRUN_START_TIMEOUT", readDurationMs) ?? 60_000,
    logLevel: read("KRUN_LOG", (s) => readChoice(s, ["info", "error", "warn", "debug"])) ?? "info",
    logFormat: read("KRUN_LOG_FORMAT", (s) => readChoice(s, LOG_FORMATS)) ??
      (platform ? "google" : "text"),
    trace: readTrace(text("TRACEPARENT") ?? "", text("PROJECT_ID")),
    status: read("KRUN_STATUS", readListenAddress),
    tunnel,
    ssh: readSsh(variables),
    mesh: readMesh(variables),
    references,
    passEnv,
  };
  checkOneShot(settings);
  warnings.push(
    ...answerReserved(text, passEnv),
    ...passEnvWarnings(passEnv, env),
    ...referenceWarnings(references, env),
    ...sshWarnings(settings.ssh, env),
    ...unknownSettings(variables.names),
  );
  return { ...settings, warnings };
}

/** The form of log lines as far as it is known before the settings are read; for the error that they cannot be. */
export function earlyLogFormat(env: Env): LogFormat {
  const asked = LOG_FORMATS.find((format) => format === env.KRUN_LOG_FORMAT);
  return asked ?? (readCloudRun((name) => env[name] || undefined) ? "google" : "text");
}

const LOG_FORMATS = ["text", "json", "google"] as const satisfies readonly LogFormat[];

/** These ask for a cluster. K_SERVICE does not: the platform sets it for every program, whatever it wants. */
const ASKS_FOR_CLUSTER: readonly SettingName[] = [
  "KRUN_MANIFESTS",
  "KUBECONFIG",
  "KRUN_CONTEXT",
  "KRUN_POD",
  "WORKLOAD_NAMESPACE",
  "WORKLOAD_NAME",
  "WORKLOAD_SERVICE_ACCOUNT",
  "CLUSTER_NAME",
  "MESH",
  "XDS_ADDR",
];

/** Those of them that say which mesh: Traffic Director is none of a cluster. */
const OF_MESH: readonly SettingName[] = ["MESH", "XDS_ADDR"];

/** The one way to the environment: by names of the table. */
class Variables {
  /** All names, in the order of their letters. */
  readonly names: readonly string[];
  readonly #env: Env;
  #hidden: readonly string[] = [];

  constructor(env: Env) {
    this.#env = env;
    this.names = Object.keys(env).sort();
  }

  /** These are as if they were not set. */
  hide(names: readonly string[]): void {
    this.#hidden = names;
  }

  /** The text of a variable; `undefined` when it is not set or empty. @throws {KrunError} `SettingInvalid` when it is no UTF-8. */
  readonly text = (name: SettingName): string | undefined => {
    if (this.#hidden.includes(name)) return undefined;
    const text = (Object.hasOwn(this.#env, name) && this.#env[name]) || undefined;
    // Nobody has set these for krun; where HOME is no UTF-8, there is just no kubeconfig below it.
    if (text !== undefined && !["HOME", "PWD", "TMPDIR"].includes(name)) checkUtf8({ env: name, text });
    return text;
  };

  /** The value of a variable; `undefined` when it is not set or empty. */
  readonly read = <T>(name: SettingName, reader: (setting: SettingText) => T): T | undefined => {
    const text = this.text(name);
    return text === undefined ? undefined : reader({ env: name, text });
  };

  /** The variables whose name begins so, those with an empty value too. */
  readonly startingWith = (prefix: SettingPrefix): SettingText[] =>
    this.names.filter((name) => name.startsWith(prefix) && !this.#hidden.includes(name)).map((env) => ({
      env,
      text: this.#env[env]!,
    }));
}

/** Names of objects and audiences are UTF-8, and so are the paths that krun can make. */
function checkUtf8({ env, text }: SettingText): void {
  const [isName, isValue] = [env.isWellFormed(), text.isWellFormed()];
  if (isName && isValue) return;
  const fault = `its ${isName ? "value" : "name"} is no UTF-8`;
  throw new KrunError("SettingInvalid", `Cannot read setting ${quoted(env)}: ${fault}`, "write it in UTF-8");
}

function readMount(setting: SettingText): MountSetting | [] {
  if (isMountSetting(setting.env)) checkUtf8(setting);
  return parseMountSetting(setting.env, setting.text) ?? [];
}

function readCluster({ text }: Variables): ClusterSettings {
  const files = text("KUBECONFIG")?.split(":").filter((file) => file !== "");
  return {
    manifests: text("KRUN_MANIFESTS"),
    kubeconfig: files?.length ? files : undefined,
    context: text("KRUN_CONTEXT"),
    home: text("HOME"),
    serviceHost: text("KUBERNETES_SERVICE_HOST"),
    servicePort: text("KUBERNETES_SERVICE_PORT"),
    certFile: text("SSL_CERT_FILE"),
  };
}

function readLabels(variables: Variables, warnings: string[]): Map<string, string> {
  const labels = new Map<string, string>();
  for (const { env, text } of variables.startingWith("LABEL_")) {
    const key = env.slice("LABEL_".length);
    if (!isLabelKey(key)) warnings.push(`${env} makes no label: ${quoted(key)} is not a label key`);
    else if (!isLabelValue(text)) warnings.push(`${env} makes no label: ${quoted(text)} is not a label value`);
    else labels.set(key, text);
  }
  return labels;
}

/** Each number once: a container cannot have one port twice. */
function readPorts(variables: Variables, warnings: string[]): PortSetting[] {
  const named = variables.startingWith("PORT_").map((setting) => readNamedPort(setting, warnings));
  const all = [...named, variables.read("PORT", readMainPort)].filter((port) => port !== undefined);
  return all.filter((port, index) => all.findIndex((other) => other.port === port.port) === index);
}

/** On Cloud Run a service gets PORT, and nothing but that is reached from outside. */
function readTunnel(
  variables: Variables,
  { platform, warnings }: { platform: CloudRunNames | undefined; warnings: string[] },
): TunnelSetting | undefined {
  const address = variables.read("KRUN_TUNNEL_ADDRESS", readIpAddress);
  if (variables.read("KRUN_TUNNEL", (setting) => readChoice(setting, ["h2c"])) === undefined) {
    if (address !== undefined) warnings.push("KRUN_TUNNEL_ADDRESS has no effect: KRUN_TUNNEL is not set");
    return undefined;
  }
  const platformPort = platform?.service === undefined
    ? undefined
    : variables.read("PORT", readMainPort)?.port ?? CLOUD_RUN_PORT;
  return { ...(platformPort !== undefined && { platformPort }), ...(address !== undefined && { address }) };
}

/** What Cloud Run has where nobody names a port. */
const CLOUD_RUN_PORT = 8080;

/** A startup probe without a port means the one that the program then has. */
function withTunnelPort(ports: readonly PortSetting[], tunnel: TunnelSetting | undefined): readonly PortSetting[] {
  return tunnel?.platformPort === undefined ? ports : [...ports, { env: "PORT", port: undeclaredPort(tunnel) }];
}

function readStartupProbe(
  { text, read }: Variables,
  { ports, warnings }: { ports: readonly PortSetting[]; warnings: string[] },
): StartupProbeSetting | undefined {
  if (text("startupProbe.http") && text("startupProbe.tcp")) {
    warnings.push("startupProbe.tcp has no effect: startupProbe.http is set too");
  }
  return read("startupProbe.http", (setting) => readHttpProbe(setting, ports)) ??
    read("startupProbe.tcp", readTcpProbe);
}

function readRunAs({ read }: Variables): Settings["runAs"] {
  const runAs = read("KRUN_RUN_AS", readUser);
  const original = read("K8S_UID", readUser);
  if (runAs && original && runAs.uid !== original.uid) {
    throw new KrunError(
      "SettingConflict",
      `Cannot choose the program's user: KRUN_RUN_AS says ${runAs.uid} and K8S_UID says ${original.uid}`,
      "unset K8S_UID or KRUN_RUN_AS",
    );
  }
  return runAs ?? original;
}

/** What a workload on Cloud Run is called there. */
function readService({ text }: Variables): Pick<WorkloadSettings, "service" | "serviceSetting"> {
  const names = ["K_SERVICE", "CLOUD_RUN_JOB", "CLOUD_RUN_WORKER_POOL"] as const;
  const name = names.find((name) => text(name) !== undefined);
  return { service: name && text(name), serviceSetting: name === "K_SERVICE" ? undefined : name };
}

function readOnChange({ env, text }: SettingText): OnChange {
  if (text === "none" || text === "restart") return { kind: text };
  const signal = text.startsWith("signal:") ? signalNumber(text.slice("signal:".length)) : undefined;
  if (signal === undefined || !FORWARDED.includes(signal)) {
    throw settingInvalid(env, `${quoted(text)} is not none, restart or signal:<name of a signal>`, "signal:HUP");
  }
  return { kind: "signal", signal: `SIG${signalName(signal)}` };
}

/** One-shot mode leaves no krun behind that could do these. */
function checkOneShot({ oneShot, onChange, status, tunnel, google, ssh }: Omit<Settings, "warnings">): void {
  if (!oneShot) return;
  const others = {
    ...{ KRUN_ON_CHANGE: onChange.kind !== "none", KRUN_STATUS: status },
    ...{ KRUN_TUNNEL: tunnel, KRUN_METADATA: google.metadata },
    ...{ SSH_AUTH: ssh.authorizedKeys, KRUN_SSH: ssh.listen, KRUN_SSH_RBAC: ssh.rbac },
  };
  const other = Object.entries(others).find(([, isSet]) => isSet)?.[0];
  if (other === undefined) return;
  throw new KrunError(
    "SettingConflict",
    `Cannot do what ${other} says: with KRUN_REFRESH=never krun is gone once the program runs`,
    `unset ${other} or KRUN_REFRESH`,
  );
}
