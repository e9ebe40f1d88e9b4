/** What `--check` tries of a mesh, and the order of a start that is refused something: nothing is changed for it. */
import assert from "node:assert/strict";
import { MeshLab, ORDINARY, RULES, type WorkloadOptions } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

const PEER = new URL("../programs/net_peer.py", import.meta.url).pathname;

Deno.test("krun --check tries what a start in the mesh needs, and says each thing once", async (t) => {
  await using lab = await MeshLab.create();
  const host = await lab.network.host("web");
  const run = async (options: Partial<WorkloadOptions> = {}, on: MeshHost = host) => {
    await using web = await lab.workload(on, { name: "web", args: ["--check", "--", "/bin/true"], ...options });
    const { code, stdout, stderr } = await web.krun.end;
    return { code, said: stdout + stderr };
  };
  const { address } = lab.network;

  await t.step("the control plane answers", async () => {
    const { code, said } = await run();
    assert.equal(code, 0, said);
    assert.match(said, /control plane +answers +TLS, a certificate for .*istiod\.istio-system\.svc/);
  });

  await t.step("nobody listens there", async () => {
    const { code, said } = await run({ env: { XDS_ADDR: `${address}:9` } });
    assert.equal(code, 1, said);
    assert.match(said, /control plane +not reached +connection refused/);
    assert.match(said, /Cannot join the mesh at \S+:9 \(XDS_ADDR\): connection refused; check XDS_ADDR/);
    const optional = await run({ env: { XDS_ADDR: `${address}:9`, MESH_OPTIONAL: "true" } });
    assert.equal(optional.code, 0, optional.said);
  });

  await t.step("another server is there, whose certificate is named, also at a start", async () => {
    const env = { XDS_ADDR: `${address}:${lab.server.port}`, MESH_START_TIMEOUT: "5s" };
    const { code, said } = await run({ env });
    assert.equal(code, 1, said);
    assert.match(
      said,
      /the server there has a certificate for .*kubernetes\.default\.svc.*, not for istiod\.istio-system\.svc/,
    );
    const start = await run({ env, args: ["/bin/true"], uid: ORDINARY });
    assert.equal(start.code, 125, start.said);
    assert.match(
      start.said,
      /\(the certificate there is for .*kubernetes\.default\.svc.*; if another server is there, correct XDS_ADDR/,
    );
  });

  await t.step("rights that lack are one Role, the mesh is unknown, and each sentence comes once", async () => {
    await lab.server.user("ann");
    const { code, said } = await run({ user: "ann" });
    assert.equal(code, 1, said);
    assert.match(said, /^ +mesh +unknown/m);
    for (const namespace of ["shop", "istio-system"]) {
      const roles = said.match(new RegExp(`^kind: Role\\nmetadata: \\{namespace: "${namespace}"`, "gm"));
      assert.equal(roles?.length, 1, said);
    }
    for (const object of ["mesh-env", "istio"]) {
      assert.equal(said.match(new RegExp(`Cannot read configmaps "istio-system/${object}"`, "g"))?.length, 1, said);
    }
    const optional = await run({ user: "ann", env: { MESH_OPTIONAL: "true", KRUN_LOG: "error" } });
    assert.match(optional.said, /^ +mesh +unknown +Cannot read configmaps "istio-system/m);
  });

  await t.step("a port of a Sidecar's egress that somebody has, in mode proxy", async () => {
    const egress = [{ port: { number: 5432, protocol: "TCP", name: "db" }, hosts: ["./*"] }];
    await lab.apply("Sidecar", "web", { spec: { egress } });
    await using holder = lab.network.start(host, ["python3", PEER, "serve", "tcp:127.0.0.1:5432:other"]);
    await holder.sees("stdout", /ready/);
    const { code, said } = await run({ env: { MESH_MODE: "proxy" } });
    assert.equal(code, 1, said);
    assert.match(said, new RegExp(`port 5432 of a Sidecar's egress is in use by process python3 \\(${holder.pid}\\)`));
    assert.equal((await run({ env: { MESH_MODE: "proxyless" } })).code, 0, "the control: there Envoy is not");
  });

  await t.step("a start that is refused its token leaves no rule", async () => {
    await lab.server.user("bob");
    await lab.server.grant(
      "shop",
      "bob",
      RULES.filter(({ resources }) => !resources.includes("serviceaccounts/token")),
    );
    const get = { apiGroups: [""], resources: ["configmaps"], verbs: ["get"] };
    await lab.server.grant("istio-system", "bob", [get]);
    const refused = await run({ user: "bob", args: ["/bin/true"] });
    assert.equal(refused.code, 125, refused.said);
    assert.match(refused.said, /may not create serviceaccounts\/token/);
    const { stdout } = await lab.network.run(host, ["iptables-nft-save"]);
    assert.doesNotMatch(stdout, /^-A|ISTIO|KRUN/m);
    const granted = await run({ args: ["/bin/true"] });
    assert.match(granted.said, /info traffic is intercepted/, "the control");
  });

  await t.step("--connect from a base without a mesh says which base that is", async () => {
    const { code, said } = await run({ runtime: "2.9", args: ["--connect", `${host.address}:22`] });
    assert.equal(code, 125, said);
    assert.match(
      said,
      /no krun in a mesh runs in base "\S+" \(MESH_BASE_DIR\).*; set MESH_BASE_DIR to the base folder of one/,
    );
    assert.doesNotMatch(said, /\.pem/);
  });
});
