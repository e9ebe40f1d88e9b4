/**
 * The rules of a network namespace, in both iptables. In: programs. Out: rules, and whether somebody else's Istio is among them.
 *
 * @module
 */
import { isMark } from "../core/interception_note.ts";
import { interceptionError, type IptablesBackend, iptablesProgram } from "../core/iptables_backend.ts";
import { isIstioChain, istioChains, removalSteps, type SavedRules } from "../core/iptables_rules.ts";
import { type Family, IptablesPrograms, type IptablesProgramsOptions } from "./iptables_programs.ts";

/** What one iptables has. */
export interface SeenRules {
  readonly backend: IptablesBackend;
  readonly programs: IptablesPrograms;
  readonly rules: readonly (readonly [family: Family, saved: SavedRules])[];
}

/** The rules of the programs that are used, and of the others that there are. Each program takes milliseconds: they run at once. */
export async function lookAtRules(
  backend: IptablesBackend,
  options: IptablesProgramsOptions,
): Promise<{ current: SeenRules; foreign: SeenRules[] }> {
  const others = (["nft", "legacy"] as const).map((kind) => ({ kind, suffix: `-${kind}` as const }));
  const [current, ...foreign] = await Promise.all(
    [backend, ...others.filter(({ suffix }) => suffix !== backend.suffix)].map((one) => seenRules(one, options)),
  );
  return { current: current!, foreign };
}

/** The rules of IPv4, and of IPv6 where there are programs for it: istio-iptables tries those even when it leaves IPv6 out. */
async function seenRules(backend: IptablesBackend, options: IptablesProgramsOptions): Promise<SeenRules> {
  const programs = new IptablesPrograms(backend.suffix, options);
  const [ipv4, ipv6] = await Promise.all([programs.saved(4), programs.saved(6)]);
  return { backend, programs, rules: [...(ipv4 ? [[4, ipv4] as const] : []), ...(ipv6 ? [[6, ipv6] as const] : [])] };
}

/** Makes sure that the programs which are used still work. @throws {KrunError} `InterceptionFailed` */
export function requireRules({ programs, rules }: SeenRules): void {
  if (rules[0]?.[0] === 4) return;
  const reason = `${iptablesProgram(programs.suffix, 4, "save")} does not work any more`;
  throw interceptionError("InterceptionFailed", { reason, hint: "start krun again" });
}

/**
 * Refuses chains of Istio that are there: istio-iptables would fail over them, or take them for its own.
 *
 * @throws {KrunError} `InterceptionConflict`
 */
export function refuseIstio({ programs: { suffix }, rules }: SeenRules): void {
  for (const [family, saved] of rules) {
    const chains = istioChains(saved);
    if (chains.length === 0) continue;
    const program = iptablesProgram(suffix, family, "change");
    const steps = removalSteps(saved, { chain: (name) => isIstioChain(name) || isMark(name) });
    const others = saved.chains.some(({ chain }) => isMark(chain));
    throw interceptionError("InterceptionConflict", {
      reason:
        `${program} has chains of ${others ? "another krun, which runs" : "an Istio that this krun did not make"}: ` +
        [...new Set(chains.map(({ table, chain }) => `${table} ${chain}`))].join(", "),
      hint: others
        ? "stop that krun; the lines below remove them by hand"
        : "remove them if nothing needs them, with the lines below",
      details: steps.map(({ table, args }) => `${program} -t ${table} ${args}`).join("\n"),
    });
  }
}
