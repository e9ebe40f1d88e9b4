/**
 * Which way to Traffic Director. In: what is on the machine and what was asked for. Out: a mode with its reason, or why there is
 * none.
 *
 * Google documents two: an Envoy to which traffic is redirected, and gRPC without one. An Envoy to which nothing is redirected is
 * its gateway. So krun takes mode proxy by itself only for a gateway, and otherwise where MESH_MODE says so.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import type { DecidedMode, MeshMachine } from "./mesh_mode.ts";
import type { MeshSettings } from "./mesh_settings.ts";

/**
 * The mode that MESH_MODE names; else for a gateway (GATEWAY_NAME, or a scope) mode proxy, and otherwise the first of intercept
 * and proxyless that is possible.
 *
 * @throws {KrunError} `MeshUnavailable`; the machine's own where interception is asked for
 */
export function trafficDirectorMode(
  machine: MeshMachine,
  { mode: asked, gateway, trafficDirector }: Pick<MeshSettings, "mode" | "gateway" | "trafficDirector">,
): DecidedMode {
  const noEnvoy = machine.envoy === undefined ? "Envoy is neither /usr/local/bin/envoy nor in PATH" : undefined;
  const noCapture = noEnvoy ?? captureFault(machine);
  const scope = trafficDirector?.scope;
  const gatewayRule = gateway !== undefined ? "GATEWAY_NAME" : scope && `scope ${scope} is that of a gateway`;
  const mode = asked ?? (gatewayRule ? "proxy" : noCapture === undefined ? "intercept" : "proxyless");
  const fault = mode === "proxyless" ? undefined : mode === "proxy" ? noEnvoy : noCapture;
  const { agent, interceptionFault } = machine;
  if (fault !== undefined) {
    const isOfCapture = mode === "intercept" && noEnvoy === undefined && agent !== undefined;
    throw isOfCapture && interceptionFault ? interceptionFault : unavailable(fault);
  }
  if (asked) return { mode, rule: "MESH_MODE" };
  return {
    mode,
    rule: gatewayRule ?? noCapture ?? "krun can capture traffic, and Envoy is there",
    ...(mode === "proxyless" && interceptionFault && { fault: interceptionFault }),
  };
}

/** What captures is pilot-agent's istio-iptables, with Traffic Director as with Istio. */
function captureFault({ agent, interceptionFault }: MeshMachine): string | undefined {
  if (agent === undefined) return "pilot-agent, which sets up the capture, is neither in /usr/local/bin nor in PATH";
  return interceptionFault?.message.replace(/^.*?: /, "");
}

function unavailable(reason: string): KrunError {
  return new KrunError(
    "MeshUnavailable",
    `Cannot join Traffic Director: ${reason}`,
    "make it possible, or choose another MESH_MODE; MESH_OPTIONAL=true or XDS_ADDR=- starts without the mesh",
  );
}
