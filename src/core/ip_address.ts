/**
 * The one spelling of an IP address. In: an address as someone wrote it. Out: the same in canonical form, and its family.
 *
 * @module
 */

/** An address in canonical form. */
export interface IpAddress {
  /** The address, as Go's `net.IP.String` prints it. */
  readonly text: string;
  /** 4 or 6; an IPv4-mapped address is of family 4. */
  readonly family: 4 | 6;
}

const IPV4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/;

/** An IPv4 address that travels as IPv6, as the URL parser prints it (RFC 4291, 2.5.5.2). */
const IPV4_MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * Reads an address; `undefined` when it is none. Leading zeros are decimal (`010.0.0.1` is `10.0.0.1`), an IPv4-mapped
 * address is its IPv4 address, and IPv6 is printed by RFC 5952. Addresses with a zone are refused.
 *
 * Rule: `ParseIPSloppy` of k8s.io/utils/net and `net.IP.String` of Go, as pkg/kubelet/kubelet_pods.go `sortPodIPs` of
 * Kubernetes v1.34 uses them.
 */
export function parseIp(text: string): IpAddress | undefined {
  const dotted = IPV4.exec(text)?.slice(1).map(Number);
  if (dotted) return dotted.every((byte) => byte <= 255) ? { text: dotted.join("."), family: 4 } : undefined;
  // The check keeps brackets, paths and zones away from the URL parser, which prints IPv6 by RFC 5952.
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !URL.canParse(`http://[${text}]`)) return undefined;
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const mapped = IPV4_MAPPED.exec(canonical)?.slice(1).map((half) => Number.parseInt(half, 16));
  if (!mapped) return { text: canonical, family: 6 };
  return { text: mapped.flatMap((half) => [half >> 8, half & 0xff]).join("."), family: 4 };
}

/**
 * At most one address of each family, the first that is there, in canonical form; `primary` says which family comes first.
 * What is no address is left out.
 *
 * Rule: pkg/kubelet/kubelet_pods.go `sortPodIPs` of Kubernetes v1.34.
 */
export function onePerFamily(addresses: readonly string[], primary: 4 | 6): string[] {
  const parsed = addresses.flatMap((address) => parseIp(address) ?? []);
  const families = primary === 4 ? [4, 6] : [6, 4];
  return families.flatMap((family) => parsed.find((ip) => ip.family === family)?.text ?? []);
}

/** Whether an address in canonical form is this machine's alone: 127.0.0.0/8, ::1. */
export function isLoopbackIp(text: string): boolean {
  return text.startsWith("127.") || text === "::1";
}
