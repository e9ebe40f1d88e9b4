/**
 * From where a key may be used. In: a list of addresses, ranges and patterns, and a peer's address. Out: whether it is in it.
 *
 * Rules: sshd(8), `from=` (with ssh_config(5), PATTERNS) and draft-miller-ssh-cert, `source-address`. krun looks up no names, as sshd
 * with its default `UseDNS no`: a host name in a list matches nobody.
 *
 * @module
 */
import { parseIp } from "./ip_address.ts";
import { matchesPattern } from "./ssh_pattern.ts";

/** A range of addresses as a number, and how many of its bits lie behind the prefix. */
interface Network {
  readonly family: 4 | 6;
  readonly value: bigint;
  readonly hostBits: bigint;
}

const IPV4 = /^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/;

/** What of `from=` cannot be read, in words; `undefined` when all of it can. */
export function addressPatternsFault(list: string): string | undefined {
  for (const item of list.split(",")) {
    const pattern = item.replace(/^!/, "");
    if (pattern === "") return "it has an empty entry";
    if (/\s/.test(pattern)) return "it has a space";
    if (hasToBeAddress(pattern) && networkOf(pattern) === undefined) return noNetwork(pattern);
  }
}

/**
 * Whether `from=` lets a peer in: one entry must match, and none that begins with `!`. A list that cannot be read lets nobody in. A peer's
 * IPv4 address counts as such also where it comes as IPv6, and a zone (`%eth0`) is left out.
 */
export function matchesAddressPatterns(list: string, peer: string): boolean {
  const address = peerAddress(peer);
  if (address === undefined || addressPatternsFault(list) !== undefined) return false;
  let isMatch = false;
  for (const item of list.split(",")) {
    const isNegated = item.startsWith("!");
    const pattern = isNegated ? item.slice(1) : item;
    const network = networkOf(pattern);
    const matches = network ? contains(network, address) : matchesPattern(address, pattern.toLowerCase());
    if (matches && isNegated) return false;
    isMatch ||= matches;
  }
  return isMatch;
}

/** What `from=` can let in at all. */
export interface AddressPatternReach {
  /** Whether any address matches an entry without `!`. */
  readonly letsIn: boolean;
  /** Entries that no address matches, as they are written: names of hosts. */
  readonly dead: readonly string[];
}

/** Whether addresses can match a list that {@linkcode addressPatternsFault} finds nothing wrong with. */
export function addressPatternReach(list: string): AddressPatternReach {
  const entries = list.split(",");
  const dead = entries.filter((item) => !mayMatch(item.replace(/^!/, "")));
  return { letsIn: entries.some((item) => !item.startsWith("!") && !dead.includes(item)), dead };
}

/** Letters behind `f`, and what has no wildcard and is no address, stand in no address. */
function mayMatch(pattern: string): boolean {
  if (networkOf(pattern) !== undefined) return true;
  return /[*?]/.test(pattern) && (/^[\d.*?]+$/.test(pattern) || /^[\da-f:*?]+$/i.test(pattern));
}

/** What of `source-address` cannot be read, in words: it takes addresses and ranges only. `undefined` when all of it can. */
export function addressListFault(list: string): string | undefined {
  const wrong = list.split(",").find((item) => networkOf(item) === undefined);
  return wrong === undefined ? undefined : noNetwork(wrong);
}

/** Whether `source-address` lets a peer in, whose address is read as in {@linkcode matchesAddressPatterns}. */
export function matchesAddressList(list: string, peer: string): boolean {
  const address = peerAddress(peer);
  if (address === undefined || addressListFault(list) !== undefined) return false;
  return list.split(",").some((item) => contains(networkOf(item)!, address));
}

/**
 * No host name is written like that. OpenSSH takes what it cannot read for a pattern that matches nobody; one that begins with `!` would
 * then keep nobody out.
 */
function hasToBeAddress(pattern: string): boolean {
  return pattern.includes("/") || (!/[*?]/.test(pattern) && (pattern.includes(":") || /^[\d.]+$/.test(pattern)));
}

function noNetwork(text: string): string {
  return `${JSON.stringify(text.slice(0, 64))} is no address, and no range whose bits behind the prefix are 0`;
}

function peerAddress(peer: string): string | undefined {
  return parseIp(peer.replace(/%.*$/s, ""))?.text;
}

/** `undefined` also where bits behind the prefix are set: OpenSSH calls that inconsistent. */
function networkOf(text: string): Network | undefined {
  const [, address = "", length] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const isIpv6 = address.includes(":");
  if (!isIpv6 && !IPV4.test(address)) return undefined;
  const ip = parseIp(address);
  if (ip === undefined || (ip.family === 6) !== isIpv6) return undefined;
  const bits = isIpv6 ? 128 : 32;
  const prefix = length === undefined ? bits : Number(length);
  if (prefix > bits) return undefined;
  const [value, hostBits] = [numberOf(ip.text), BigInt(bits - prefix)];
  return (value >> hostBits) << hostBits === value ? { family: ip.family, value, hostBits } : undefined;
}

function contains({ family, value, hostBits }: Network, address: string): boolean {
  if ((family === 6) !== address.includes(":")) return false;
  return numberOf(address) >> hostBits === value >> hostBits;
}

/** An address in canonical form as a number. */
function numberOf(address: string): bigint {
  if (!address.includes(":")) return joined(address.split(".").map(Number), 8n);
  const [before = "", after] = address.split("::");
  const words = (half: string) => half === "" ? [] : half.split(":").map((word) => Number.parseInt(word, 16));
  const [head, tail] = [words(before), words(after ?? "")];
  return joined([...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail], 16n);
}

function joined(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((sum, part) => sum << bits | BigInt(part), 0n);
}
