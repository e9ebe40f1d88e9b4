/**
 * The machine as a Node object would describe it. Each fact is read when a Pod asks for it, since most never do.
 *
 * @module
 */
import type { NodeFacts } from "../core/pod_inputs.ts";

/** Facts of this machine. Needs sys permission for hostname, networkInterfaces and systemMemoryInfo. */
export function nodeFacts(): NodeFacts {
  return {
    get name() {
      return Deno.hostname();
    },
    get ips() {
      const all = Deno.networkInterfaces().filter((i) => !i.address.startsWith("127.") && i.address !== "::1");
      // Link-local IPv6 addresses name nothing without their interface.
      const usable = all.filter((i) => !i.address.toLowerCase().startsWith("fe80:"));
      const first = (family: "IPv4" | "IPv6") => usable.find((i) => i.family === family)?.address;
      const ips = [first("IPv4"), first("IPv6")].filter((ip) => ip !== undefined);
      return ips.length > 0 ? ips : ["127.0.0.1"];
    },
    get allocatable() {
      return {
        cpu: String(navigator.hardwareConcurrency),
        memory: String(Deno.systemMemoryInfo().total),
        "ephemeral-storage": "0",
      };
    },
  };
}
