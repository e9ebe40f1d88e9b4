/**
 * `MESH=td:...`: whose configuration a workload asks Traffic Director for (Google's Cloud Service Mesh with Google's own APIs). In:
 * the value of MESH. Out: a project, and in it a VPC network, a Mesh or a Gateway's scope.
 *
 * The syntax is the original program's (cloud-run-mesh, pkg/mesh/krun.go): `td:[projects=NUMBER][&scopes=NAME]`. `network` and
 * `mesh` are what today's clients ask by: docs/decisions.md, "Traffic Director".
 *
 * @module
 */
import { quoted, settingInvalid } from "./setting_invalid.ts";
import type { SettingText } from "./setting_value.ts";

/** Whose configuration is asked for. */
export interface TrafficDirector {
  /** Number (not the name) of the Google Cloud project that holds the mesh's resources. */
  readonly projectNumber: string;
  /** VPC network; there is one whenever neither of the others is named. */
  readonly network?: string | undefined;
  /** A Mesh resource, by its name. Not together with a scope. */
  readonly mesh?: string | undefined;
  /** Scope of Gateway resources: Envoy is then a gateway, which listens on their ports. */
  readonly scope?: string | undefined;
}

/** Where it is, unless XDS_ADDR names another endpoint, such as that of a region. */
export const TRAFFIC_DIRECTOR_SERVER = "trafficdirector.googleapis.com:443";

/** What Google's own tools and samples take where nobody names a network. */
const DEFAULT_NETWORK = "default";

const EXAMPLE = "td:projects=123456789&network=default";

/** Keys of the value. */
const KEYS = ["projects", "network", "mesh", "scopes"] as const;
type Key = (typeof KEYS)[number];

/** Whether a value of MESH is of this kind. */
export function isTrafficDirector(text: string): boolean {
  return text.startsWith("td:");
}

/**
 * Reads a value of MESH for which {@linkcode isTrafficDirector} holds. A key with an empty value counts as absent.
 *
 * @param projectNumber PROJECT_NUMBER, for a value that names no project
 * @throws {KrunError} `SettingInvalid`
 */
export function readTrafficDirector({ env, text }: SettingText, projectNumber?: string): TrafficDirector {
  const values = keysOf({ env, text });
  const { network, mesh, scopes: scope } = Object.fromEntries(values) as Partial<Record<Key, string>>;
  if (mesh !== undefined && scope !== undefined) {
    throw settingInvalid(env, "it names a mesh and a scope, and a workload is in one of them", `${EXAMPLE}&mesh=shop`);
  }
  return {
    projectNumber: projectOf({ env, text: values.get("projects") ?? "" }, projectNumber),
    network: network ?? (mesh === undefined && scope === undefined ? DEFAULT_NETWORK : undefined),
    mesh,
    scope,
  };
}

function keysOf({ env, text }: SettingText): Map<Key, string> {
  const values = new Map<Key, string>();
  for (const part of text.slice("td:".length).split("&").filter((part) => part !== "")) {
    const [, name, value = ""] = /^([^=]*)(?:=(.*))?$/s.exec(part)!;
    const key = KEYS.find((key) => key === name);
    if (key === undefined) throw settingInvalid(env, `${quoted(name!)} is not ${KEYS.join(", ")}`, EXAMPLE);
    if (values.has(key)) throw settingInvalid(env, `${key} is named twice`, EXAMPLE);
    if (value === "") continue;
    if (key !== "projects" && !isResourceName(value)) {
      throw settingInvalid(env, `${quoted(value)} is not a name for ${key}`, EXAMPLE);
    }
    values.set(key, value);
  }
  return values;
}

/** A letter, then letters, digits and dashes, 64 in all: what a Mesh and a scope may be called, and wider than a network's name. */
function isResourceName(name: string): boolean {
  return /^[a-zA-Z][a-zA-Z0-9-]{0,63}$/.test(name);
}

function projectOf({ env, text }: SettingText, projectNumber: string | undefined): string {
  const [name, value] = text === "" ? ["PROJECT_NUMBER", projectNumber] : [env, text];
  if (value === undefined) {
    throw settingInvalid(env, "it names no project, and PROJECT_NUMBER is not set", EXAMPLE);
  }
  // Go's int64 holds 18 digits whatever they are.
  if (/^[1-9]\d{0,17}$/.test(value)) return value;
  const example = name === env ? EXAMPLE : "123456789";
  throw settingInvalid(name, `${quoted(value)} is not the number of a project`, example);
}

/**
 * The part of a node's id that says which configuration is meant: the name of a network, `mesh:NAME` or `scope:NAME`.
 *
 * Sources: `mesh:` GoogleCloudPlatform/traffic-director-grpc-bootstrap main.go (configMesh); `scope:` cloud-run-mesh
 * pkg/mesh/td.go.
 */
export function networkIdentifier({ network, mesh, scope }: TrafficDirector): string {
  if (mesh !== undefined) return `mesh:${mesh}`;
  return scope !== undefined ? `scope:${scope}` : network ?? DEFAULT_NETWORK;
}
