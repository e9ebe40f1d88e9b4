/**
 * Which way into the mesh. In: what is on the machine and what was asked for. Out: a mode with its reason, or why there is none.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import type { MeshMode, MeshSettings } from "./mesh_settings.ts";

/** What the machine has for a mesh. */
export interface MeshMachine {
  /** Path of pilot-agent. */
  readonly agent: string | undefined;
  /** Path of Envoy. */
  readonly envoy: string | undefined;
  /** Why traffic cannot be captured here, in one clause; `undefined`: it can. */
  readonly interceptionFault?: string | undefined;
}

/** A mode and the reason for it. */
export interface DecidedMode {
  readonly mode: MeshMode;
  /** One clause, for `--check` and the log. */
  readonly rule: string;
}

/** Options of {@linkcode meshMode}. */
export interface MeshModeOptions {
  readonly settings: Pick<MeshSettings, "mode" | "gateway">;
  /** Annotation `sidecar.istio.io/interceptionMode` of the Pod. */
  readonly interceptionMode?: string | undefined;
}

/**
 * The mode that MESH_MODE or GATEWAY_NAME names, else the first that is possible.
 *
 * @throws {KrunError} `MeshUnavailable`
 */
export function meshMode(machine: MeshMachine, { settings, interceptionMode }: MeshModeOptions): DecidedMode {
  const { agent, envoy, interceptionFault } = machine;
  if (agent === undefined) {
    throw unavailable(NO_AGENT, "install it");
  }
  const asked = settings.mode;
  const captures = asked === "intercept" || asked === undefined && settings.gateway === undefined;
  if (captures && envoy !== undefined && interceptionFault === undefined && interceptionMode !== "NONE") {
    return { mode: "intercept", rule: asked ? "MESH_MODE" : "krun may capture traffic, and Envoy is there" };
  }
  if (asked === "intercept") {
    throw unavailable(interceptReason({ envoy, interceptionFault }), "or choose another MESH_MODE");
  }
  if (asked === "proxyless") return { mode: "proxyless", rule: "MESH_MODE" };
  if (envoy !== undefined) {
    const reason = settings.gateway === undefined ? interceptReason({ envoy, interceptionFault }) : "GATEWAY_NAME";
    return { mode: "proxy", rule: asked ? "MESH_MODE" : reason };
  }
  if (asked === "proxy" || settings.gateway !== undefined) {
    throw unavailable(NO_ENVOY, "install it, or name it by binaryPath in PROXY_CONFIG");
  }
  return { mode: "proxyless", rule: NO_ENVOY };
}

/** Why there is no mesh in most images. */
export const NO_AGENT = "pilot-agent is neither /usr/local/bin/pilot-agent nor in PATH";

const NO_ENVOY = "Envoy is neither /usr/local/bin/envoy nor in PATH";

function interceptReason({ envoy, interceptionFault }: Omit<MeshMachine, "agent">): string {
  if (envoy === undefined) return NO_ENVOY;
  return interceptionFault ?? "annotation sidecar.istio.io/interceptionMode is NONE";
}

function unavailable(reason: string, remedy: string): KrunError {
  return new KrunError(
    "MeshUnavailable",
    `Cannot join the mesh: ${reason}`,
    `${remedy}; MESH_OPTIONAL=true or XDS_ADDR=- starts without the mesh`,
  );
}
