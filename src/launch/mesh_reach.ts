/**
 * What a check tries of a mesh, beyond what objects say of it: the control plane's address, and ports that Envoy would need.
 * In: a plan. Out: findings, and why a start would fail.
 *
 * @module
 */
import { namesText } from "../core/certificate_names.ts";
import { KrunError } from "../core/errors.ts";
import { parseIp } from "../core/ip_address.ts";
import { countingSidecars } from "../core/mesh_advice.ts";
import { hostPort } from "../core/mesh_settings.ts";
import type { StartFailure } from "../core/start_failure.ts";
import type { ControlPlaneLook } from "../mesh/control_plane_probe.ts";
import { isPortFree, portHolder } from "../mesh/ports.ts";
import type { ProcReader } from "../mesh/network_namespace.ts";
import type { Finding } from "./check_report.ts";
import type { MeshPlan } from "./mesh_plan.ts";
import type { Plan } from "./plan.ts";

/** What was tried. */
export interface MeshReach {
  readonly findings: readonly Finding[];
  readonly failures: readonly StartFailure[];
}

/** Tries; takes 4 s at most. Nothing where there is no mesh. */
export async function meshReach({ mesh: plan, planned }: Plan, proc: ProcReader): Promise<MeshReach> {
  if (plan === undefined) return { findings: [], failures: [] };
  const { value } = plan.mesh.address;
  const { lookAtControlPlane } = await import("../mesh/control_plane_probe.ts");
  const look = await lookAtControlPlane(hostPort(value)!);
  const fault = controlPlaneFault(plan, look);
  const taken = takenEgressPorts(plan, planned.pod.metadata?.labels ?? {}).map((port) => egressTaken(port, proc));
  return {
    findings: [{ what: "control plane", ...found(look) }],
    failures: [...fault ? [fault] : [], ...taken].map((error) => ({ error, askedBy: "" })),
  };
}

function found(look: ControlPlaneLook): Pick<Finding, "value" | "because"> {
  if ("names" in look) return { value: "answers", because: `TLS, a certificate for ${namesText(look.names)}` };
  return { value: look.step === "TCP" ? "not reached" : "no TLS there", because: look.reason };
}

/** Why the agent would not connect there; `undefined`: it may. */
export function controlPlaneFault(
  { mesh: { address, san } }: Pick<MeshPlan, "mesh">,
  look: ControlPlaneLook,
): KrunError | undefined {
  const unavailable = (state: string, hint: string) =>
    new KrunError("MeshUnavailable", `Cannot join the mesh at ${address.value} (${address.rule}): ${state}`, hint);
  if (!("names" in look)) {
    return unavailable(
      look.step === "TCP" ? look.reason : `whoever listens there does not speak TLS: ${look.reason}`,
      `check ${address.rule}, the network and the firewall`,
    );
  }
  const expected = san?.value ?? hostPort(address.value)!.host;
  if (parseIp(expected)?.family === 6 || look.names.some((name) => isNamed(expected, name))) return undefined;
  return unavailable(
    `the server there has a certificate for ${namesText(look.names)}, not for ${expected}`,
    `correct ${address.rule}; if that is the control plane, set ISTIOD_SAN to one of these names`,
  );
}

/** Whether a certificate's name means a host; a star stands for its first part. */
function isNamed(host: string, name: string): boolean {
  return name === host ||
    name.startsWith("*.") && host.includes(".") && name.slice(1) === host.slice(host.indexOf("."));
}

/** In mode proxy Envoy listens on loopback for each egress listener that names a port. */
function takenEgressPorts({ mesh, mode }: MeshPlan, labels: Readonly<Record<string, string>>): number[] {
  if (mode.mode !== "proxy") return [];
  const ports = countingSidecars(mesh.sidecars ?? [], labels).flatMap(({ egressPorts }) => egressPorts);
  return [...new Set(ports)].filter((port) => !isPortFree(port));
}

function egressTaken(port: number, proc: ProcReader): KrunError {
  return new KrunError(
    "MeshUnavailable",
    `Cannot join the mesh: port ${port} of a Sidecar's egress is in use by ${portHolder(proc, port)}`,
    "free that port, or give the egress listener another one",
  );
}
