/**
 * Who has a port. In: /proc. Out: a program's name, for a message.
 *
 * @module
 */
import { parseSocketTable } from "../core/socket_table.ts";
import { describeProcess, type ProcReader, socketInodes } from "./network_namespace.ts";

/** Whether a TCP port of this network namespace can be listened on at all addresses. Needs `--allow-net`. */
export function isPortFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "0.0.0.0", port }).close();
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) return false;
    throw cause;
  }
}

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
