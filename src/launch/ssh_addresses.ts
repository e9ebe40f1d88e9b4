/**
 * Where the debug SSH server listens. In: settings. Out: addresses, and their text.
 *
 * @module
 */
import { parseIp } from "../core/ip_address.ts";
import { sshPort, type SshSettings } from "../core/ssh_settings.ts";
import { loadLibc } from "../pod/libc.ts";
import { addressText } from "./listen_address.ts";

/** What a listener on `::` reaches on this machine. */
export interface IpFamilies {
  readonly hasIpv6: boolean;
  /** Who listens on `::` is not reached by IPv4 (ipv6(7), bindv6only). */
  readonly isSplit: boolean;
}

const LOOPBACK = "127.0.0.1", ALL_IPV4 = "0.0.0.0", ALL = "::";

/**
 * Where a server of these settings listens: where it is asked to, and at 127.0.0.1 in any case, by which whoever comes through the mesh
 * or a tunnel comes. Two of them may be one, where the first is a name: it is for the listener to see.
 */
export function sshAddresses(
  { listen, authorizedKeys }: Pick<SshSettings, "listen" | "authorizedKeys">,
  families: IpFamilies = machineFamilies(),
): { hostname: string; port: number }[] {
  const everywhere = families.hasIpv6 ? ALL : ALL_IPV4;
  const asked = listen?.hostname ?? (authorizedKeys === undefined ? LOOPBACK : everywhere);
  const hostname = parseIp(asked)?.text ?? asked;
  const others = hostname === ALL_IPV4 || hostname === LOOPBACK || (hostname === ALL && !families.isSplit)
    ? []
    : [hostname === ALL && listen === undefined ? ALL_IPV4 : LOOPBACK];
  const port = listen?.port ?? sshPort({});
  return [hostname, ...others].map((hostname) => ({ hostname, port }));
}

function machineFamilies(): IpFamilies {
  const isSplit = loadLibc().procText("/proc/sys/net/ipv6/bindv6only")?.trim() !== "0";
  return { isSplit, hasIpv6: Deno.networkInterfaces().some(({ family }) => family === "IPv6") };
}

/** Addresses as a person writes them. */
export function addressesText(addresses: readonly { readonly hostname: string; readonly port: number }[]): string {
  return addresses.map(addressText).join();
}

/** What to do where the server cannot listen; `undefined`: it is no matter of the address. */
export function sshAddressHint(cause: unknown): string | undefined {
  if (cause instanceof Deno.errors.AddrInUse) return "end what has it, or set KRUN_SSH to a port that is free";
  if (cause instanceof Deno.errors.AddrNotAvailable) return "set KRUN_SSH to an address of this machine";
  if (cause instanceof Deno.errors.PermissionDenied) return "set KRUN_SSH to a port that krun may have, from 1024 on";
  if (cause instanceof URIError || isUnknownName(cause)) {
    return "set KRUN_SSH to an address of this machine, as 127.0.0.1:15022, or 0.0.0.0:15022 for all of them";
  }
  return undefined;
}

/** Deno has no class for what getaddrinfo(3) says. */
function isUnknownName(cause: unknown): boolean {
  return cause instanceof Error && cause.message.startsWith("failed to lookup address information");
}
