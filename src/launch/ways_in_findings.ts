/**
 * What `--check` says of the ways to a program besides its own ports. In: a plan. Out: where they would listen now, and why.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { hbonePeersText, type HbonePlan } from "../core/hbone_plan.ts";
import type { TunnelPlan } from "../core/tunnel.ts";
import { isPortFree, portHolder } from "../mesh/ports.ts";
import type { ProcReader } from "../mesh/network_namespace.ts";
import type { Finding } from "./check_report.ts";
import type { MeshPlan } from "./mesh_plan.ts";

/** The endpoint that a plan has. */
export function plannedHbone(mesh: MeshPlan | undefined): HbonePlan | undefined {
  return mesh && "ports" in mesh.hbone ? mesh.hbone : undefined;
}

/** The HBONE endpoint of a workload in a mesh. */
export function hboneFindings({ hbone, mesh }: MeshPlan, proc: ProcReader): Finding[] {
  if (!("ports" in hbone)) return [{ what: "HBONE endpoint", value: "none", because: hbone.because }];
  const port = placeOf(hbone.ports, proc);
  const rule = hbone.allow ? "HBONE_ALLOW" : "the workload's own trust domain";
  return [
    { what: "HBONE endpoint", ...port },
    { what: "HBONE peers", value: hbonePeersText(hbone, mesh.trustDomain.value), because: rule },
    {
      what: "HBONE reaches",
      value: [...hbone.workload.ports, "ssh"].join(),
      because: "the declared ports, and ssh on 15022",
    },
  ];
}

/** The front door of KRUN_TUNNEL. */
export function tunnelFindings({ ports, rule, program, programRule }: TunnelPlan, proc: ProcReader): Finding[] {
  const { value, because } = placeOf(ports, proc);
  const behind = `port ${program.port} (${program.protocol})`;
  return [
    { what: "tunnel", value, because: ports.length > 1 ? `${rule}; ${because}` : rule },
    { what: "program behind it", value: behind, because: programRule },
  ];
}

/** Makes sure that the front door could be opened now. @throws {KrunError} `HboneUnavailable` */
export function requireTunnelPort({ ports, rule }: TunnelPlan, proc: ProcReader): void {
  const { because } = placeOf(ports, proc);
  if (ports.some(isPortFree)) return;
  throw new KrunError(
    "HboneUnavailable",
    `Cannot listen for KRUN_TUNNEL (${rule}): ${because}`,
    "end what uses it, or unset KRUN_TUNNEL",
  );
}

/** The first port that nothing holds. */
function placeOf(ports: readonly number[], proc: ProcReader): Pick<Finding, "value" | "because"> {
  const free = ports.find(isPortFree);
  const held = ports.filter((port) => port !== free && !isPortFree(port))
    .map((port) => `port ${port} is in use by ${portHolder(proc, port)}`);
  const because = held.length === 0 ? "nothing else holds it" : held.join("; ");
  return free === undefined ? { value: "none", because } : { value: `port ${free}`, because };
}
