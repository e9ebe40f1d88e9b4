/**
 * A workload with both ways in, in a process of its own, for what could end that. Its program echoes, floods, ends early or resets. In:
 * `naive` as an argument for a server of node:http2 as it is. Out: a line of JSON with ports and PEMs.
 *
 * @module
 */
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { silentLog } from "../../src/core/log.ts";
import { DescriptorBudget } from "../../src/mesh/descriptor_budget.ts";
import { serveTunnel } from "../../src/mesh/tunnel_server.ts";
import { MeshRig, workloadId } from "../mesh_rig.ts";
import { TcpProgram } from "../tcp_program.ts";

/** What the process prints. */
export interface WaysIn {
  /** Of HBONE; the naive server has none. */
  readonly hbone: number;
  readonly tunnel: number;
  readonly program: number;
  readonly rootPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

async function naive(): Promise<void> {
  const server = http2.createServer();
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.on("error", () => {});
    if (!stream.destroyed) stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  console.log(JSON.stringify({ tunnel: (server.address() as AddressInfo).port }));
}

async function serve(): Promise<void> {
  let count = 0;
  const program = await TcpProgram.start((socket) => {
    const kind = count++ % 6;
    if (kind < 2) socket.pipe(socket);
    else if (kind === 2) socket.resetAndDestroy();
    else if (kind === 3) socket.end("bye");
    else if (kind === 4) socket.resume().end(new Uint8Array(300_000));
    else socket.resume().once("data", () => socket.resetAndDestroy());
  });
  const descriptors = new DescriptorBudget(512);
  const rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] }, descriptors });
  const tunnel = await serveTunnel({
    ...{ hostname: "127.0.0.1", ports: [0], log: silentLog, descriptors },
    program: { port: program.port, protocol: "h2c" },
    sshPort: program.port,
  });
  const { certPem, keyPem } = rig.authority.issue({ uris: [workloadId("client")] });
  const ports = { hbone: rig.server.port, tunnel: tunnel.port, program: program.port };
  console.log(JSON.stringify({ ...ports, rootPem: rig.authority.pem, certPem, keyPem } satisfies WaysIn));
}

if (import.meta.main) await (Deno.args[0] === "naive" ? naive() : serve());
