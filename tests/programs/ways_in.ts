/**
 * Both ways into a workload, in a process of its own, for what could end that or stay in it. In: the ports of its programs, of TCP and
 * of HTTP/1.1; or `naive`, for a server of node:http2 as it is. Out: a line of JSON with ports and PEMs.
 *
 * @module
 */
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { silentLog } from "../../src/core/log.ts";
import { DescriptorBudget } from "../../src/mesh/descriptor_budget.ts";
import { serveTunnel } from "../../src/mesh/tunnel_server.ts";
import { MeshRig, workloadId } from "../mesh_rig.ts";

/** What the process prints. */
export interface WaysIn {
  /** Of HBONE; the naive server has none. */
  readonly hbone: number;
  readonly tunnel: number;
  /** Before a program of HTTP/1.1. */
  readonly tunnelHttp1: number;
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
  const [h2c = 0, http1 = 0] = Deno.args.map(Number);
  const descriptors = () => new DescriptorBudget(512);
  const rig = await MeshRig.start({ workload: { hosts: [], ports: [h2c] }, descriptors: descriptors() });
  const tunnels = [{ port: h2c, protocol: "h2c" }, { port: http1, protocol: "http/1.1" }] as const;
  const [tunnel, tunnelHttp1] = await Promise.all(tunnels.map((behind) =>
    serveTunnel({
      ...{ hostname: "127.0.0.1", ports: [0], log: silentLog, descriptors: descriptors() },
      program: behind,
      sshPort: h2c,
    })
  ));
  const { certPem, keyPem } = rig.authority.issue({ uris: [workloadId("client")] });
  const ports = { hbone: rig.server.port, tunnel: tunnel!.port, tunnelHttp1: tunnelHttp1!.port, program: h2c };
  console.log(JSON.stringify({ ...ports, rootPem: rig.authority.pem, certPem, keyPem } satisfies WaysIn));
}

if (import.meta.main) await (Deno.args[0] === "naive" ? naive() : serve());
