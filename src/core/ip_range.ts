/**
 * Ranges of addresses. In: a text such as `10.0.0.0/8`. Out: the range in canonical form, with its family.
 *
 * @module
 */
import { parseIp } from "./ip_address.ts";

/** A range of addresses. */
export interface IpRange {
  /** Address and prefix length in canonical form. */
  readonly text: string;
  readonly family: 4 | 6;
}

/** A leading zero would be octal to one reader and decimal to the next. */
const IPV4 = /^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/;

/**
 * Reads a range; `undefined` when it is none. Bits behind the prefix may be set, as everywhere else. An IPv4 address that is
 * written as IPv6 is refused: iptables has no place for it.
 *
 * Rule: istio-iptables and Istio's webhook use Go's `netip.ParsePrefix`; whatever this gives, that takes.
 */
export function parseIpRange(text: string): IpRange | undefined {
  const [, address = "", length = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  if (!address.includes(":") && !IPV4.test(address)) return undefined;
  const ip = parseIp(address);
  if (ip === undefined || (ip.family === 6) !== address.includes(":")) return undefined;
  return Number(length) <= (ip.family === 4 ? 32 : 128)
    ? { text: `${ip.text}/${length}`, family: ip.family }
    : undefined;
}
