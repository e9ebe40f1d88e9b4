/** Mode proxy: an ordinary user's programs in the mesh, without a captured packet. */
import assert from "node:assert/strict";
import { loadYamlParser } from "../../src/kube/yaml_documents.ts";
import { waitFor } from "../wait.ts";
import type { KubeObject } from "./api_server.ts";
import { callsIn, environOf, MeshLab, ORDINARY, PEER_CALLS, type WorkloadOptions } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

const WEB = "web.shop.svc.cluster.local";

/** Service `web`: HTTP, HTTP/2, gRPC and TCP, on ports of Envoy. Gives its cluster IP. */
async function shopWithWeb(lab: MeshLab): Promise<string> {
  const ports = [
    { name: "http", port: 80, targetPort: 18080 },
    { name: "http2", port: 8181, targetPort: 18081 },
    { name: "grpc", port: 7070, targetPort: 17071 },
    { name: "tcp", port: 9000, targetPort: 18090 },
  ];
  const service = await lab.apply("Service", "web", { spec: { selector: { app: "web" }, ports } });
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  const principals = ["cluster.local/ns/shop/sa/client"];
  await lab.apply("AuthorizationPolicy", "web", {
    spec: { selector: { matchLabels: { app: "web" } }, rules: [{ from: [{ source: { principals } }] }] },
  });
  return (service.spec as { clusterIP: string }).clusterIP;
}

const SERVER: WorkloadOptions = {
  name: "web",
  args: [
    ...["echo-server", "--port", "8080", "--port", "8081", "--grpc", "7071", "--tcp", "8090"],
    ...["8080", "8081", "7071", "8090"].flatMap((port) => ["--bind-localhost", port]),
  ],
  env: {
    ...{ PORT: "8080", PORT_http2: "8081", PORT_grpc: "7071", PORT_tcp: "8090" },
    DB_PASSWORD: "s3cr3t-0f-the-program",
  },
  uid: ORDINARY,
};

interface Report {
  readonly findings: readonly { readonly what: string; readonly value: string; readonly because: string }[];
  readonly warnings: readonly string[];
  readonly details: readonly string[];
}

async function checkOf(lab: MeshLab, host: MeshHost): Promise<{ code: number; report: Report }> {
  await using workload = await lab.workload(host, { ...SERVER, args: ["--check=json", ...SERVER.args] });
  const { code, stdout } = await workload.krun.end;
  return { code, report: JSON.parse(stdout) };
}

Deno.test("krun brings an ordinary user's programs into the mesh by HTTP_PROXY and local ports", async (t) => {
  await using lab = await MeshLab.create({ runtime: "2.9" });
  const clusterIp = await shopWithWeb(lab);
  const [host, clientHost] = [await lab.network.host("web"), await lab.network.host("client")];

  await t.step("--check says what would surprise, and prints the objects that make the workload callable", async () => {
    const { code, report } = await checkOf(lab, host);
    assert.equal(code, 0);
    const found = Object.fromEntries(report.findings.map(({ what, value, because }) => [what, `${value}: ${because}`]));
    assert.equal(found["mesh"], `${lab.istiod.discoveryAddress}: XDS_ADDR`);
    assert.equal(found["mesh mode"], "proxy: krun is not root");
    assert.equal(found["trust domain"], "cluster.local: the mesh's configuration");
    assert.match(found["WorkloadGroup"]!, /^none: /);
    assert.ok(report.warnings.some((warning) => warning.includes("503")), "of other hosts");
    assert.ok(report.warnings.some((warning) => warning.includes("WorkloadGroup")));
    assert.ok(report.warnings.some((warning) => warning.includes("Sidecar")));
    const objects = (await loadYamlParser())(report.details.join("---\n")).map(({ value }) => value as KubeObject);
    assert.deepEqual(objects.map(({ kind }) => kind), ["WorkloadGroup", "Sidecar"]);
    for (const object of objects) await lab.server.create(object);
    const after = await checkOf(lab, host);
    assert.deepEqual(after.report.details, []);
    assert.equal(after.report.warnings.length, 1);
  });

  await using web = await lab.workload(host, SERVER);
  await web.krun.sees("stderr", /program started/);
  assert.match(web.krun.stderr, /info hbone endpoint listens port=15008 identity=\S+\/sa\/web/);
  await lab.network.accepts(host, 8080, 8081, 7071, 8090);
  await web.callable();
  const client = async (on: MeshHost, name: string, args: readonly string[]) => {
    await using workload = await lab.workload(on, { name, args, uid: ORDINARY });
    const { code, stdout, stderr } = await workload.krun.end;
    assert.equal(code, 0, stderr);
    return stdout;
  };

  await t.step("HTTP, by full, shorter and short name, and TCP, by a port of the loopback", async () => {
    const urls = [`http://${WEB}/`, "http://web.shop:80/x", "http://web/", "tcp://127.0.0.1:9000"];
    const calls = callsIn(await client(clientHost, "client", [...PEER_CALLS, ...urls]));
    assert.deepEqual(calls.map(({ status }) => status), [200, 200, 200, undefined], JSON.stringify(calls));
    for (const { body } of calls.slice(0, 3)) {
      assert.match(body!, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/, "the program sees who calls");
    }
    assert.match(calls[3]!.body!, /Proto=TCP/);
  });

  await t.step("HTTP by cluster IP", async () => {
    const [call] = callsIn(await client(clientHost, "client", [...PEER_CALLS, `http://${clusterIp}/`]));
    assert.equal(call!.status, 200, JSON.stringify(call));
    assert.match(call!.body!, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/);
  });

  await t.step("gRPC and HTTP/2 by a port of the loopback, with the Service's name as authority", async () => {
    const host = `Host: ${WEB}`;
    const grpc = await client(clientHost, "client", [
      "echo-client",
      "grpc://127.0.0.1:7070",
      "-H",
      host,
      "--count",
      "2",
    ]);
    assert.match(grpc, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/);
    assert.match(grpc, /Proto=GRPC/);
    assert.match(grpc, /All 2 requests succeeded/);
    const http2 = await client(clientHost, "client", ["echo-client", "--http2", "http://127.0.0.1:8181/", "-H", host]);
    assert.match(http2, /Proto=HTTP\/2/);
    assert.match(http2, /StatusCode=200/);
    await using nameless = await lab.workload(clientHost, {
      name: "client",
      args: ["echo-client", "grpc://127.0.0.1:7070"],
      uid: ORDINARY,
    });
    const { code, stdout } = await nameless.krun.end;
    assert.equal(code, 1, "the control: the address alone says no Service");
    assert.match(stdout, /Unavailable/);
  });

  await t.step("another identity is denied", async () => {
    const [http, tcp] = callsIn(
      await client(clientHost, "other", [...PEER_CALLS, "http://web/", "tcp://127.0.0.1:9000"]),
    );
    assert.equal(http!.status, 403, "by the mesh's policy");
    assert.ok(tcp!.failure !== undefined || tcp!.body === "", JSON.stringify(tcp));
  });

  await t.step("plain text from outside the mesh is refused, and the program's own port is its own", async () => {
    const outside = await lab.network.host("outside");
    for (const port of [18080, 8080]) {
      const { stdout } = await lab.network.run(outside, [...PEER_CALLS, `http://${host.address}:${port}/`]);
      assert.match(callsIn(stdout)[0]!.failure ?? "", /reset|refused|closed/i);
    }
  });

  await t.step(
    "a host that the mesh does not know is answered 503 by its proxy, and one of NO_PROXY is not asked of it",
    async () => {
      const outside = `http://outside.test:${lab.server.port}/`;
      const [known] = callsIn(await client(clientHost, "client", [...PEER_CALLS, outside]));
      assert.equal(known!.status, 503);
      const spared = ["/usr/bin/env", "no_proxy=outside.test", "NO_PROXY=outside.test", ...PEER_CALLS, outside];
      const [direct] = callsIn(await client(clientHost, "client", spared));
      assert.equal(direct!.status, 400, "plain HTTP is what the API server refuses");
    },
  );

  await t.step("the program has the proxy's address, and what must not go through it", async () => {
    const env = await client(clientHost, "client", ["/usr/bin/env"]);
    assert.match(env, /^HTTP_PROXY=http:\/\/127\.0\.0\.1:15007$/m);
    assert.match(env, /^http_proxy=http:\/\/127\.0\.0\.1:15007$/m);
    assert.doesNotMatch(env, /^https_proxy=/mi);
    const [, hosts = ""] = /^NO_PROXY=(.*)$/m.exec(env) ?? [];
    for (const host of ["127.0.0.1", "localhost", "169.254.169.254", ".googleapis.com", lab.network.address]) {
      assert.ok(hosts.split(",").includes(host), `${host} in ${hosts}`);
    }
    assert.match(env, new RegExp(`^no_proxy=${hosts}$`, "m"));
    assert.doesNotMatch(env, /^(?:ISTIO_|PROXY_CONFIG|POD_NAME|TRUST_DOMAIN)/m, "nothing of the agent's");
  });

  await t.step("GATEWAY_NAME makes a gateway of the mesh, without a program", async () => {
    const edge = { number: 8088, protocol: "HTTP", name: "http" };
    await lab.apply("Gateway", "edge", {
      spec: { selector: { istio: "edge" }, servers: [{ port: edge, hosts: ["*"] }] },
    });
    await lab.apply("VirtualService", "edge", {
      spec: {
        hosts: ["*"],
        gateways: ["edge"],
        http: [{ route: [{ destination: { host: WEB, port: { number: 80 } } }] }],
      },
    });
    const edgeHost = await lab.network.host("edge");
    await using gateway = await lab.workload(edgeHost, {
      name: "client",
      args: [],
      env: { GATEWAY_NAME: "edge" },
      uid: ORDINARY,
    });
    await gateway.krun.sees("stderr", /program started/);
    await waitFor("the gateway's route", async () => {
      const { stdout } = await lab.network.run(edgeHost, [...PEER_CALLS, `http://${edgeHost.address}:8088/`]);
      return callsIn(stdout)[0]?.status === 200;
    }, { pauseMs: 250 });
    gateway.krun.kill("SIGTERM");
    const { code, stderr } = await gateway.krun.end;
    assert.equal(code, 0, stderr);
  });

  await t.step("a second proxy on a machine has other ports", async () => {
    const args = ["/bin/sh", "-c", 'echo "$HTTP_PROXY"; exec "$@" http://web/', "sh", ...PEER_CALLS];
    await using second = await lab.workload(host, { name: "client", args, uid: ORDINARY });
    const { stdout, stderr } = await second.krun.end;
    assert.match(stdout, /^http:\/\/127\.0\.0\.1:15107$/m, stderr);
    assert.equal(callsIn(stdout)[0]!.status, 200, stdout);
  });

  await t.step("a Service on the program's own port is warned of", async () => {
    const spec = { selector: { app: "other" }, ports: [{ name: "tcp", port: 7000 }] };
    await lab.apply("Service", "other", { spec });
    await using workload = await lab.workload(clientHost, {
      name: "client",
      args: ["/bin/true"],
      env: { PORT: "7000" },
      uid: ORDINARY,
    });
    const { stderr } = await workload.krun.end;
    assert.match(stderr, /warn the program cannot listen on its port: .* address=127\.0\.0\.1:7000 hint=.*Sidecar/);
  });

  await t.step("agent and Envoy have nothing of the program's environment, nor the API server's address", () => {
    for (const name of ["pilot-agent", "envoy"] as const) {
      const env = environOf(web.pid(name));
      assert.ok(env.includes("POD_NAMESPACE=shop"), env.join("\n"));
      for (const never of ["DB_PASSWORD", "KUBERNETES_SERVICE_HOST", "KUBECONFIG", "HOME", "PORT", "http_proxy"]) {
        assert.ok(!env.some((entry) => entry.startsWith(`${never}=`)), `${name} has ${never}`);
      }
    }
  });
});
