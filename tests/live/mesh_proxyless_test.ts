/** Mode proxyless: gRPC client and server, both with xDS in the program itself, talk with mTLS, and through no proxy. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { MeshLab, ORDINARY } from "./mesh_lab.ts";

const GREETER = "greeter.shop.svc.cluster.local";

/** Only whoever has the identity of service account `client` may call; and nobody without mTLS. */
async function closedShop(lab: MeshLab): Promise<void> {
  await lab.apply("Service", "greeter", {
    spec: { selector: { app: "greeter" }, ports: [{ name: "grpc", port: 7070 }] },
  });
  await lab.apply("WorkloadGroup", "greeter", {
    spec: { metadata: { labels: { app: "greeter" } }, template: { serviceAccount: "greeter" } },
  });
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  await lab.apply("DestinationRule", "greeter", {
    spec: { host: GREETER, trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } },
  });
  const principals = ["cluster.local/ns/shop/sa/client"];
  await lab.apply("AuthorizationPolicy", "greeter", {
    spec: { selector: { matchLabels: { app: "greeter" } }, rules: [{ from: [{ source: { principals } }] }] },
  });
}

Deno.test("krun makes a gRPC client and server talk by xds:/// with mTLS where there is no Envoy", async (t) => {
  // What a mesh with DNS capture tells all its proxies, of which an agent without Envoy would wait for ever.
  const defaultConfig = { proxyMetadata: { ISTIO_META_DNS_CAPTURE: "true" } };
  await using lab = await MeshLab.create({ meshConfig: { defaultConfig }, runtime: "2.9" });
  await closedShop(lab);
  const host = await lab.network.host("server");
  await using server = await lab.workload(host, {
    name: "greeter",
    args: ["echo-server", "--port", "0", "--grpc", "7070", "--xds-grpc-server", "7070"],
    env: { PORT_grpc: "7070" },
    uid: ORDINARY,
    without: ["envoy"],
  });
  await server.krun.sees("stderr", /program started/);
  assert.match(server.krun.stderr, /info hbone endpoint listens port=15008/);
  await lab.network.accepts(host, 7070);
  await server.callable();
  const call = async (name: string) => {
    const client = await lab.network.host(name);
    await using workload = await lab.workload(client, {
      name,
      args: ["echo-client", `xds:///${GREETER}:7070`, "--count", "5"],
      uid: ORDINARY,
      without: ["envoy"],
    });
    return await workload.krun.end;
  };

  await t.step("the client is answered at its first call", async () => {
    const { code, stdout, stderr } = await call("client");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /All 5 requests succeeded/);
    assert.doesNotMatch(stderr, / (?:warn|error) /, "a start without a fault says nothing of one");
  });

  await t.step(
    "another identity is refused, by what the server's own library does with the mesh's policy",
    async () => {
      const { code, stdout } = await call("stranger");
      assert.equal(code, 1);
      assert.match(stdout, /PermissionDenied/);
    },
  );

  await t.step("plain text from outside the mesh is refused", async () => {
    const outside = await lab.network.host("outside");
    const programs = await lab.programs();
    const argv = [join(programs, "echo-client"), `grpc://${host.address}:7070`, "--timeout", "3s"];
    const { code, stdout } = await lab.network.run(outside, argv);
    assert.equal(code, 1);
    assert.match(stdout, /Unavailable|connection/);
  });

  await t.step("the program's keys are for its user alone", async () => {
    const folder = join(server.base, "var/lib/istio/data");
    const key = await Deno.stat(join(folder, "key.pem"));
    assert.deepEqual([key.mode! & 0o777, key.uid], [0o600, ORDINARY]);
    const { code } = await lab.network.run(host, [
      ...["setpriv", "--reuid=1600", "--regid=1600", "--clear-groups", "cat", join(folder, "key.pem")],
    ]);
    assert.equal(code, 1, "another user of the machine");
  });

  await t.step("it is deregistered after its end, and leaves nothing", async () => {
    const entries = async () => {
      const list = await lab.server.request("/apis/networking.istio.io/v1/namespaces/shop/workloadentries");
      return (await list.json() as { items: unknown[] }).items.length;
    };
    assert.equal(await entries(), 1);
    server.krun.kill("SIGTERM");
    const { code, stderr } = await server.krun.end;
    // It listens to SIGTERM only some time after it serves.
    assert.ok([0, 143].includes(code), stderr);
    await waitFor("istiod to remove the WorkloadEntry", async () => await entries() === 0);
    assert.deepEqual([...Deno.readDirSync(server.base)].map(({ name }) => name), ["kubeconfig"]);
  });
});
