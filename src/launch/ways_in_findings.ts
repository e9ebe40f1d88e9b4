/**
 * What `--check` says of the ways to a program besides its own ports. In: a plan. Out: where they would listen now, and why.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { hbonePeersText, type HbonePlan, pastEnvoyText } from "../core/hbone_plan.ts";
import { isTunnelOpen, tunnelAddressText, type TunnelPlan } from "../core/tunnel.ts";
import { isOwnAddress, isPortFree, portHolder } from "../mesh/ports.ts";
import type { ProcReader } from "../mesh/network_namespace.ts";
import type { Finding } from "./check_report.ts";
import type { MeshPlan } from "./mesh_plan.ts";

/** The endpoint that a plan has. */
export function plannedHbone(mesh: MeshPlan | undefined): HbonePlan | undefined {
  return mesh && "ports" in mesh.hbone ? mesh.hbone : undefined;
}

/** The HBONE endpoint of a workload in a mesh. */
export function hboneFindings({ hbone, mesh, mode }: MeshPlan, proc: ProcReader): Finding[] {
  if (!("ports" in hbone)) return [{ what: "HBONE endpoint", value: "none", because: hbone.because }];
  const { value, because } = placeOf(hbone, proc);
  const isBesideEnvoy = mode.mode !== "proxyless";
  const rule = hbone.allow ? "HBONE_ALLOW" : "the workload's own trust domain";
  return [
    { what: "HBONE endpoint", value, because: isBesideEnvoy ? `${because}; ${pastEnvoyText(hbone)}` : because },
    { what: "HBONE peers", value: hbonePeersText(hbone, mesh.trustDomain.value), because: rule },
    {
      what: "HBONE reaches",
      value: [...hbone.workload.ports, "ssh"].join(),
      because: "the declared ports, and ssh on 15022",
    },
  ];
}

/** The front door of KRUN_TUNNEL, in a mesh or out of one. */
export function tunnelFindings(
  plan: TunnelPlan,
  { proc, isInMesh }: { proc: ProcReader; isInMesh: boolean },
): Finding[] {
  const { ports, rule, addressRule, program, programRule } = plan;
  const { value, because } = placeOf(plan, proc);
  const behind = `port ${program.port} (${program.protocol})`;
  return [
    { what: "tunnel", value, because: ports.length > 1 ? `${rule}; ${because}` : rule },
    {
      what: "tunnel's address",
      value: tunnelAddressText(plan),
      because: isInMesh && isTunnelOpen(plan) ? `${addressRule}; ${PAST_THE_MESH}` : addressRule,
    },
    { what: "program behind it", value: behind, because: programRule },
  ];
}

/** What a front door in a mesh is, that others reach. */
export const PAST_THE_MESH = "this way is in plain text, past the mesh's mTLS and policies";

/** Makes sure that the front door could be opened now. @throws {KrunError} `HboneUnavailable` */
export function requireTunnelPort({ ports, rule, address, addressRule }: TunnelPlan, proc: ProcReader): void {
  if (address !== undefined && !isOwnAddress(address)) {
    throw new KrunError(
      "HboneUnavailable",
      `Cannot listen for KRUN_TUNNEL on ${address} (${addressRule}): it is no address of this machine`,
      "name one that is, or unset it",
    );
  }
  const { because } = placeOf({ ports, address }, proc);
  if (ports.some((port) => isPortFree(port, address))) return;
  throw new KrunError(
    "HboneUnavailable",
    `Cannot listen for KRUN_TUNNEL (${rule}): ${because}`,
    "end what uses it, or unset KRUN_TUNNEL",
  );
}

/** The first port that nothing holds. */
function placeOf(
  { ports, address }: { ports: readonly number[]; address?: string | undefined },
  proc: ProcReader,
): Pick<Finding, "value" | "because"> {
  const isFree = (port: number) => isPortFree(port, address);
  const free = ports.find(isFree);
  const held = ports.filter((port) => port !== free && !isFree(port))
    .map((port) => `port ${port} is in use by ${portHolder(proc, port)}`);
  const because = held.length === 0 ? "nothing else holds it" : held.join("; ");
  return free === undefined ? { value: "none", because } : { value: `port ${free}`, because };
}
