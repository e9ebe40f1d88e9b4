/**
 * The end of a listening socket of krun's. In: its port. Out: nothing more comes to it, and what has come can be accepted before it
 * is closed.
 *
 * @module
 */
import { parseSocketTable, waitingConnections } from "../core/socket_table.ts";
import { type Bytes, bytesOf, type Libc } from "./libc.ts";

const SOL_SOCKET = 1, SO_ATTACH_FILTER = 26;

/**
 * Lets no handshake begin any more at krun's own listening sockets of a TCP port; those that have begun, and what waits to be
 * accepted, are left as they are. To be closed soon: who knocks meanwhile hears nothing, tries again after a second, and is refused.
 *
 * Closing alone would reset every connection that the kernel has accepted and krun has not (net/ipv4/inet_connection_sock.c,
 * `inet_csk_listen_stop`), though its caller may have sent a request. Where the kernel cannot do this (gVisor), nothing happens.
 */
export function stopHandshakes(libc: Libc, port: number): void {
  const sockets = tables(libc).flatMap((text) => parseSocketTable(text, "tcp")).filter((socket) =>
    socket.port === port
  );
  const links = new Set(sockets.map(({ inode }) => `socket:[${inode}]`));
  for (const fd of libc.procNames("/proc/self/fd")) {
    if (!links.has(libc.procLink(`/proc/self/fd/${fd}`) ?? "")) continue;
    const program = filterProgram(libc);
    libc.call("setsockopt", Number(fd), SOL_SOCKET, SO_ATTACH_FILTER, program.bytes, program.bytes.length);
    program.instructions.fill(0); // A use after the call, so that the memory is not collected before.
  }
}

/** How many connections wait to be accepted at a TCP port of this network namespace; 0 where the kernel does not tell (gVisor). */
export function waitingToBeAccepted(libc: Libc, port: number): number {
  return tables(libc).reduce((sum, text) => sum + waitingConnections(text, port), 0);
}

function tables(libc: Libc): string[] {
  return ["tcp", "tcp6"].map((table) => libc.procText(`/proc/self/net/${table}`) ?? "");
}

/** `struct sock_fprog`: a filter that drops what begins a handshake, and passes on everything else. */
function filterProgram(libc: Libc): { readonly bytes: Bytes; readonly instructions: Bytes } {
  const LOAD_BYTE = 0x30, JUMP_IF_SET = 0x45, RETURN = 0x06;
  const FLAGS_AT = 13, SYN = 0x02, NOTHING = 0, ALL = 0xffffffff;
  const instructions = filterInstructions([
    [LOAD_BYTE, 0, 0, FLAGS_AT],
    [JUMP_IF_SET, 0, 1, SYN],
    [RETURN, 0, 0, NOTHING],
    [RETURN, 0, 0, ALL],
  ]);
  const program = new BigUint64Array(2);
  program[0] = BigInt(instructions.length / INSTRUCTION_BYTES);
  program[1] = libc.addressOf(instructions);
  return { bytes: bytesOf(program), instructions };
}

const INSTRUCTION_BYTES = 8;

/** `struct sock_filter` each: code, jump if true, jump if false, operand. */
function filterInstructions(rows: readonly (readonly [number, number, number, number])[]): Bytes {
  const bytes = bytesOf(new Uint8Array(rows.length * INSTRUCTION_BYTES));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  rows.forEach(([code, ifTrue, ifFalse, operand], row) => {
    const at = row * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, operand, true);
  });
  return bytes;
}
