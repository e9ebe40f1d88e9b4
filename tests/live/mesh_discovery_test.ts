/** Which mesh krun finds, by what it is told and what the cluster has; and what agent and Envoy say in krun's log. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ISTIO_NAMESPACE } from "./istiod.ts";
import { MESH_SERVER } from "./mesh_load.ts";
import { callsIn, MeshLab, PEER_CALLS, RULES, type WorkloadOptions } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

/** Nothing on krun's side names the mesh. */
const UNTOLD = { XDS_ADDR: "" };
const PROGRAM = ["/bin/echo", "program runs"];
const ISTIO = { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: ISTIO_NAMESPACE, name: "istio" } };
const MESH_ENV = { ...ISTIO, metadata: { ...ISTIO.metadata, name: "mesh-env" } };

let lab: MeshLab;
let host: MeshHost;

async function run(options: Partial<WorkloadOptions>) {
  await using workload = await lab.workload(host, { name: "web", args: PROGRAM, ...options });
  return await workload.krun.end;
}

/** The mesh that `--check` names, and why; or why there is none. */
async function found(env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout, stderr } = await run({ args: ["--check=json", ...PROGRAM], env: { ...UNTOLD, ...env } });
  const { findings } = JSON.parse(stdout || `not JSON: ${stderr}`) as { findings: Record<string, string>[] };
  const mesh = findings.find(({ what }) => what === "mesh")!;
  return `${mesh.value}: ${mesh.because}`;
}

async function withoutMesh(t: Deno.TestContext): Promise<void> {
  await lab.server.delete(ISTIO);
  await t.step("it says so once, and the program runs", async () => {
    const { code, stdout, stderr } = await run({ env: UNTOLD });
    assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
    const told = stderr.split("\n").filter((line) => / (?:no )?mesh[ =]/.test(line));
    assert.equal(told.length, 1, stderr);
    assert.match(
      told[0]!,
      / info no mesh reason="the cluster has neither ConfigMap mesh-env nor istio in istio-system"$/,
    );
  });
  await t.step("a setting that asks for one makes that an error", async () => {
    for (const [name, value] of [["MESH_MODE", "proxy"], ["GATEWAY_NAME", "edge"]] as const) {
      const { code, stdout, stderr } = await run({ env: { ...UNTOLD, [name]: value } });
      assert.deepEqual([code, stdout], [125, ""], stderr);
      assert.match(
        stderr,
        new RegExp(`^krun: Cannot join the mesh that ${name} asks for: the cluster has neither .*unset ${name}`, "m"),
      );
    }
    const { code, stdout, stderr } = await run({ env: { ...UNTOLD, MESH_MODE: "proxy", MESH_OPTIONAL: "true" } });
    assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
  });
}

async function forbidden(t: Deno.TestContext): Promise<void> {
  await lab.server.grant("shop", "stranger", RULES);
  await t.step("an error with the Role that would allow it, and the program does not run", async () => {
    const { code, stdout, stderr } = await run({ env: UNTOLD, user: "stranger" });
    assert.deepEqual([code, stdout], [125, ""], stderr);
    assert.equal(stderr.match(/^krun: /gm)?.length, 1, stderr);
    const [, roles = ""] = /^krun: .*\n([^]*)/m.exec(stderr)!;
    for (const name of ["mesh-env", "istio"]) {
      assert.match(roles, new RegExp(`Cannot read configmaps "istio-system/${name}" .*: 403, user "stranger"`));
    }
    assert.equal(roles.match(/^kind: Role$/gm)?.length, 1, "one for all that lacks");
    const role =
      /^metadata: \{namespace: "istio-system", .*\nrules:\n.*\n.*\n {2}resourceNames: \["istio", "mesh-env"\]$/m;
    assert.match(roles, role);
    assert.match(stderr, /XDS_ADDR=-/);
  });
  await t.step("XDS_ADDR=- does not ask", async () => {
    const { code, stdout, stderr } = await run({ env: { XDS_ADDR: "-" }, user: "stranger" });
    assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
    assert.doesNotMatch(stderr, / (?:no )?mesh[ =]/);
  });
}

/** Each of these names another address of the same istiod, or none; only the first one counts. */
async function precedence(t: Deno.TestContext): Promise<void> {
  const { address } = lab.network;
  const [, port] = lab.istiod.discoveryAddress.split(":");
  const folder = await Deno.makeTempDir({ prefix: "krun-mesh-env-" });
  const file = join(folder, "mesh.env");
  await Deno.writeTextFile(file, `# of a file\nexport XDS_ADDR="outside.test:${port}"\nCLUSTER_NAME=shop\n`);
  const { certPem: cert, keyPem: key } = await lab.server.ca.issue({ names: [`IP:${address}`] });
  const document = `apiVersion: v1\nkind: ConfigMap\ndata:\n  XDS_ADDR: ${address}:${port}\n`;
  const answer = ({ url }: Request) =>
    new URL(url).search === "?key=s3cr3t" ? new Response(document) : new Response("", { status: 403 });
  await using web = Deno.serve({ hostname: address, port: 0, cert, key, onListen() {} }, answer);
  const url = `https://${address}:${(web.addr as Deno.NetAddr).port}/mesh.yaml`;
  const roots = { SSL_CERT_FILE: lab.server.caFile };
  await lab.server.create({ ...MESH_ENV, data: { XDS_ADDR: `${address}:${port}`, TRUST_DOMAIN: "cluster.local" } });

  await t.step("ConfigMap mesh-env", async () => {
    assert.equal(await found({}), `${address}:${port}: ConfigMap istio-system/mesh-env`);
    const { code, stdout, stderr } = await run({ env: UNTOLD });
    assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
    assert.match(stderr, new RegExp(`program started .* mesh="${address}:${port} \\(intercept\\)"`));
  });
  await t.step("before it a file of MESH, by whose address the agent joins", async () => {
    assert.equal(await found({ MESH: `file://${file}` }), `outside.test:${port}: MESH=file://${file}`);
    const { code, stdout, stderr } = await run({ env: { ...UNTOLD, MESH: `file://${file}` } });
    assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
    assert.match(stderr, new RegExp(`program started .* mesh="outside.test:${port} \\(intercept\\)"`));
  });
  await t.step("or a URL of MESH, whose query is nowhere shown", async () => {
    assert.equal(await found({ ...roots, MESH: `${url}?key=s3cr3t` }), `${address}:${port}: MESH=${url}`);
    const { code, stderr } = await run({ env: { ...UNTOLD, ...roots, MESH: `${url}?key=wr0ng` } });
    assert.equal(code, 125, stderr);
    assert.match(stderr, /^krun: Cannot read MESH=https:\S+\/mesh\.yaml: the answer is 403; /m);
    assert.doesNotMatch(stderr, /wr0ng/);
  });
  await t.step("before these the variables themselves", async () => {
    const env = { MESH: `file://${file}`, XDS_ADDR: `${address}:${port}` };
    assert.equal(await found(env), `${address}:${port}: XDS_ADDR`);
    assert.equal(await found({ ...env, XDS_ADDR: "-" }), "none: XDS_ADDR is -");
    assert.equal(
      await found({ MESH: `file://${file}`, IMCON_ADDR: "10.1.2.3" }),
      `outside.test:${port}: MESH=file://${file}`,
    );
  });
  await t.step("a file that is not there is an error, and not a program without its mesh", async () => {
    const { code, stdout, stderr } = await run({ env: { ...UNTOLD, MESH: "file:///no/such/file" } });
    assert.deepEqual([code, stdout], [125, ""], stderr);
    assert.match(stderr, /^krun: Cannot read MESH=file:\/\/\/no\/such\/file: /m);
  });
  await lab.server.delete(MESH_ENV);
  await Deno.remove(folder, { recursive: true });
}

/** A line of krun's log in its text form. */
const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:debug|info|warn|error) \S/;

/** A Service of the mesh whose program has no proxy, and its cluster IP. */
async function plainServer(): Promise<{ clusterIp: string } & AsyncDisposable> {
  const serverHost = await lab.network.host("server");
  const server = lab.network.start(serverHost, [...MESH_SERVER, "8080", "9090"]);
  await server.sees("stdout", /listening/);
  await lab.apply("WorkloadEntry", "server", { spec: { address: serverHost.address, labels: { app: "server" } } });
  const ports = [{ name: "http", port: 80, targetPort: 8080 }];
  const service = await lab.apply("Service", "server", { spec: { selector: { app: "server" }, ports } });
  const port = { number: 8000, name: "http", protocol: "HTTP" };
  const endpoints = [{ address: serverHost.address, ports: { http: 8080 } }];
  await lab.apply("ServiceEntry", "outside", {
    spec: { hosts: ["outside.test"], ports: [port], location: "MESH_EXTERNAL", resolution: "STATIC", endpoints },
  });
  const { clusterIP: clusterIp } = service.spec as { clusterIP: string };
  return { clusterIp, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function withoutDns(t: Deno.TestContext, clusterIp: string): Promise<void> {
  const env = { ISTIO_META_DNS_CAPTURE: "false" };
  await t.step("Services are called by cluster IP, and by names that the machine's resolver knows", async () => {
    const urls = [`http://${clusterIp}/`, "http://outside.test:8000/", "http://server/"];
    const { code, stdout, stderr } = await run({ args: [...PEER_CALLS, ...urls], env });
    assert.equal(code, 0, stderr);
    const [byIp, byServiceEntry, byName] = callsIn(stdout);
    assert.deepEqual([byIp!.status, byServiceEntry!.status], [200, 200], stdout);
    assert.match(byName!.failure!, /name|known/i, "it could not");
  });
  await t.step("--check says so", async () => {
    const { stdout } = await run({ args: ["--check=json", ...PROGRAM], env });
    assert.ok(JSON.parse(stdout).warnings.some((text: string) => text.includes("ISTIO_META_DNS_CAPTURE is false")));
    const usual = await run({ args: ["--check=json", ...PROGRAM] });
    assert.ok(!JSON.parse(usual.stdout).warnings.some((text: string) => text.includes("DNS_CAPTURE")));
  });
}

async function oneShot(t: Deno.TestContext): Promise<void> {
  await t.step("a program that replaces krun has nobody to run the proxy, and is told so", async () => {
    const { code, stdout, stderr } = await run({ env: { KRUN_REFRESH: "never" } });
    assert.deepEqual([code, stdout], [125, ""], stderr);
    assert.match(stderr, /^krun: .*: the mesh's proxy has to run beside it; unset KRUN_REFRESH, or set XDS_ADDR=-/m);
  });
  await t.step("without the mesh it runs", async () => {
    for (const more of [{ XDS_ADDR: "-" }, { MESH_OPTIONAL: "true" }]) {
      const { code, stdout, stderr } = await run({ env: { KRUN_REFRESH: "never", ...more } });
      assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
    }
  });
}

async function logs(t: Deno.TestContext): Promise<void> {
  const paths = ["/one", "/two", "/three", "/four"];
  const args = [...PEER_CALLS, ...paths.map((path) => `http://server${path}`)];
  const linesOf = (text: string) => text.split("\n").slice(0, -1);

  await t.step("an access log on /dev/stdout, by Envoy as user 1337, is in krun's log to its last line", async () => {
    const { code, stdout, stderr } = await run({ args });
    assert.equal(code, 0, stderr);
    assert.deepEqual(callsIn(stdout).map(({ status }) => status), [200, 200, 200, 200]);
    assert.equal(linesOf(stdout).length, 4, "standard output is the program's");
    for (const line of linesOf(stderr)) assert.match(line, LINE);
    const access = linesOf(stderr).filter((line) => / info \{.*"response_code":200.* source=istio-proxy$/.test(line));
    assert.deepEqual(access.map((line) => /"path":"(.*?)"/.exec(line)?.[1]).toSorted(), paths.toSorted(), stderr);
    assert.doesNotMatch(
      stderr,
      /istio-proxy scope=| warn | error /,
      "what the agent tells of itself, and of its end, is left out",
    );
  });
  await t.step(
    "XDS_AGENT_DEBUG shows the agent's lines, each with its source, its part and what it is about",
    async () => {
      const { stderr } = await run({ env: { XDS_AGENT_DEBUG: "xdsproxy:debug" } });
      for (const line of linesOf(stderr)) assert.match(line, LINE);
      assert.match(stderr, / info connected to delta upstream XDS server: \S+ .*source=istio-proxy scope=xdsproxy$/m);
      assert.match(stderr, / info delta request .*type=\S+ .*source=istio-proxy scope=xdsproxy$/m);
    },
  );
  await t.step("in JSON as well, where a start and a stop that go well have nothing to warn of", async () => {
    const { stderr } = await run({ args, env: { KRUN_LOG_FORMAT: "json", KRUN_LOG: "debug" } });
    const events = linesOf(stderr).map((line) => JSON.parse(line));
    const own = events.filter(({ source }) => source === "istio-proxy");
    assert.ok(own.length > 30, "all that agent and Envoy say");
    assert.ok(own.every(({ level, event, time }) => ["debug", "info"].includes(level) && event && time), stderr);
    assert.equal(own.filter(({ event }) => event.includes('"response_code":200')).length, 4);
    assert.deepEqual(events.filter(({ level }) => level === "warn" || level === "error"), []);
  });
}

Deno.test("krun finds the mesh that it is told of or that the cluster has, and hands on what the proxy says", async (t) => {
  lab = await MeshLab.create({
    meshConfig: { accessLogFile: "/dev/stdout", accessLogEncoding: "JSON" },
    names: ["DNS:outside.test"],
  });
  await using _lab = lab;
  host = await lab.network.host("web");
  await using server = await plainServer();
  await t.step("log", logs);
  await t.step("without DNS capture", (t) => withoutDns(t, server.clusterIp));
  await t.step("one-shot", oneShot);
  await t.step("where krun may not look", forbidden);
  await t.step("where there is no mesh", withoutMesh);
  await t.step("by what comes first", precedence);
});
