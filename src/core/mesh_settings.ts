/**
 * What variables say of the mesh. In: the process environment. Out: values, as they were set.
 *
 * @module
 */
import { type CertificateSettings, readCertificates } from "./certificate_source.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { type PeerPattern, readPeerPatterns } from "./spiffe_id.ts";
import { isGoogleTarget } from "./google_settings.ts";
import { readBoolean, readChoice, readDurationMs, type SettingText } from "./setting_value.ts";
import type { SettingName, SettingPrefix } from "./settings_table.ts";
import { isTrafficDirector, readTrafficDirector, type TrafficDirector } from "./traffic_director.ts";

/** How the program's traffic gets into the mesh. */
export const MESH_MODES = ["intercept", "proxy", "proxyless"] as const;

/** One of {@linkcode MESH_MODES}. */
export type MeshMode = (typeof MESH_MODES)[number];

/** A `host:port`. */
export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** The variables of the mesh, as they were set. */
export interface MeshSettings {
  /** XDS_ADDR is `-`: no mesh, whatever the cluster has. */
  readonly off: boolean;
  /** XDS_ADDR. */
  readonly address?: HostPort | undefined;
  /** MESH_MODE; unset: the first that is possible. */
  readonly mode?: MeshMode | undefined;
  /** MESH_OPTIONAL: a mesh that cannot be joined is no reason not to start. */
  readonly optional: boolean;
  /** MESH_START_TIMEOUT, in milliseconds. */
  readonly startTimeoutMs: number;
  /** MESH, where it says where the mesh is described: `file:///...` or `https://...`. */
  readonly description?: URL | undefined;
  /** MESH names a cluster of Google Cloud, whose mesh is meant. */
  readonly ofCluster?: true | undefined;
  /** MESH, where it is `td:...`: no istiod, and no cluster, is asked for anything. */
  readonly trafficDirector?: TrafficDirector | undefined;
  /** GOOGLE_APPLICATION_CREDENTIALS, which Traffic Director's proxy is given. */
  readonly googleCredentials?: string | undefined;
  /** The variables that a description or `mesh-env` may hold too, under the same names. */
  readonly values: ReadonlyMap<string, string>;
  /** PROXY_CONFIG, YAML or JSON. */
  readonly proxyConfig?: string | undefined;
  /** OUTBOUND_IP_RANGES_INCLUDE. */
  readonly outboundIpRanges?: string | undefined;
  /** OUTBOUND_PORTS_EXCLUDE. */
  readonly excludeOutboundPorts?: string | undefined;
  /** XDS_AGENT_DEBUG: log levels of the agent, as `dns:debug`. */
  readonly agentDebug?: string | undefined;
  /** GATEWAY_NAME. */
  readonly gateway?: string | undefined;
  /** CA_PROVIDER and what else says where the workload's certificate comes from; unset: all as the agent has it. */
  readonly certificates?: CertificateSettings | undefined;
  /** HBONE_ALLOW: whom krun's endpoint lets in; `none`: there is no endpoint; unset: the workload's own trust domain. */
  readonly hbonePeers?: readonly PeerPattern[] | "none" | undefined;
  /** Variables of the agent's own that are handed to it as they are: ISTIO_META_*, ISTIO_METAJSON_*, XDS_HEADER_*, CA_HEADER_*. */
  readonly agentEnv: ReadonlyMap<string, string>;
}

/** How the variables are read: by names of the table. */
export interface MeshVariables {
  text(name: SettingName): string | undefined;
  read<T>(name: SettingName, reader: (setting: SettingText) => T): T | undefined;
  startingWith(prefix: SettingPrefix): SettingText[];
}

/** Variables whose value `mesh-env` may give as well. */
const SHARED_NAMES = [
  "XDS_ADDR",
  "IMCON_ADDR",
  "MCON_ADDR",
  "CAROOT_ISTIOD",
  "ISTIOD_SAN",
  "CA_ADDR",
  "TRUST_DOMAIN",
  "MESH_REVISION",
] as const satisfies readonly SettingName[];

/** One of the names that a variable and `mesh-env` share. */
export type MeshValueName = (typeof SHARED_NAMES)[number];

const AGENT_PREFIXES = [
  "ISTIO_META_",
  "ISTIO_METAJSON_",
  "XDS_HEADER_",
  "CA_HEADER_",
] as const satisfies readonly SettingPrefix[];

/** Reads them. @throws {KrunError} `SettingInvalid` */
export function readMesh(variables: MeshVariables): MeshSettings {
  const { text, read, startingWith } = variables;
  const values = SHARED_NAMES.flatMap((name) => {
    const value = text(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  const trafficDirector = read(
    "MESH",
    (setting) => isTrafficDirector(setting.text) ? readTrafficDirector(setting, text("PROJECT_NUMBER")) : undefined,
  );
  return {
    off: text("XDS_ADDR") === "-",
    address: text("XDS_ADDR") === "-" ? undefined : read("XDS_ADDR", readXdsAddress),
    mode: read("MESH_MODE", (setting) => readChoice(setting, MESH_MODES)),
    optional: read("MESH_OPTIONAL", readBoolean) ?? false,
    startTimeoutMs: read("MESH_START_TIMEOUT", readDurationMs) ?? 30_000,
    description: read("MESH", readDescription),
    ofCluster: isGoogleTarget(text("MESH") ?? "") && text("KRUN_MANIFESTS") === undefined || undefined,
    trafficDirector,
    googleCredentials: trafficDirector && text("GOOGLE_APPLICATION_CREDENTIALS"),
    values: new Map(values),
    proxyConfig: text("PROXY_CONFIG"),
    outboundIpRanges: text("OUTBOUND_IP_RANGES_INCLUDE"),
    excludeOutboundPorts: text("OUTBOUND_PORTS_EXCLUDE"),
    agentDebug: text("XDS_AGENT_DEBUG") ?? (text("MESH_DEBUG") && "default:debug"),
    gateway: text("GATEWAY_NAME"),
    certificates: readCertificates(variables),
    hbonePeers: read("HBONE_ALLOW", (setting) => setting.text === "-" ? "none" : readPeerPatterns(setting)),
    agentEnv: new Map(AGENT_PREFIXES.flatMap(startingWith).map(({ env, text }) => [env, text])),
  };
}

/** Whether somebody wants a mesh: without one krun does not start. */
export function asksForMesh(settings: MeshSettings): boolean {
  const { address, mode, description, gateway, ofCluster, trafficDirector } = settings;
  return [address, mode, description, gateway, ofCluster, trafficDirector].some((value) => value !== undefined);
}

/** A `host:port`, or a host alone, which means istiod's port for workloads outside a cluster; `undefined`: it is none. */
export function hostPort(text: string, defaultPort?: number): HostPort | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = digits === undefined ? defaultPort : Number(digits);
  return host === undefined || port === undefined || port < 1 || port > 65535 ? undefined : { host, port };
}

/** The text of a {@linkcode HostPort}. */
export function hostPortText({ host, port }: HostPort): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function readXdsAddress({ env, text }: SettingText): HostPort {
  const address = hostPort(text);
  if (!address) throw settingInvalid(env, `${quoted(text)} is not host:port, nor -`, "istiod.example:15012");
  return address;
}

/** Only what describes a mesh; `gke://` and the resource of a cluster name a cluster, which is read elsewhere. */
function readDescription({ text }: SettingText): URL | undefined {
  const url = URL.parse(text);
  const isDescription = url?.protocol === "file:" || url?.protocol === "https:" && !isGoogleTarget(text);
  return isDescription ? url : undefined;
}
