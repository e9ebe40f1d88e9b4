/** Mode intercept: two programs in network namespaces of their own, which know nothing of a mesh. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { isRunning } from "../running.ts";
import { waitFor } from "../wait.ts";
import { callsIn, environOf, MeshLab, PEER_CALLS, type Workload } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

const WEB = "web.shop.svc.cluster.local";
const GRPC_STREAM = [
  Deno.execPath(),
  "run",
  "-A",
  "--quiet",
  "--no-config",
  new URL("../programs/grpc_stream.ts", import.meta.url).pathname,
];

/** Nobody calls without mTLS, and `web` only as service account `client`. */
async function closedShop(lab: MeshLab): Promise<string> {
  const ports = [
    { name: "http", port: 80, targetPort: 8080 },
    { name: "http2", port: 81, targetPort: 8081 },
    { name: "grpc", port: 7070 },
    { name: "tcp", port: 9000, targetPort: 9090 },
  ];
  const service = await lab.apply("Service", "web", { spec: { selector: { app: "web" }, ports } });
  const template = { serviceAccount: "web" };
  await lab.apply("WorkloadGroup", "web", { spec: { metadata: { labels: { app: "web" } }, template } });
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  const principals = ["cluster.local/ns/shop/sa/client"];
  await lab.apply("AuthorizationPolicy", "web", {
    spec: { selector: { matchLabels: { app: "web" } }, rules: [{ from: [{ source: { principals } }] }] },
  });
  return (service.spec as { clusterIP: string }).clusterIP;
}

/** The rules of a host's network namespace, and the addresses of its loopback. */
async function networkOf(lab: MeshLab, host: MeshHost): Promise<string> {
  const parts = [["iptables-nft-save"], ["ip6tables-nft-save"], ["nft", "list", "ruleset"], [
    "ip",
    "address",
    "show",
    "lo",
  ]];
  const texts = await Promise.all(parts.map(async (argv) => (await lab.network.run(host, argv)).stdout));
  return texts.join("\n").replaceAll(/^#.*\n|\[\d+:\d+\]|(?<=counter )packets \d+ bytes \d+ /gm, "");
}

Deno.test("krun brings programs that know nothing of it into the mesh, in network namespaces of their own", async (t) => {
  await using lab = await MeshLab.create({ runtime: "2.9" });
  const clusterIp = await closedShop(lab);
  const [host, clientHost] = [await lab.network.host("web"), await lab.network.host("client")];
  const before = await networkOf(lab, host);
  const server = {
    name: "web",
    args: ["echo-server", "--port", "8080", "--port", "8081", "--grpc", "7070", "--tcp", "9090"],
    env: {
      PORT: "8080",
      PORT_http2: "8081",
      PORT_grpc: "7070",
      PORT_tcp: "9090",
      DB_PASSWORD: "s3cr3t-0f-the-program",
      KRUN_RUN_AS: "3000",
    },
  };
  await using web = await lab.workload(host, server);
  await web.krun.sees("stderr", /program started/);
  assert.match(web.krun.stderr, /info hbone endpoint listens port=15008 identity=\S+\/sa\/web/);
  await lab.network.accepts(host, 8080, 8081, 7070, 9090);
  await web.callable();

  const client = async (name: string, args: readonly string[]) => {
    await using workload = await lab.workload(clientHost, { name, args, env: { DENO_DIR: "/tmp/krun-mesh-deno" } });
    const { code, stdout, stderr } = await workload.krun.end;
    return { code, stdout, stderr };
  };
  const call = async (name: string, ...urls: string[]) => {
    const { code, stdout, stderr } = await client(name, [...PEER_CALLS, ...urls]);
    assert.equal(code, 0, stderr);
    return callsIn(stdout);
  };

  await t.step("by cluster IP, by full, shorter and short name, and TCP", async () => {
    const names = [clusterIp, WEB, "web.shop.svc", "web.shop", "web"];
    const calls = await call("client", ...names.map((name) => `http://${name}/`), "tcp://web:9000");
    assert.deepEqual(calls.slice(0, -1).map(({ status }) => status), names.map(() => 200), JSON.stringify(calls));
    for (const { body } of calls.slice(0, -1)) {
      assert.match(body!, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/, "the program sees who calls");
    }
    assert.match(calls.at(-1)!.body!, /Proto=TCP/);
  });

  await t.step("HTTP/2, gRPC, and a gRPC stream in both directions", async () => {
    const http2 = await client("client", ["echo-client", "--http2", `http://${WEB}:81/`]);
    assert.match(http2.stdout, /Proto=HTTP\/2/);
    assert.match(http2.stdout, /StatusCode=200/);
    const grpc = await client("client", ["echo-client", `grpc://${WEB}:7070`, "--count", "3"]);
    assert.match(grpc.stdout, /All 3 requests succeeded/);
    const stream = await client("client", [...GRPC_STREAM, `${WEB}:7070`]);
    assert.equal(stream.stdout, "answer true\nanswer true\nstatus 0\n");
  });

  await t.step("another identity is denied", async () => {
    const [http, tcp] = await call("other", "http://web/", "tcp://web:9000");
    assert.equal(http!.status, 403);
    assert.ok(tcp!.failure !== undefined || tcp!.body === "", JSON.stringify(tcp));
  });

  await t.step("plain text from outside the mesh is refused", async () => {
    const outside = await lab.network.host("outside");
    for (const port of [8080, 9090]) {
      const scheme = port === 8080 ? "http" : "tcp";
      const { stdout } = await lab.network.run(outside, [...PEER_CALLS, `${scheme}://${host.address}:${port}/`]);
      const [plain] = callsIn(stdout);
      assert.ok(plain!.failure !== undefined || plain!.body === "", stdout);
    }
  });

  await t.step("a host outside the mesh is reached, its name resolved by the machine's resolver", async () => {
    const [plain] = await call("client", `http://outside.test:${lab.server.port}/`);
    assert.equal(plain!.status, 400, "plain HTTP is what the API server refuses");
  });

  await t.step(
    "the program has neither the proxy's user and group nor its variables, agent and Envoy not the program's",
    async () => {
      const { stdout } = await client("client", [
        "/bin/sh",
        "-c",
        "id -u; id -g; id -G; env; touch made; stat -c %u:%g made",
      ]);
      const [uid, gid, groups, ...rest] = stdout.split("\n");
      assert.deepEqual([uid, gid, groups, rest.at(-2)], ["0", "0", "0", "0:0"]);
      assert.ok(
        !rest.some((line) => /^(?:ISTIO_|PROXY_CONFIG|POD_NAME|TRUST_DOMAIN|HTTP_PROXY|http_proxy)/.test(line)),
      );
      for (const name of ["pilot-agent", "envoy"] as const) {
        const env = environOf(web.pid(name));
        assert.ok(env.includes("ISTIO_META_DNS_CAPTURE=true"), env.join("\n"));
        for (const never of ["DB_PASSWORD", "KUBERNETES_SERVICE_HOST", "KUBECONFIG", "HOME", "PORT"]) {
          assert.ok(!env.some((entry) => entry.startsWith(`${never}=`)), `${name} has ${never}`);
        }
        const status = Deno.readTextFileSync(`/proc/${web.pid(name)}/status`);
        assert.match(status, /^Uid:\t1337\t1337\t1337\t1337$/m);
        assert.match(status, /^Gid:\t1337\t1337\t1337\t1337$/m);
      }
    },
  );

  await t.step("the agent's token and sockets are for the proxy's user alone", async () => {
    for (const path of ["var/run/secrets/tokens/istio-token", "var/run/secrets/workload-spiffe-uds/socket"]) {
      const file = join(web.base, path);
      const as = (id: number) =>
        lab.network.run(host, ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups", "test", "-r", file]);
      assert.equal((await as(1337)).code, 0, path);
      assert.equal((await as(3000)).code, 1, `${path}, by the program's user`);
    }
  });

  await t.step("krun leaves the network as it was", async () => {
    web.krun.kill("SIGTERM");
    await web.krun.end;
    assert.equal(await networkOf(lab, host), before);
    assert.deepEqual([...Deno.readDirSync(web.base)].map(({ name }) => name), ["kubeconfig"]);
  });

  await t.step("so does the next start after kill -9", async () => {
    await using killed = await lab.workload(host, server);
    await killed.krun.sees("stderr", /program started/);
    await killed.krun.murder();
    assert.match(await networkOf(lab, host), /ISTIO_OUTPUT/, "it could not");
    await using next = await lab.workload(host, { ...server, base: killed.base, args: ["/bin/true"] });
    const { code, stderr } = await next.krun.end;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /info traffic is intercepted scope=own/, `what the killed one left is nobody else: ${stderr}`);
    assert.equal(await networkOf(lab, host), before);
  });

  await t.step("and one with another base folder, which ends what of it still runs", async () => {
    await using killed = await lab.workload(host, server);
    await killed.krun.sees("stderr", /program started/);
    const left = [killed.pid("pilot-agent"), killed.pid("envoy")];
    await killed.krun.murder();
    await using next = await lab.workload(host, { ...server, args: ["/bin/true"] });
    const { code, stderr } = await next.krun.end;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /warn taking back what a killed krun of another base folder has left/);
    assert.match(stderr, /info traffic is intercepted scope=own/, `what the killed one left is nobody else: ${stderr}`);
    assert.equal(await networkOf(lab, host), before);
    assert.deepEqual(left.map(isRunning), [false, false], stderr);
  });

  await t.step("but nobody touches those of a krun that runs, or of an Istio", async () => {
    await using running = await lab.workload(host, server);
    await running.krun.sees("stderr", /program started/);
    const rules = await networkOf(lab, host);
    const proxy = [running.pid("pilot-agent"), running.pid("envoy")];
    const refused = async () => {
      const env = { ...server.env, MESH_MODE: "intercept", KRUN_RUN_AS: "3001" };
      await using other = await lab.workload(host, { ...server, env, args: ["/bin/true"] });
      const { code, stderr } = await other.krun.end;
      assert.equal(code, 125, stderr);
      return stderr;
    };
    assert.match(await refused(), /krun: Cannot intercept traffic: port 15001 of the proxy is in use by process envoy/);
    assert.equal(await networkOf(lab, host), rules);
    assert.deepEqual([running.pid("pilot-agent"), running.pid("envoy")], proxy);
    running.krun.kill("SIGTERM");
    await running.krun.end;
    const { code } = await lab.network.run(host, ["iptables-nft", "-t", "nat", "-N", "ISTIO_OUTPUT"]);
    assert.equal(code, 0);
    const istios = await networkOf(lab, host);
    assert.match(await refused(), /has chains of an Istio that this krun did not make: nat ISTIO_OUTPUT; remove them/);
    assert.equal(await networkOf(lab, host), istios);
  });
});

Deno.test("krun's own calls are not captured, and its program's are", async () => {
  await using lab = await MeshLab.create({ names: ["DNS:outside.test"] });
  const host = await lab.network.host("client");
  await lab.apply("ConfigMap", "app", { data: { level: "1" } });
  await using client: Workload = await lab.workload(host, {
    name: "client",
    args: ["/bin/sh", "-c", "while :; do cat app/level; sleep 0.1; done"],
    env: { K8S_CM_app: "./app" },
    apiServer: `https://outside.test:${lab.server.port}`,
  });
  await client.krun.sees("stdout", /^1/);
  // A proxy that hears nothing and says nothing.
  const proxy = [client.pid("envoy"), client.pid("pilot-agent")];
  for (const pid of proxy) Deno.kill(pid, "SIGSTOP");
  using _ = { [Symbol.dispose]: () => proxy.forEach((pid) => Deno.kill(pid, "SIGCONT")) };
  const { stdout } = await lab.network.run(host, [
    "timeout",
    "2",
    ...PEER_CALLS,
    `http://${lab.network.address}:${lab.server.port}/`,
  ]);
  assert.equal(stdout, "", "somebody else's call gets stuck in the proxy");
  await lab.server.stopServer();
  await lab.server.startServer();
  await lab.apply("ConfigMap", "app", { data: { level: "2" } });
  await waitFor("krun's watch to come back, its API server's name resolved", () => /2$/.test(client.krun.stdout));
});
