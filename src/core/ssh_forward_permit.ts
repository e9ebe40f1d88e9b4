/**
 * Where a key may forward to. In: `permitopen=` and `permitlisten=`, and what a client asks for. Out: whether it may.
 *
 * Rule: sshd(8), AUTHORIZED_KEYS FILE FORMAT. Names of services (`host:http`) are not looked up.
 *
 * @module
 */
import { matchesPattern } from "./ssh_pattern.ts";
import { SshFormatError } from "./ssh_wire.ts";

/** A place that a key may forward to, or listen at. */
export interface ForwardPermit {
  /** Without brackets; `*`: any. */
  readonly host: string;
  readonly port: number | "*";
}

/** What a client asks for. */
export interface ForwardTarget {
  /** As the client wrote it. */
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, `[::1]:port`, with `*` for any. @throws {SshFormatError} where it is none */
export function parsePermitOpen(text: string): ForwardPermit {
  const [, bracketed, plain, port = ""] = /^(?:\[([^\]]*)\]|([^:/[\]]*))[:/](\*|\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const isPort = port === "*" || (Number(port) > 0 && Number(port) < 65536);
  // NI_MAXHOST of <netdb.h>
  if (host === undefined || host.length >= 1025 || !isPort) {
    throw new SshFormatError(`${JSON.stringify(text.slice(0, 64))} is no host:port`);
  }
  return { host, port: port === "*" ? "*" : Number(port) };
}

/** Reads `[host:]port`; without a host: any. @throws {SshFormatError} where it is none */
export function parsePermitListen(text: string): ForwardPermit {
  return parsePermitOpen(text.includes(":") ? text : `*:${text}`);
}

/** A permit as it is written in authorized_keys. */
export function permitText({ host, port }: ForwardPermit): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether a connection to there is permitted. The host has to be the same text, or any: no pattern, no look-up. */
export function permitsOpen(permits: readonly ForwardPermit[] | "any", { host, port }: ForwardTarget): boolean {
  return permits === "any" ||
    permits.some((permit) => fitsPort(permit, port) && (permit.host === "*" || permit.host === host));
}

/** Whether listening there is permitted. The host is a pattern, for the name in lower case. */
export function permitsListen(permits: readonly ForwardPermit[] | "any", { host, port }: ForwardTarget): boolean {
  return permits === "any" ||
    permits.some((permit) => fitsPort(permit, port) && matchesPattern(host.toLowerCase(), permit.host));
}

function fitsPort(permit: ForwardPermit, port: number): boolean {
  return permit.port === "*" || permit.port === port;
}
