/** `krun --connect` to an address from which nothing comes back, as that of a Service is outside a cluster. */
import assert from "node:assert/strict";
import { runKrun } from "../krun_process.ts";
import { MeshNetwork } from "./mesh_network.ts";

Deno.test("krun --connect gives up an address from which nothing comes back, and says so", async () => {
  await using network = await MeshNetwork.create();
  const host = await network.host("caller");
  const silent = host.address.replace(/\d+$/, "200");
  // Its packets leave, and nobody takes them.
  const neighbour = ["ip", "neigh", "add", silent, "lladdr", "02:00:00:00:00:01", "dev", "eth0"];
  assert.equal((await network.run(host, neighbour)).code, 0);
  const cwd = await Deno.makeTempDir();
  const { code, stderr } = await runKrun({ args: ["--connect", `https://${silent}`], under: host.under, cwd, env: {} });
  await Deno.remove(cwd, { recursive: true });
  assert.equal(code, 125);
  assert.match(stderr, /^krun: Cannot connect to https:\/\/[\d.]+: no answer within 10000 ms; check the address/m);
});
