/** A stop under load, for a workload with KRUN_TUNNEL: whoever was let in is served, by keep-alive and new connections of both protocols. */
import assert from "node:assert/strict";
import { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";
import { Http2Load } from "./http2_load.ts";
import { MESH_LOAD, MESH_SERVER, totalsOf } from "./mesh_load.ts";
import { type MeshHost, MeshNetwork } from "./mesh_network.ts";

const STOPS = 24;
/** Answers that each kind of client has before the stop. */
const ENOUGH = 20;

interface Stop {
  readonly code: number;
  readonly stderr: string;
  readonly seen: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

async function stopUnderLoad(
  { host, folder }: { host: MeshHost; folder: string },
): Promise<Stop> {
  const env = { KRUN_TUNNEL: "h2c", KRUN_TUNNEL_ADDRESS: host.address, PORT: "8080", CLUSTER_NAME: "-" };
  await using krun = new KrunProcess({
    args: [...MESH_SERVER, "8080", "9090"],
    under: host.under,
    cwd: folder,
    env,
  });
  await krun.sees("stderr", /tunnel listens/);
  // Before that it is not there, which is no matter of its end.
  await krun.sees("stdout", /listening/);
  const origin = `http://${host.address}:15009`;
  // So many that one of them meets the very moment.
  const clients = Array.from({ length: 4 }, (_, number) => [`new:${origin}/${number}`, `kept:${origin}/${number}`]);
  await using http1 = new KrunProcess({ args: [], argv: [...MESH_LOAD, ...clients.flat()], cwd: "/" });
  const http2 = new Http2Load(origin, 6);
  await http1.sees("stdout", /loading/);
  await waitFor("answers by HTTP/2", () => http2.count("200") >= ENOUGH);
  krun.kill("SIGTERM");
  const { code, stderr } = await krun.end;
  http1.kill("SIGTERM");
  const [{ stdout }, byHttp2] = await Promise.all([http1.end, http2.end()]);
  return { code, stderr, seen: { ...totalsOf(stdout), "HTTP/2": byHttp2 } };
}

Deno.test(`${STOPS} stops under load lose no request that KRUN_TUNNEL has let in`, async () => {
  await using network = await MeshNetwork.create();
  await using workspace = await Workspace.create();
  const host = await network.host("web");
  for (let i = 0; i < STOPS; i++) {
    const { code, stderr, seen } = await stopUnderLoad({ host, folder: workspace.root });
    for (const [client, outcomes] of Object.entries(seen)) {
      const { 200: answered = 0, refused: _, "not begun": _unseen, ...others } = outcomes;
      const words = `stop ${i + 1}, ${client}: ${JSON.stringify(outcomes)}\n${stderr}`;
      assert.deepEqual([others, answered > 0], [{}, true], words);
    }
    assert.equal(code, 0, stderr);
  }
});
