/**
 * One server of the HBONE measurement, on a thread of its own: the program, the bare relay, or krun's endpoint. In: its role. Out: its
 * port.
 *
 * @module
 */
import { silentLog } from "../src/core/log.ts";
import { DescriptorBudget } from "../src/mesh/descriptor_budget.ts";
import { serveHbone } from "../src/mesh/hbone_server.ts";
import { systemClock } from "../src/pod/clock.ts";

/** What a worker is asked to be. */
export type WorkerRole =
  | { readonly kind: "program" }
  | { readonly kind: "relay"; readonly port: number }
  | { readonly kind: "hbone"; readonly port: number; readonly certificates: string };

/** First byte of a connection to the program: what comes is sent back. */
export const ECHO = 1;
/** First byte of a connection to the program: what comes is swallowed, and its end is answered with one byte. */
export const SINK = 2;

const CHUNK_BYTES = 65_536;

async function* accepted(listener: Deno.TcpListener): AsyncGenerator<Deno.TcpConn> {
  for await (const connection of listener) {
    connection.setNoDelay(true);
    yield connection;
  }
}

async function copy(from: Deno.TcpConn, to: Deno.TcpConn | undefined): Promise<void> {
  const bytes = new Uint8Array(CHUNK_BYTES);
  for (let count; (count = await from.read(bytes)) !== null;) {
    for (let at = 0; to !== undefined && at < count;) at += await to.write(bytes.subarray(at, count));
  }
}

async function beProgram(listener: Deno.TcpListener): Promise<void> {
  for await (const connection of accepted(listener)) {
    const serve = async () => {
      const mode = new Uint8Array(1);
      await connection.read(mode);
      await copy(connection, mode[0] === ECHO ? connection : undefined);
      // The sink's one word: it has everything.
      if (mode[0] === SINK) await connection.write(mode);
      connection.close();
    };
    serve().catch(() => {});
  }
}

/** The least that a relay can be: what krun's endpoint is compared with. */
async function beRelay(listener: Deno.TcpListener, port: number): Promise<void> {
  for await (const near of accepted(listener)) {
    const serve = async () => {
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      far.setNoDelay(true);
      await Promise.all([copy(near, far).then(() => far.closeWrite()), copy(far, near).then(() => near.closeWrite())]);
      near.close();
      far.close();
    };
    serve().catch(() => {});
  }
}

async function start(role: WorkerRole): Promise<number> {
  if (role.kind === "hbone") {
    const { certificates, port } = role;
    const workload = { hosts: [], ports: [port] };
    const descriptors = new DescriptorBudget(1024);
    const options = { hostname: "127.0.0.1", ports: [0], log: silentLog, clock: systemClock, descriptors };
    return (await serveHbone({ certificates, workload, ...options })).port;
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (role.kind === "program" ? beProgram(listener) : beRelay(listener, role.port));
  return listener.addr.port;
}

// The measurement itself imports the roles and modes.
if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as { onmessage: unknown; postMessage(port: number): void };
  scope.onmessage = async ({ data }: MessageEvent<WorkerRole>) => scope.postMessage(await start(data));
}
