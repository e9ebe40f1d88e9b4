/** A stop under load by HBONE, where no Envoy stands before the program: every stream that was let in brings its bytes there and back. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { waitFor } from "../wait.ts";
import { Caller } from "./hbone_caller.ts";
import { HboneLoad } from "./hbone_load.ts";
import { MeshLab, ORDINARY } from "./mesh_lab.ts";

const ECHO = fileURLToPath(new URL("../programs/tcp_echo.py", import.meta.url));
const STOPS = 10;
/** Streams before the stop. */
const ENOUGH = 50;

Deno.test(`${STOPS} stops of a proxyless workload under load lose no byte of a stream that HBONE has let in`, async () => {
  await using lab = await MeshLab.create();
  await using client = await Caller.start(lab, "client");
  const file = (name: string) => Deno.readTextFile(join(client.workload.base, "var/lib/istio/data", name));
  const [certPem, keyPem, rootPem] = await Promise.all(["cert-chain.pem", "key.pem", "root-cert.pem"].map(file));
  const host = await lab.network.host("web");
  for (let i = 0; i < STOPS; i++) {
    await using web = await lab.workload(host, {
      name: "web",
      args: ["python3", ECHO, "8090"],
      runtime: "2.9",
      uid: ORDINARY,
      without: ["envoy"],
      env: { PORT_tcp: "8090" },
    });
    await web.krun.sees("stdout", /ready/);
    const load = new HboneLoad({
      certificate: { certPem: certPem!, keyPem: keyPem!, der: new Uint8Array() },
      rootPem: rootPem!,
      host: host.address,
      authority: `${host.address}:8090`,
      clients: 16,
    });
    await waitFor("the load", () => load.count("whole") >= ENOUGH);
    web.krun.kill("SIGTERM");
    const { code, stderr } = await web.krun.end;
    const { whole = 0, "not begun": _, ...others } = await load.end();
    assert.deepEqual([others, whole >= ENOUGH, code], [{}, true, 0], `stop ${i + 1}\n${stderr}`);
  }
});
