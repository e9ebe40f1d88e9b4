/**
 * What a peer may reach through krun. In: the authority of a CONNECT request, or the path of a tunnel, as a stranger wrote it.
 * Out: a port of 127.0.0.1, or the HTTP status and the reason of a refusal.
 *
 * krun is no general proxy: whatever host is named must be this workload, the connection always goes to 127.0.0.1, and only to
 * a port that the workload declares, or to its ssh server.
 *
 * @module
 */
import { parseIp } from "./ip_address.ts";
import { portNumber } from "./setting_value.ts";

/** What there is to reach. */
export interface ReachableWorkload {
  /** Addresses and names that mean this workload. Loopback ones need not be among them. */
  readonly hosts: readonly string[];
  /** Ports of the program. */
  readonly ports: readonly number[];
  /** Where the ssh server listens. @default {there is none} */
  readonly sshPort?: number | undefined;
}

/** Where a stream goes to. */
export interface ReachablePort {
  /** On 127.0.0.1. */
  readonly port: number;
}

/** Why it goes nowhere. */
export interface TargetRefusal {
  /** 400: it cannot be read; 403: another host; 404: a port that the workload has not. */
  readonly status: 400 | 403 | 404;
  /** One line for the caller. */
  readonly reason: string;
}

/** Where the workload's ssh server listens, as the original's did. */
export const SSH_PORT = 15022;

/** Ports that mean ssh. */
const SSH_PORTS = [22, SSH_PORT];

/** Paths below it are tunnels, and never reach the program. */
const TUNNEL = /^\/_hbone(?:\/([^?]*))?(?:\?.*)?$/s;

/** The port that `host:port` means; IPv6 addresses stand in brackets (RFC 9110, 9.3.6). */
export function connectTarget(authority: string, workload: ReachableWorkload): ReachablePort | TargetRefusal {
  const [, bracketed, plain, digits = ""] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@[\]]+)):(\d+)$/.exec(authority) ?? [];
  const host = bracketed ?? plain;
  const port = portNumber(digits);
  if (host === undefined || port === undefined) return { status: 400, reason: "the authority is not host:port" };
  if (!isThisWorkload(host, workload.hosts)) {
    return { status: 403, reason: "this endpoint serves its own workload only" };
  }
  return reachable(port, workload);
}

/**
 * The port that a tunnel's path means, `undefined` for a path that is no tunnel's: `/_hbone/22`, `/_hbone/15022` and
 * `/_hbone/ssh` are the ssh server, which authenticates its callers; nothing else is reached in this way, since nobody has
 * asked the caller who they are.
 */
export function tunnelTarget(path: string, sshPort: number | undefined): ReachablePort | TargetRefusal | undefined {
  const [tunnel, name = ""] = TUNNEL.exec(path) ?? [];
  if (tunnel === undefined) return undefined;
  const isSsh = name === "ssh" || SSH_PORTS.some((port) => name === `${port}`);
  if (!isSsh) return { status: 404, reason: "only the ssh port has a tunnel: /_hbone/22" };
  return sshPort === undefined ? { status: 404, reason: "this workload has no ssh server" } : { port: sshPort };
}

function reachable(port: number, { ports, sshPort }: ReachableWorkload): ReachablePort | TargetRefusal {
  if (sshPort !== undefined && SSH_PORTS.includes(port)) return { port: sshPort };
  return ports.includes(port) ? { port } : { status: 404, reason: "this workload has no such port" };
}

function isThisWorkload(host: string, hosts: readonly string[]): boolean {
  const canonical = canonicalHost(host);
  return isLoopback(canonical) || hosts.some((own) => canonicalHost(own) === canonical);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (parseIp(host)?.family === 4 && host.startsWith("127."));
}

/** One spelling of an address, or of a name, which knows no case and may end with the root's dot (RFC 4343, RFC 1034). */
function canonicalHost(host: string): string {
  return parseIp(host)?.text ?? host.toLowerCase().replace(/\.$/, "");
}
