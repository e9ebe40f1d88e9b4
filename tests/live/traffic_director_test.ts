/** The files for Traffic Director, read by the programs that they are for: Envoy, and a gRPC library with xDS. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { MESH_PORTS, type MeshPorts } from "../../src/core/istio_proxy.ts";
import { trafficDirectorEnvoyBootstrap } from "../../src/core/traffic_director_envoy.ts";
import { trafficDirectorGrpcBootstrap } from "../../src/core/traffic_director_grpc.ts";
import { trafficDirectorNode, type XdsNode } from "../../src/core/traffic_director_node.ts";
import { proxyReady } from "../../src/mesh/proxy_status.ts";
import { systemClock } from "../../src/pod/clock.ts";
import { liveTool } from "../../scripts/live_tools.ts";
import { waitFor } from "../wait.ts";
import { freePort, type ServerProcess, startProcess } from "./server_process.ts";
import { startXdsServer, type XdsRequest, type XdsServer } from "./xds_server.ts";

const MESH = { projectNumber: "123456789012", mesh: "shop-mesh" };
const NODE_ID = "projects/123456789012/networks/mesh:shop-mesh/nodes/n-1";

function node(): XdsNode {
  const metadata = { name: "web", namespace: "shop", labels: { app: "web" } };
  const pod = { metadata, spec: { containers: [], serviceAccountName: "web" } };
  return trafficDirectorNode(MESH, { pod, workloadName: "web", nodeId: "n-1", ip: "192.0.2.7", agentEnv: new Map() });
}

async function envoySays(config: string): Promise<{ readonly code: number; readonly text: string }> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(file, config);
  const args = ["--mode", "validate", "--config-path", file];
  const { code, stdout, stderr } = await new Deno.Command(await liveTool("envoy"), { args }).output();
  await Deno.remove(file);
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stderr) + decoder.decode(stdout) };
}

Deno.test("trafficDirectorEnvoyBootstrap() makes what Envoy takes, as the golden files hold it", async () => {
  for (const name of ["intercept", "proxy", "gateway"]) {
    const file = new URL(`../testdata/golden/traffic_director/${name}.json`, import.meta.url);
    const { files } = JSON.parse(await Deno.readTextFile(file));
    const { code, text } = await envoySays(JSON.stringify(files["envoy.json"]));
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /deprecated/i, name);
  }
});

Deno.test("envoySays() refuses a field that Envoy does not know, as the negative control", async () => {
  const text = trafficDirectorEnvoyBootstrap({ node: node(), ports: MESH_PORTS });
  const { code } = await envoySays(text.replace("google_default", "google_defaults"));
  assert.equal(code, 1);
});

/** The two servers of a test, and a folder; all gone at its end. */
class Rig implements AsyncDisposable {
  #envoy: ServerProcess | undefined;

  private constructor(readonly folder: string, readonly server: XdsServer, readonly ports: MeshPorts) {}

  static async create(): Promise<Rig> {
    const folder = await Deno.makeTempDir({ prefix: "krun-td-" });
    const ports = { ...MESH_PORTS, admin: freePort(), ready: freePort(), prometheus: freePort() };
    return new Rig(folder, await startXdsServer(folder), ports);
  }

  /** The path of its log. */
  async startEnvoy({ certFile }: { readonly certFile?: string } = {}): Promise<string> {
    const { ports, server: { address, credentials } } = this;
    const config = join(this.folder, "envoy.json");
    await Deno.writeTextFile(config, trafficDirectorEnvoyBootstrap({ node: node(), ports, server: address }));
    const roots = certFile === undefined ? [] : [`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=${certFile}`];
    const env = [`GOOGLE_APPLICATION_CREDENTIALS=${credentials}`, ...roots];
    const argv = ["env", "-i", ...env, await liveTool("envoy"), "--config-path", config, "--disable-hot-restart"];
    this.#envoy = startProcess(argv, join(this.folder, "envoy.log"));
    return this.#envoy.log;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#envoy?.end("SIGKILL");
    await this.server[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function status(port: number, path: string): Promise<number | "refused"> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    await response.body?.cancel();
    return response.status;
  } catch {
    return "refused";
  }
}

Deno.test("trafficDirectorEnvoyBootstrap() has Envoy ask by TLS as the Google identity, and be ready with its first configuration", async () => {
  await using rig = await Rig.create();
  const { server, ports } = rig;
  await rig.startEnvoy({ certFile: server.caFile });
  const asked = (type: string) => server.requests.find((request: XdsRequest) => request.type === type);
  await waitFor("Envoy to ask for clusters", () => asked("Cluster") !== undefined);
  assert.equal(asked("Cluster")!.nodeId, NODE_ID);
  const claims = await server.claims(asked("Cluster")!.authorization!.replace("Bearer ", ""));
  assert.equal(claims?.iss, "web@p.iam.gserviceaccount.com", "signed by the key");
  assert.equal(await status(ports.ready, "/healthz/ready"), "refused", "without a configuration");

  server.release();
  const over = new AbortController();
  const late = setTimeout(() => over.abort(), 20_000);
  await proxyReady({ mode: "intercept", ports }, { over: over.signal, clock: systemClock });
  clearTimeout(late);
  assert.ok(!over.signal.aborted, "ready in time");
  assert.equal(await status(ports.ready, "/healthz/ready"), 200);
  assert.equal(await status(ports.ready, "/"), 404, "nothing but health");
  assert.equal(await status(ports.prometheus, "/stats/prometheus"), 200);
  assert.equal(await status(ports.prometheus, "/quitquitquit"), 404, "nothing but metrics");
  await waitFor("Envoy to report its load", () => [...server.paths].some((path) => path.includes("LoadReporting")));
});

Deno.test("trafficDirectorEnvoyBootstrap() has Envoy tell nothing to a server that the machine's CAs do not know", async () => {
  await using rig = await Rig.create();
  const log = await rig.startEnvoy();
  await waitFor(
    "Envoy to give up",
    async () => /gRPC config stream .*closed: 1[34]/.test(await Deno.readTextFile(log)),
  );
  assert.deepEqual([...rig.server.paths], []);
});

Deno.test("trafficDirectorGrpcBootstrap() has gRPC ask for a Mesh's listener as the Google identity", async () => {
  await using rig = await Rig.create();
  const { server, folder } = rig;
  server.release();
  const file = join(folder, "grpc.json");
  const bootstrap = trafficDirectorGrpcBootstrap(MESH, { node: node(), certificates: folder, server: server.address });
  await Deno.writeTextFile(file, bootstrap);
  const env = {
    ...{ GRPC_XDS_BOOTSTRAP: file, SSL_CERT_FILE: server.caFile },
    GOOGLE_APPLICATION_CREDENTIALS: server.credentials,
  };
  const args = ["xds:///web:8080", "--count", "1", "--timeout", "5s"];
  const client = new Deno.Command(await liveTool("echo-client"), {
    args,
    env,
    clearEnv: true,
    stdout: "null",
    stderr: "null",
  });
  await using child = client.spawn();
  const listener = () => server.requests.find(({ type }) => type === "Listener");
  await waitFor("gRPC to ask for a listener", () => listener() !== undefined);
  child.kill("SIGKILL");
  await child.status;
  const { nodeId, names, authorization } = listener()!;
  assert.equal(nodeId, NODE_ID);
  assert.equal(authorization, "Bearer from-the-token-endpoint");
  const authority = "traffic-director-global.xds.googleapis.com";
  const name = `xdstp://${authority}/envoy.config.listener.v3.Listener/123456789012/mesh:shop-mesh/web:8080`;
  assert.deepEqual(names, [name]);
});
