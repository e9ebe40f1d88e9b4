/**
 * What `KRUN_TUNNEL=h2c` makes of a workload's ports: where krun's front door listens, and which port behind it is the program's. In:
 * PORT, the ports that are declared. Out: numbers, with their reasons.
 *
 * A platform that ends TLS (Cloud Run) sends everything to the one port that PORT names: krun listens there, and gives the program
 * another PORT. Elsewhere krun takes a port of its own, and PORT stays the program's.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { isLoopbackIp } from "./ip_address.ts";
import type { PortSetting } from "./port_setting.ts";

/** KRUN_TUNNEL, and what PORT means with it. */
export interface TunnelSetting {
  /** The platform's PORT, where the front door listens; unset: it has a port of its own. */
  readonly platformPort?: number | undefined;
  /** KRUN_TUNNEL_ADDRESS, in canonical form. */
  readonly address?: string | undefined;
}

/** A front door. */
export interface TunnelPlan {
  /** Where it listens: the first that nothing else holds. */
  readonly ports: readonly number[];
  /** Why there. */
  readonly rule: string;
  /** The one address where it listens; unset: all. */
  readonly address?: string;
  /** Why that one. */
  readonly addressRule: string;
  /** What is behind it, on 127.0.0.1. */
  readonly program: { readonly port: number; readonly protocol: "http/1.1" | "h2c" };
  /** Why that port. */
  readonly programRule: string;
  /** Value of PORT for the program, which krun has changed. */
  readonly givenPort?: number;
}

/** A port of the program. */
export interface DeclaredPort {
  readonly name?: string | undefined;
  readonly port: number;
}

/** The original's port for its tunnel; the next one where the HBONE endpoint has that. */
const OWN_PORTS = [15009, 15010];

/** Knative's default, and what the program gets where the platform has not taken it. */
const USUAL = 8080, INSTEAD = 8081;

/** By which krun tells a program's protocol, as Istio does (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/). */
const HTTP1 = /^(?:http|grpc-web)(?:-|$)/, HTTP2 = /^(?:h2c|http2|grpc)(?:-|$)/;

/** The ports that variables declare, without the one that the platform has taken. */
export function portsBehind(tunnel: TunnelSetting | undefined, ports: readonly PortSetting[]): readonly PortSetting[] {
  return ports.filter(({ name, port }) => name !== undefined || port !== tunnel?.platformPort);
}

/** The port that the program gets where none is declared. */
export function undeclaredPort({ platformPort }: TunnelSetting): number {
  return platformPort === USUAL ? INSTEAD : USUAL;
}

/**
 * What the front door is, for a program with these ports. Of several the one named `http` is meant, then the one without a name, then
 * one whose name says HTTP/2.
 *
 * @throws {KrunError} `SettingConflict` for a program that has declared the platform's port
 */
export function tunnelPlan(tunnel: TunnelSetting, declared: readonly DeclaredPort[]): TunnelPlan {
  const { platformPort } = tunnel;
  const taken = declared.find(({ port }) => port === platformPort);
  if (taken) throw conflict(taken);
  const own = declared.find(({ name = "" }) => HTTP1.test(name)) ?? declared.find(({ name }) => name === undefined) ??
    declared.find(({ name = "" }) => HTTP2.test(name));
  const port = own?.port ?? undeclaredPort(tunnel);
  const protocol = HTTP2.test(own?.name ?? "") && !HTTP1.test(own?.name ?? "") ? "h2c" : "http/1.1";
  const isGiven = platformPort !== undefined;
  return {
    ports: isGiven ? [platformPort] : OWN_PORTS,
    rule: isGiven ? "PORT of Cloud Run" : "not on Cloud Run, where it would be PORT",
    ...tunnelAddress(tunnel),
    program: { port, protocol },
    programRule:
      (own === undefined ? "no port is declared" : own.name === undefined ? "declared" : `port ${own.name}`) +
      (isGiven ? `; the program gets it as PORT` : ""),
    ...(isGiven && { givenPort: port }),
  };
}

/** Who ends TLS on Cloud Run is another machine; elsewhere nobody else is to find a way in that asks for no TLS. */
function tunnelAddress({ platformPort, address }: TunnelSetting): Pick<TunnelPlan, "address" | "addressRule"> {
  if (address !== undefined) return { address, addressRule: "KRUN_TUNNEL_ADDRESS" };
  if (platformPort !== undefined) return { addressRule: "Cloud Run" };
  return { address: "127.0.0.1", addressRule: "not on Cloud Run, where it would be all" };
}

/** Where it listens, in words. */
export function tunnelAddressText({ address }: Pick<TunnelPlan, "address">): string {
  return address === undefined || ALL.includes(address) ? "all" : address;
}

/** Whether others than this machine reach it. */
export function isTunnelOpen({ address }: Pick<TunnelPlan, "address">): boolean {
  return address === undefined || !isLoopbackIp(address);
}

const ALL: readonly string[] = ["0.0.0.0", "::"];

function conflict({ name, port }: DeclaredPort): KrunError {
  return new KrunError(
    "SettingConflict",
    `Cannot listen for KRUN_TUNNEL on port ${port}, which is PORT: the program has declared it${
      name === undefined ? "" : ` as ${name}`
    }`,
    `declare another port for the program, as PORT_http=${port === USUAL ? INSTEAD : USUAL}`,
  );
}
