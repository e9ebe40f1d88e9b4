/**
 * Which families of IP addresses istio-iptables captures. In: the addresses of the network namespace. Out: the families, and
 * what bypasses the proxy, in words. Source: tools/common/config/config.go `getLocalIP` of Istio 1.30.3; tried for real in
 * tests/live/interception_test.ts.
 *
 * @module
 */
import { type IpAddress, parseIp } from "./ip_address.ts";

/** What is captured. */
export interface IpCapture {
  /** Empty when istio-iptables refuses to work. */
  readonly families: readonly (4 | 6)[];
  /** What is not captured and why, without a full stop; `undefined` when nothing is left out. */
  readonly leavesOut: string | undefined;
}

/** Options of {@linkcode ipCapture}. */
export interface IpCaptureOptions {
  /** Whether istio-iptables is told `--dual-stack`. */
  readonly dualStack: boolean;
}

/**
 * IPv4 is always captured, IPv6 when the first address that counts is one, or with `--dual-stack` any. The kernel lists IPv4
 * before IPv6 whatever was configured first, so the first is an IPv4 address wherever there is one.
 */
export function ipCapture(addresses: readonly string[], { dualStack }: IpCaptureOptions): IpCapture {
  const counted = addresses.flatMap((address) => parseIp(address.replace(/%.*$/, "")) ?? []).filter(counts);
  const ipv4 = counted.find(({ family }) => family === 4);
  const ipv6 = counted.find(({ family }) => family === 6);
  if (ipv4 === undefined && ipv6 === undefined) {
    return { families: [], leavesOut: "nothing is captured: no address but loopback and link-local ones is here" };
  }
  if (ipv6 === undefined) return { families: [4], leavesOut: undefined };
  if (dualStack || ipv4 === undefined) return { families: [4, 6], leavesOut: undefined };
  const reason =
    `with the IPv4 address ${ipv4.text} beside ${ipv6.text} istio-iptables leaves IPv6 out unless told dual stack`;
  return { families: [4], leavesOut: `IPv6 is not captured: ${reason}` };
}

/** Neither loopback (RFC 1122, RFC 4291) nor link-local (RFC 3927, RFC 4291) nor a multicast address. */
function counts({ family, text }: IpAddress): boolean {
  return family === 4 ? !/^(127\.|169\.254\.|224\.0\.0\.)/.test(text) : !/^(::1$|fe[89ab].:|ff.2:)/.test(text);
}
