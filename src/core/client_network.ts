/**
 * Whose an address is. In: a client's address. Out: the network that counts as one client.
 *
 * @module
 */
import { isLoopbackIp, parseIp } from "./ip_address.ts";

/**
 * The address, of IPv6 its /64, which is one host's; `undefined` for loopback, which many share: whoever comes through HBONE or a
 * tunnel has that one. Of what is no address, a zone left out, `undefined` too.
 */
export function clientNetwork(address: string): string | undefined {
  const ip = parseIp(address.replace(/%.*$/s, ""));
  if (!ip || isLoopbackIp(ip.text)) return undefined;
  if (ip.family === 4) return ip.text;
  const [head = "", tail] = ip.text.split("::");
  const words = (half: string) => half === "" ? [] : half.split(":");
  const zeros = tail === undefined ? 0 : 8 - words(head).length - words(tail).length;
  const all = [...words(head), ...Array<string>(zeros).fill("0"), ...words(tail ?? "")];
  return `${all.slice(0, 4).join(":")}::/64`;
}

/** Which of these clients, the oldest first, has to go for another one: the oldest of those who are most. None: -1. */
export function oldestOfMost(networks: readonly (string | undefined)[]): number {
  const counts = new Map<string | undefined, number>();
  for (const network of networks) counts.set(network, (counts.get(network) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return networks.findIndex((network) => counts.get(network) === most);
}
