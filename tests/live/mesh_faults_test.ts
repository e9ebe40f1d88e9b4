/** A mesh that cannot be joined: each cause is told once, in its time, and the program starts without the mesh where that is allowed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { KrunEnd, KrunProcess } from "../krun_process.ts";
import { CertificateAuthority } from "./certificate_authority.ts";
import { MeshLab, ORDINARY, type WorkloadOptions } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

/** Time for the agent's own tries: it tells of a certificate that it does not get after 2 s. */
const PATIENCE_S = 6;

/** What a program says that was started. */
const RUNS = ["/bin/echo", "program runs"];

const PEER = new URL("../programs/net_peer.py", import.meta.url).pathname;

let lab: MeshLab;

async function run(host: MeshHost, options: Partial<WorkloadOptions>): Promise<KrunEnd> {
  const env = { MESH_START_TIMEOUT: `${PATIENCE_S}s`, ...options.env };
  await using workload = await lab.workload(host, { name: "web", args: RUNS, ...options, env });
  return await workload.krun.end;
}

/** A process that has a port of a host. */
async function holder(host: MeshHost, endpoint: string): Promise<KrunProcess> {
  const process = lab.network.start(host, ["python3", PEER, "serve", `tcp:${endpoint}:other`]);
  await process.sees("stdout", /ready/);
  return process;
}

/** The one message of a krun that has not started its program. */
function refusal({ code, stdout, stderr }: KrunEnd): { message: string; details: string } {
  assert.deepEqual([code, stdout], [125, ""], stderr);
  assert.equal(stderr.match(/^krun: /gm)?.length, 1, stderr);
  const [, message = "", details = ""] = /^krun: (.*)\n([^]*)/m.exec(stderr)!;
  return { message, details };
}

/** A program that runs although its mesh cannot be joined, as it is told once. */
function startsWithout(end: KrunEnd, reason: RegExp): void {
  assert.deepEqual([end.code, end.stdout], [0, "program runs\n"], end.stderr);
  const told = end.stderr.split("\n").filter((line) => line.includes("without the mesh"));
  assert.equal(told.length, 1, end.stderr);
  assert.match(told[0]!, reason);
}

/** A program in mode proxy, since nothing can be captured, as it is told once. */
function fallsBack({ code, stdout, stderr }: KrunEnd, reason: RegExp): void {
  assert.deepEqual([code, stdout], [0, "program runs\n"], stderr);
  assert.match(stderr, /program started .* mesh="\S+ \(proxy\)"/);
  const told = stderr.split("\n").filter((line) => line.includes("traffic is not captured"));
  assert.equal(told.length, 1, stderr);
  assert.match(told[0]!, reason);
}

/** A port that is needed to intercept traffic. */
async function proxyPort(t: Deno.TestContext): Promise<void> {
  const host = await lab.network.host("taken");
  await using other = await holder(host, "0.0.0.0:15001");
  const taken = new RegExp(`port 15001 of the proxy is in use by process python3 \\(${other.pid}\\)`);
  const env = { KRUN_RUN_AS: "3000" };
  await t.step("MESH_MODE=intercept", async () => {
    const { message } = refusal(await run(host, { env: { ...env, MESH_MODE: "intercept" } }));
    assert.match(message, taken);
  });
  await t.step("MESH_MODE unset", async () => fallsBack(await run(host, { env }), taken));
  await t.step("MESH_OPTIONAL=true", async () => {
    startsWithout(await run(host, { env: { ...env, MESH_MODE: "intercept", MESH_OPTIONAL: "true" } }), taken);
  });
}

/** A port on loopback that Envoy needs for a Service in mode proxy. */
async function servicePort(t: Deno.TestContext): Promise<void> {
  await lab.apply("Service", "db", { spec: { selector: { app: "db" }, ports: [{ name: "tcp", port: 7000 }] } });
  const inUse = "cannot bind '127\\.0\\.0\\.1:7000': Address already in use";
  const tried = async (name: string, options: Partial<WorkloadOptions>) => {
    const host = await lab.network.host(name);
    await using other = await holder(host, "127.0.0.1:7000");
    return { pid: other.pid, end: await run(host, options) };
  };
  // Each waits for its time to be over.
  const ordinary = tried("port-1", { uid: ORDINARY });
  const root = tried("port-2", { env: { MESH_MODE: "proxy" } });
  const optional = tried("port-3", { uid: ORDINARY, env: { MESH_OPTIONAL: "true" } });
  await Promise.allSettled([ordinary, root, optional]);
  await t.step("to an ordinary user, who does not see whose it is", async () => {
    const { message } = refusal((await ordinary).end);
    assert.match(
      message,
      new RegExp(`: .*${inUse}, by a process that krun cannot see; free that port.* Sidecar with egress`),
    );
  });
  await t.step("to root", async () => {
    const { pid, end } = await root;
    assert.match(refusal(end).message, new RegExp(`${inUse}, by process python3 \\(${pid}\\)`));
  });
  await t.step("MESH_OPTIONAL=true", async () => startsWithout((await optional).end, new RegExp(inUse)));
  await lab.server.delete({ apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name: "db" } });
}

async function noIptables(t: Deno.TestContext): Promise<void> {
  const host = await lab.network.host("bare");
  const options = { path: "/nowhere" };
  const missing = /no iptables is in PATH/;
  await t.step("MESH_MODE=intercept", async () => {
    const { message } = refusal(await run(host, { ...options, env: { MESH_MODE: "intercept" } }));
    assert.match(message, missing);
    assert.match(message, /; install iptables$/);
  });
  await t.step("MESH_MODE unset", async () => fallsBack(await run(host, options), missing));
  await t.step("MESH_OPTIONAL=true", async () => {
    const env = { MESH_MODE: "intercept", MESH_OPTIONAL: "true" };
    startsWithout(await run(host, { ...options, env }), missing);
  });
}

/** What a krun says that waits for its proxy in vain, and where it has put what Envoy had. */
async function inVain(env: WorkloadOptions["env"] = {}): Promise<{ message: string; details: string }> {
  const host = await lab.network.host(`vain-${crypto.randomUUID().slice(0, 4)}`);
  const base = await Deno.makeTempDir({ prefix: "krun-vain-" });
  try {
    const began = performance.now();
    const { message, details } = refusal(await run(host, { base, env }));
    const tookMs = performance.now() - began;
    assert.ok(tookMs >= PATIENCE_S * 1000 && tookMs < PATIENCE_S * 4000, `${tookMs} ms`);
    assert.match(message, new RegExp(`its proxy is not ready after ${PATIENCE_S} s: `));
    assert.match(message, /MESH_START_TIMEOUT gives it more time, MESH_OPTIONAL=true starts without it$/);
    assert.ok(details.split("\n").length > 3, "the agent's own last lines");
    const [, dump = ""] = /^Envoy's configuration: (.*)$/m.exec(details) ?? [];
    assert.equal(dump.slice(0, base.length), base, details);
    assert.equal((await Deno.stat(dump)).mode! & 0o777, 0o600);
    assert.ok(JSON.parse(await Deno.readTextFile(dump)).configs.length > 0);
    return { message, details };
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

async function controlPlane(t: Deno.TestContext): Promise<void> {
  const other = await CertificateAuthority.create(join(lab.server.folder, "other"));
  const { address } = lab.network;
  // A network without a way out says so itself: this one swallows.
  const silent = await lab.network.host("silent");
  await lab.network.run(silent, ["iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "15012", "-j", "DROP"]);
  const nobody = { XDS_ADDR: `${address}:9` };
  const cases: Readonly<Record<string, readonly [Record<string, string>, RegExp]>> = {
    "a root certificate of another CA": [
      { CAROOT_ISTIOD: other.pem },
      /: .*certificate signed by unknown authority.*; give the root of that control plane in CAROOT_ISTIOD/,
    ],
    "nobody listens": [
      nobody,
      /: .*dial tcp \S+:9: connect: connection refused.*; check XDS_ADDR, the network and the firewall/,
    ],
    "nobody answers": [
      { XDS_ADDR: `${silent.address}:15012` },
      /: config not received from XDS server .*; check XDS_ADDR, the network and the firewall/,
    ],
    "another name in its certificate": [
      { ISTIOD_SAN: "istiod.elsewhere.svc" },
      /: .*x509: certificate is valid for .*, not istiod\.elsewhere\.svc.*; set ISTIOD_SAN/,
    ],
  };
  const base = await Deno.makeTempDir({ prefix: "krun-vain-" });
  const optionalHost = await lab.network.host("optional");
  // Each waits for its time to be over.
  const ends = Object.entries(cases).map(([name, [env, expected]]) => ({ name, expected, end: inVain(env) }));
  const optional = run(optionalHost, { base, env: { ...nobody, MESH_OPTIONAL: "true" } });
  await Promise.allSettled([optional, ...ends.map(({ end }) => end)]);
  for (const { name, expected, end } of ends) {
    await t.step(name, async () => assert.match((await end).message, expected));
  }
  await t.step("MESH_OPTIONAL=true", async () => {
    startsWithout(await optional, /reason=.*connection refused/);
    assert.deepEqual([...Deno.readDirSync(base)].map(({ name }) => name), ["kubeconfig"], "no file that nobody names");
    await Deno.remove(base, { recursive: true });
  });
  await t.step("it takes no token for istio-ca", async () => {
    await lab.istiod.stop();
    await lab.istiod.start({ TOKEN_AUDIENCES: "elsewhere" });
    const { message } = await inVain();
    assert.match(message, /: .*authenticat\w+ failure.*; see that istiod .* takes tokens for istio-ca/);
  });
}

Deno.test("a mesh that cannot be joined is one message with its cause, or another way where that is allowed", async (t) => {
  lab = await MeshLab.create();
  await using _lab = lab;
  await t.step("a port of the proxy that somebody else has", proxyPort);
  await t.step("a port of a Service that somebody else has on loopback", servicePort);
  await t.step("a machine without iptables", noIptables);
  await t.step("a control plane that is not reached, or does not believe, or is not believed", controlPlane);
});
