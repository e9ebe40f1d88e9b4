/**
 * The sockets of a network namespace that wait for others. In: the text of /proc/net/tcp, tcp6, udp and udp6. Out: listening
 * TCP sockets and UDP sockets that are bound and not connected. Source: proc_pid_net(5), net/ipv4/tcp_ipv4.c `get_openreq4`.
 *
 * The kernel prints an address as words of 32 bits in its own byte order; krun runs on little-endian machines only.
 *
 * @module
 */
import { parseIp } from "./ip_address.ts";

/** A socket that waits for others. */
export interface ListeningSocket {
  readonly protocol: "tcp" | "udp";
  /** In canonical form; an IPv4 address that an IPv6 socket is bound to is that IPv4 address. */
  readonly address: string;
  readonly port: number;
  /** User that made it. */
  readonly uid: number;
  /** What /proc/<pid>/fd/<n> shows as `socket:[<inode>]`; 0 for one that no process holds. */
  readonly inode: number;
}

/** States of include/net/tcp_states.h: TCP_LISTEN, and for UDP, which borrows them, TCP_CLOSE: not connected. */
const WAITS = { tcp: "0A", udp: "07" } as const;

/** `sl: local remote state queues timer retransmits uid timeout inode` */
const ROW =
  /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+ +(\d+) +\d+ +(\d+)/;

/** Reads one of the four tables. What is no row of one, its heading among them, is left out. */
export function parseSocketTable(text: string, protocol: "tcp" | "udp"): ListeningSocket[] {
  return text.split("\n").flatMap((line) => {
    const [, address = "", port = "", remotePort = "", state = "", uid, inode] = ROW.exec(line) ?? [];
    if (state !== WAITS[protocol] || remotePort !== "0000") return [];
    return {
      protocol,
      address: addressOf(address),
      port: Number.parseInt(port, 16),
      uid: Number(uid),
      inode: Number(inode),
    };
  });
}

function addressOf(hex: string): string {
  const bytes = [...hex.matchAll(/(..)(..)(..)(..)/g)].flatMap((word) => word.slice(1).reverse());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join(".");
  const hextets = Array.from({ length: 8 }, (_, index) => `${bytes[2 * index]}${bytes[2 * index + 1]}`);
  return parseIp(hextets.join(":"))!.text;
}

const LISTENING_ROW = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A [0-9A-F]{8}:([0-9A-F]{8}) /;

/**
 * How many connections wait to be accepted at a TCP port, in the text of /proc/net/tcp or tcp6. Of a listening socket its queue to
 * be read is that number (net/ipv4/tcp_ipv4.c, `get_tcp4_sock`).
 */
export function waitingConnections(text: string, port: number): number {
  return text.split("\n").reduce((sum, line) => {
    const [, local = "", waiting = ""] = LISTENING_ROW.exec(line) ?? [];
    return Number.parseInt(local, 16) === port ? sum + Number.parseInt(waiting, 16) : sum;
  }, 0);
}

/** One end of a connection. */
export interface ConnectedSocket {
  /** User that made it. */
  readonly uid: number;
  /** As in {@linkcode ListeningSocket}. */
  readonly inode: number;
}

const CONNECTED_ROW =
  /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+ +(\d+) +\d+ +(\d+)/;
/** TCP_ESTABLISHED, and TCP_FIN_WAIT1, TCP_FIN_WAIT2: a client that has said all it has to say still waits for the answer. */
const OPEN_STATES = ["01", "04", "05"];

/** The end of a TCP connection that has these addresses and ports, in the text of /proc/net/tcp or tcp6; `undefined`: not there. */
export function findConnection(
  text: string,
  { address, port, remoteAddress, remotePort }: {
    address: string;
    port: number;
    remoteAddress: string;
    remotePort: number;
  },
): ConnectedSocket | undefined {
  for (const line of text.split("\n")) {
    const [, local = "", localPort = "", remote = "", otherPort = "", state = "", uid, inode] =
      CONNECTED_ROW.exec(line) ?? [];
    if (!OPEN_STATES.includes(state) || Number.parseInt(localPort, 16) !== port) continue;
    if (Number.parseInt(otherPort, 16) !== remotePort) continue;
    if (addressOf(local) !== address || addressOf(remote) !== remoteAddress) continue;
    return { uid: Number(uid), inode: Number(inode) };
  }
  return undefined;
}
