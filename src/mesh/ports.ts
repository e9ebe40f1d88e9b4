/**
 * Ports of this network namespace: whether they are free, and who has them. In: numbers, /proc. Out: numbers, a program's name
 * for a message.
 *
 * @module
 */
import type { MeshPorts } from "../core/istio_proxy.ts";
import { parseSocketTable } from "../core/socket_table.ts";
import { describeProcess, type ProcReader, socketInodes } from "./network_namespace.ts";

/** Whether a TCP port of this network namespace can be listened on, at all addresses or at one. Needs `--allow-net`. */
export function isPortFree(port: number, hostname = "0.0.0.0"): boolean {
  try {
    Deno.listen({ hostname, port }).close();
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) return false;
    throw cause;
  }
}

/** Whether something can listen on an address: it is one of this network namespace's. Needs `--allow-net`. */
export function isOwnAddress(hostname: string): boolean {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrNotAvailable) return false;
    throw cause;
  }
}

/**
 * Ports for one more proxy on this machine: the usual ones, or if one of them is in use, all of them moved on by the same
 * number. `undefined`: there is no such number. Whoever comes in between has them all the same.
 */
export function freeMeshPorts(usual: MeshPorts): MeshPorts | undefined {
  for (let offset = 0; offset <= MOST_PROXIES * STEP; offset += STEP) {
    const moved = Object.entries(usual).map(([name, port]) => [name, port + offset] as const);
    if (moved.every(([, port]) => isPortFree(port))) return Object.fromEntries(moved) as unknown as MeshPorts;
  }
  return undefined;
}

const STEP = 100, MOST_PROXIES = 100;

/** The process that listens on a TCP port, in words; it may be one that krun cannot see. */
export function portHolder(proc: ProcReader, port: number): string {
  const sockets = ["", "6"].flatMap((version) =>
    parseSocketTable(proc.readText(`/proc/self/net/tcp${version}`) ?? "", "tcp")
  );
  const inodes = sockets.filter((socket) => socket.port === port).map(({ inode }) => inode);
  const pid = proc.list("/proc").filter((name) => /^\d+$/.test(name)).map(Number)
    .find((pid) => !new Set(inodes).isDisjointFrom(socketInodes(proc, pid)));
  return pid === undefined ? "a process that krun cannot see" : describeProcess(proc, pid);
}
