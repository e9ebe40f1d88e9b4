/**
 * Where the debug SSH server listens. In: settings. Out: addresses, and their text.
 *
 * @module
 */
import { sshPort, type SshSettings } from "../core/ssh_settings.ts";
import { loadLibc } from "../pod/libc.ts";
import { addressText } from "./listen_address.ts";

/** Where a server of these settings listens. Whoever comes through the mesh or a tunnel comes by 127.0.0.1. */
export function sshAddresses(
  { listen, authorizedKeys }: Pick<SshSettings, "listen" | "authorizedKeys">,
): { hostname: string; port: number }[] {
  const LOOPBACK = "127.0.0.1";
  const everywhere = hasBothFamilies() ? "::" : "0.0.0.0";
  const asked = listen ?? { hostname: authorizedKeys === undefined ? LOOPBACK : everywhere, port: sshPort({}) };
  const isCovered = ["0.0.0.0", "::", LOOPBACK, "localhost"].includes(asked.hostname);
  return isCovered ? [asked] : [asked, { hostname: LOOPBACK, port: asked.port }];
}

/** Whether whoever listens on `::` is reached by IPv4 as well (ipv6(7)). */
function hasBothFamilies(): boolean {
  const isSplit = loadLibc().procText("/proc/sys/net/ipv6/bindv6only")?.trim() !== "0";
  return !isSplit && Deno.networkInterfaces().some(({ family }) => family === "IPv6");
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
