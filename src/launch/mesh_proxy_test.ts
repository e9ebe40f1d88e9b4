import assert from "node:assert/strict";
import "../../tests/load_libc.ts";
import { FakeProxy } from "../../tests/fake_proxy.ts";
import { plannedPod } from "../../tests/planned_pod.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { KrunError } from "../core/errors.ts";
import type { MeshMode } from "../core/mesh_settings.ts";
import type { Env } from "../core/pod_inputs.ts";
import { parseSettings } from "../core/settings.ts";
import { MeshProxy, type ProxyRun } from "./mesh_proxy.ts";
import type { Plan } from "./plan.ts";

/** A proxy, and the run that it belongs to. */
class Trial {
  readonly log = new RecordingLog();
  readonly over = new AbortController();
  readonly proxy: MeshProxy;

  constructor(readonly fake: FakeProxy, { mode = "intercept", env = {}, base = "/", ways }: TrialOptions = {}) {
    const container = { name: "app", ports: [{ containerPort: 8080 }] };
    const mesh = { address: { value: "34.1.2.3:15012" }, mode: { mode, rule: "" }, ports: fake.ports };
    // Of the plan only what the proxy looks at.
    const plan = { planned: plannedPod({ containers: [container] }), base } as Plan;
    this.proxy = new MeshProxy(mesh, { log: this.log, plan, settings: parseSettings(env), ways });
  }
}

interface TrialOptions {
  readonly mode?: MeshMode;
  readonly env?: Env;
  readonly base?: string;
  readonly ways?: ProxyRun["ways"];
}

const SOON = { MESH_START_TIMEOUT: "100ms" };

Deno.test("MeshProxy writes what agent and Envoy say into krun's log, each line at its level and with its part", async () => {
  await using fake = new FakeProxy([]);
  const { proxy, log } = new Trial(fake);
  proxy.onLine('{"level":"warn","scope":"xdsproxy","msg":"cannot connect"}');
  proxy.onLine('[2026-11-30] "GET / HTTP/1.1" 200');
  assert.deepEqual(log.lines, [
    { level: "warn", event: "cannot connect", fields: { source: "istio-proxy", scope: "xdsproxy" } },
    { level: "info", event: '[2026-11-30] "GET / HTTP/1.1" 200', fields: { source: "istio-proxy" } },
  ]);
});

Deno.test("MeshProxy.fault() is none when the proxy was ready in time", async () => {
  await using fake = new FakeProxy(["ready"]);
  const { proxy, over } = new Trial(fake, { env: { MESH_START_TIMEOUT: "1h" } });
  const fault = proxy.fault(over.signal);
  await proxy.untilStarted(over.signal);
  assert.equal(await fault, undefined);
});

Deno.test("MeshProxy.fault() is none when the run ends before the proxy was ready", async () => {
  await using fake = new FakeProxy([]);
  const { proxy, over } = new Trial(fake, { env: { MESH_START_TIMEOUT: "1h" } });
  const started = proxy.untilStarted(over.signal);
  const fault = proxy.fault(over.signal);
  over.abort();
  assert.equal(await fault, undefined);
  await started;
});

Deno.test("MeshProxy.fault() says after its time what the agent has said last, and where Envoy's configuration is", async () => {
  await using fake = new FakeProxy(["ready", "admin"]);
  fake.answers.set("/healthz/ready", () => new Response("", { status: 503 }));
  fake.answers.set("/config_dump", () => new Response('{"configs":[]}'));
  const base = await Deno.makeTempDir();
  await Deno.writeTextFile(`${base}/istio-proxy-config-dump.json`, "that of the start before");
  try {
    const { proxy, over } = new Trial(fake, { env: SOON, base });
    const started = proxy.untilStarted(over.signal);
    for (const letter of "abcdefghijklmnopqrst") proxy.onLine(`{"level":"info","scope":"ads","msg":"line ${letter}"}`);
    const fault = await proxy.fault(over.signal);
    over.abort();
    await started;
    assert.equal(fault?.code, "MeshNotReady");
    assert.match(fault!.message, /34\.1\.2\.3:15012.*0\.1 s$/);
    const lines = fault!.details!.split("\n");
    assert.deepEqual([lines[0], lines[11], lines.length], ["info ads line i", "info ads line t", 13]);
    const [, path = ""] = /^Envoy's configuration: (.*)$/.exec(lines[12]!) ?? [];
    assert.equal(await Deno.readTextFile(path), '{"configs":[]}');
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
});

Deno.test("MeshProxy.fault() names the cause and its remedy, after the agent was asked what it waits for", async () => {
  await using fake = new FakeProxy(["status"]);
  const { proxy, over } = new Trial(fake, { env: SOON });
  fake.answers.set("/healthz/ready", () => {
    proxy.onLine('{"level":"warn","msg":"Envoy proxy is NOT ready: config not received from XDS server"}');
    return new Response("", { status: 503 });
  });
  const silent = await proxy.fault(over.signal);
  assert.match(silent!.message, /not ready after 0\.1 s: config not received from XDS server$/);
  assert.match(silent!.hint, /^check XDS_ADDR, .*; MESH_START_TIMEOUT .*, MESH_OPTIONAL=true /);
  assert.deepEqual(fake.asked, ["status GET /healthz/ready"]);
  proxy.onLine('{"level":"error","msg":"failed to sign CSR: Unauthenticated"}');
  const told = await proxy.fault(over.signal);
  assert.match(told!.message, /0\.1 s: failed to sign CSR: Unauthenticated$/);
});

Deno.test("MeshProxy.fault() names the process that has a port of Envoy's", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using fake = new FakeProxy([]);
  const { proxy, over } = new Trial(fake, { env: SOON });
  const { port } = taken.addr;
  proxy.onLine(`{"level":"warn","msg":"cannot bind '127.0.0.1:${port}': Address already in use"}`);
  const fault = await proxy.fault(over.signal);
  assert.match(fault!.message, new RegExp(`:${port}': Address already in use, by process \\S+ \\(${Deno.pid}\\)$`));
});

Deno.test("MeshProxy.fault() saves no configuration where the program starts all the same, and nobody is told of it", async () => {
  await using fake = new FakeProxy(["admin"]);
  const { proxy, over, log } = new Trial(fake, { env: { ...SOON, MESH_OPTIONAL: "true" }, base: "/no/such/folder" });
  const fault = await proxy.fault(over.signal);
  assert.equal(fault?.code, "MeshNotReady");
  assert.deepEqual([fake.asked, log.events], [[], []]);
});

Deno.test("MeshProxy.fault() of an agent without Envoy asks for no configuration, and says that nothing was said", async () => {
  await using fake = new FakeProxy(["admin"]);
  const { proxy, over } = new Trial(fake, { mode: "proxyless", env: SOON });
  const fault = await proxy.fault(over.signal);
  assert.match(fault!.details!, /^the agent said nothing; is port \d+ its own\?$/);
  assert.deepEqual(fake.asked, []);
});

Deno.test("MeshProxy.fault() goes without the dump where it cannot be saved, and says so", async () => {
  await using fake = new FakeProxy(["admin"]);
  fake.answers.set("/config_dump", () => new Response("{}"));
  const { proxy, over, log } = new Trial(fake, { env: SOON, base: "/no/such/folder" });
  const fault = await proxy.fault(over.signal);
  assert.equal(fault?.code, "MeshNotReady");
  assert.doesNotMatch(fault!.details!, /configuration/);
  assert.deepEqual(log.events, ["warn Envoy's configuration cannot be saved"]);
});

Deno.test("MeshProxy.onStop() drains the proxy, and does not fail when it is gone", async () => {
  await using fake = new FakeProxy(["status", "admin"]);
  const { proxy, over } = new Trial(fake);
  await proxy.onStop({ over: over.signal, othersRun: true });
  assert.deepEqual(fake.asked.toSorted(), ["admin POST /drain_listeners?inboundonly", "status POST /drain"]);
  await using nobody = new FakeProxy([]);
  await new Trial(nobody).proxy.onStop({ over: over.signal, othersRun: true });
});

Deno.test("MeshProxy.onStop() leaves a gateway to the agent, which drains all of its listeners at SIGTERM", async () => {
  await using fake = new FakeProxy(["status", "admin"]);
  const { proxy, over } = new Trial(fake, { mode: "proxy", env: { GATEWAY_NAME: "edge" } });
  await proxy.onStop({ over: over.signal, othersRun: false });
  await proxy.end(over.signal);
  assert.deepEqual(fake.asked, []);
});

Deno.test("MeshProxy is quiet about a proxy that is not ready while it starts, also again, and about its end", async () => {
  await using fake = new FakeProxy(["ready", "admin"]);
  const { proxy, over, log } = new Trial(fake);
  const notReady = '{"level":"warn","msg":"Envoy proxy is NOT ready: config not received"}';
  for (let start = 0; start < 2; start++) {
    let asked = false;
    fake.answers.set("/healthz/ready", () => {
      proxy.onLine(notReady);
      const status = asked ? 200 : 503;
      asked = true;
      return new Response("", { status });
    });
    await proxy.untilStarted(over.signal);
  }
  assert.deepEqual(new Set(log.lines.map(({ level }) => level)), new Set(["debug"]));
  proxy.onLine(notReady);
  assert.equal(log.lines.at(-1)?.level, "warn");
  fake.answers.set("/quitquitquit", () => new Response("", { status: 500 }));
  await proxy.end(over.signal);
  proxy.onLine('{"level":"error","msg":"Envoy exited with error"}');
  assert.equal(log.lines.at(-1)?.level, "debug");
});

Deno.test("MeshProxy.end() has Envoy end in order, which ends the agent", async () => {
  await using fake = new FakeProxy(["admin"]);
  const { proxy, over } = new Trial(fake);
  fake.answers.set("/quitquitquit", () => {
    setTimeout(() => over.abort(), 10);
    return new Response("");
  });
  await proxy.end(over.signal);
  assert.deepEqual(fake.asked, ["admin POST /quitquitquit"]);
});

Deno.test("MeshProxy.untilStarted() warns in mode proxy of a port of the program's that Envoy has taken, once", async () => {
  await using fake = new FakeProxy(["ready", "admin"]);
  const address = { socket_address: { address: "127.0.0.1", port_value: 8080 } };
  fake.answers.set("/listeners", () => Response.json({ listener_statuses: [{ name: "x", local_address: address }] }));
  const proxy = new Trial(fake, { mode: "proxy" });
  await proxy.proxy.untilStarted(proxy.over.signal);
  await proxy.proxy.untilStarted(proxy.over.signal);
  assert.deepEqual(proxy.log.events, [
    "warn the program cannot listen on its port: Envoy does, for a Service of the mesh",
  ]);
  assert.equal(proxy.log.lines[0]?.fields.address, "127.0.0.1:8080");
  const intercept = new Trial(fake, { mode: "intercept" });
  await intercept.proxy.untilStarted(intercept.over.signal);
  assert.deepEqual(intercept.log.events, []);
});

Deno.test("MeshProxy opens what opens with it once, before the program may start, and only once", async () => {
  await using fake = new FakeProxy(["ready", "status", "admin"]);
  const told: string[] = [];
  const tell = (word: string) => () => void told.push(word);
  const ways = {
    prepareHbone: tell("load"),
    openHbone: () => Promise.resolve(tell("open")()),
  };
  const { proxy, over } = new Trial(fake, { ways });
  void proxy.started.then(() => told.push("started"));
  await proxy.untilStarted(over.signal);
  await proxy.untilStarted(over.signal);
  assert.deepEqual(told, ["load", "open", "started"]);
});

Deno.test("MeshProxy.fault() is what cannot be opened with the proxy, and the program never starts", async () => {
  await using fake = new FakeProxy(["ready"]);
  const failure = new KrunError("HboneUnavailable", "Cannot listen", "free a port");
  const ways = { prepareHbone() {}, openHbone: () => Promise.reject(failure) };
  const { proxy, over } = new Trial(fake, { ways, env: { MESH_START_TIMEOUT: "1h" } });
  let hasStarted = false;
  void proxy.started.then(() => hasStarted = true);
  const waiting = proxy.untilStarted(over.signal);
  assert.equal(await proxy.fault(over.signal), failure);
  assert.equal(hasStarted, false);
  over.abort();
  await waiting;
  assert.equal(hasStarted, false);
});
