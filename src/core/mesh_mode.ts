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
  /** Why traffic cannot be captured here; `undefined`: it can, or nobody has looked yet. */
  readonly interceptionFault?: KrunError | undefined;
}

/** A mode and the reason for it. */
export interface DecidedMode {
  readonly mode: MeshMode;
  /** One clause, for `--check` and the log. */
  readonly rule: string;
  /** Why it is not `intercept`, which nobody has ruled out. */
  readonly fault?: KrunError;
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
 * @throws {KrunError} `MeshUnavailable`; the machine's own where interception is asked for
 */
export function meshMode(machine: MeshMachine, { settings, interceptionMode }: MeshModeOptions): DecidedMode {
  const { agent, envoy, interceptionFault } = machine;
  if (agent === undefined) throw unavailable(NO_AGENT, "install it");
  const { mode: asked, gateway } = settings;
  if (asked === "proxyless") return { mode: "proxyless", rule: "MESH_MODE" };
  if (envoy === undefined) {
    if (asked === undefined && gateway === undefined) return { mode: "proxyless", rule: NO_ENVOY };
    throw unavailable(NO_ENVOY, "install it, or name it by binaryPath in PROXY_CONFIG");
  }
  if (asked === "proxy") return { mode: "proxy", rule: "MESH_MODE" };
  if (asked === undefined && gateway !== undefined) return { mode: "proxy", rule: "GATEWAY_NAME" };
  if (asked === undefined && interceptionMode === "NONE") {
    return { mode: "proxy", rule: "annotation sidecar.istio.io/interceptionMode is NONE" };
  }
  if (interceptionFault === undefined) {
    return { mode: "intercept", rule: asked ? "MESH_MODE" : "krun can capture traffic, and Envoy is there" };
  }
  if (asked === "intercept") throw interceptionFault;
  return { mode: "proxy", rule: interceptionFault.message.replace(/^.*?: /, ""), fault: interceptionFault };
}

/** Why there is no mesh in most images. */
export const NO_AGENT = "pilot-agent is neither /usr/local/bin/pilot-agent nor in PATH";

const NO_ENVOY = "Envoy is neither /usr/local/bin/envoy nor in PATH";

function unavailable(reason: string, remedy: string): KrunError {
  return new KrunError(
    "MeshUnavailable",
    `Cannot join the mesh: ${reason}`,
    `${remedy}; MESH_OPTIONAL=true or XDS_ADDR=- starts without the mesh`,
  );
}
