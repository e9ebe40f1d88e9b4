import assert from "node:assert/strict";
import { closedPort, FakeProxy } from "../../tests/fake_proxy.ts";
import { waitFor } from "../../tests/wait.ts";
import type { Clock } from "../core/clock.ts";
import { MESH_PORTS } from "../core/istio_proxy.ts";
import { systemClock } from "../pod/clock.ts";
import { configDump, drainProxy, type ProxyPlace, proxyReady, quitEnvoy } from "./proxy_status.ts";

const never = () => new AbortController().signal;

Deno.test("proxyReady() asks Envoy's port until it answers 200, and no earlier answer is enough", async () => {
  await using proxy = new FakeProxy(["ready"]);
  let status = 503;
  proxy.answers.set("/healthz/ready", () => new Response("", { status }));
  let isReady = false;
  const ready = proxyReady(proxy.place("intercept"), { over: never(), clock: systemClock }).then(() => isReady = true);
  await waitFor("two questions", () => proxy.asked.length >= 2);
  assert.equal(isReady, false);
  status = 200;
  await ready;
  assert.ok(proxy.asked.every((asked) => asked === "ready GET /healthz/ready"), proxy.asked.join());
});

Deno.test("proxyReady() goes on asking while nobody listens, which is what an Envoy without configuration does", async () => {
  const port = closedPort();
  let waits = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      waits++;
      return systemClock.sleep(ms, signal);
    },
  };
  const place: ProxyPlace = { mode: "proxy", ports: { ...MESH_PORTS, ready: port } };
  const ready = proxyReady(place, { over: never(), clock });
  await waitFor("two refusals", () => waits >= 2);
  await using server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, () => new Response(""));
  await ready;
  await server.shutdown();
});

Deno.test("proxyReady() asks the agent itself where there is no Envoy", async () => {
  await using proxy = new FakeProxy(["status"]);
  await proxyReady(proxy.place("proxyless"), { over: never(), clock: systemClock });
  assert.deepEqual(proxy.asked, ["status GET /healthz/ready"]);
});

Deno.test("proxyReady() ends when the proxy's run is over, also while it waits for an answer", async () => {
  await using proxy = new FakeProxy(["ready"]);
  const over = new AbortController();
  proxy.answers.set("/healthz/ready", () => {
    over.abort();
    return new Response("", { status: 503 });
  });
  await proxyReady(proxy.place("proxy"), { over: over.signal, clock: systemClock });
  assert.equal(proxy.asked.length, 1);
});

/** A clock whose pauses are noted and cost no time. */
function notedPauses(): { pauses: number[]; clock: Clock } {
  const pauses: number[] = [];
  return { pauses, clock: { ...systemClock, sleep: (ms) => Promise.resolve(void pauses.push(ms)) } };
}

Deno.test("drainProxy() tells the agent, so that it then ends at once, and has Envoy close its listeners; without Envoy nothing", async () => {
  await using proxy = new FakeProxy(["status", "admin"]);
  const { clock } = notedPauses();
  await drainProxy(proxy.place("intercept"), { over: never(), clock, programRuns: true });
  assert.deepEqual(proxy.asked.toSorted(), ["admin POST /drain_listeners?inboundonly", "status POST /drain"]);
  proxy.asked.length = 0;
  await drainProxy(proxy.place("proxyless"), { over: never(), clock, programRuns: true });
  assert.deepEqual(proxy.asked, []);
});

Deno.test("drainProxy() leaves a program that runs the time for what Envoy has accepted, and waits for nothing else", async () => {
  await using proxy = new FakeProxy(["status", "admin"]);
  const { pauses, clock } = notedPauses();
  await drainProxy(proxy.place("intercept"), { over: never(), clock, programRuns: false });
  await drainProxy(proxy.place("proxyless"), { over: never(), clock, programRuns: true });
  proxy.answers.set("/drain_listeners", () => new Response("", { status: 500 }));
  await drainProxy(proxy.place("intercept"), { over: never(), clock, programRuns: true });
  assert.deepEqual(pauses, []);
  proxy.answers.clear();
  await drainProxy(proxy.place("intercept"), { over: never(), clock, programRuns: true });
  assert.deepEqual(pauses, [100]);
});

Deno.test("drainProxy() does not fail, whatever the proxy does: it is gone, or about to be", async () => {
  await using proxy = new FakeProxy(["admin"]);
  proxy.answers.set("/drain_listeners", () => new Response("", { status: 500 }));
  await drainProxy(proxy.place("proxy"), { over: never(), clock: systemClock, programRuns: true });
  assert.deepEqual(proxy.asked, ["admin POST /drain_listeners?inboundonly"]);
  const over = new AbortController();
  over.abort();
  await drainProxy(proxy.place("proxy"), { over: over.signal, clock: systemClock, programRuns: true });
  assert.equal(proxy.asked.length, 1);
});

Deno.test("quitEnvoy() has Envoy end, and waits for that and no longer; without Envoy nothing", async () => {
  await using proxy = new FakeProxy(["admin"]);
  const { pauses, clock } = notedPauses();
  await quitEnvoy(proxy.place("proxyless"), { over: never(), clock });
  assert.deepEqual([proxy.asked, pauses], [[], []]);
  await quitEnvoy(proxy.place("intercept"), { over: never(), clock });
  assert.deepEqual([proxy.asked, pauses], [["admin POST /quitquitquit"], [1000]]);
  proxy.answers.set("/quitquitquit", () => new Response("", { status: 500 }));
  await quitEnvoy(proxy.place("intercept"), { over: never(), clock });
  await using nobody = new FakeProxy([]);
  await quitEnvoy(nobody.place("proxy"), { over: never(), clock });
  assert.deepEqual(pauses, [1000]);
});

Deno.test("configDump() gives Envoy's configuration with its endpoints, and nothing where it does not answer", async () => {
  await using proxy = new FakeProxy(["admin"]);
  proxy.answers.set("/config_dump", () => new Response('{"configs":[]}'));
  assert.equal(await configDump(proxy.place("proxy"), never()), '{"configs":[]}');
  assert.deepEqual(proxy.asked, ["admin GET /config_dump?include_eds"]);
  proxy.answers.set("/config_dump", () => new Response("no", { status: 503 }));
  assert.equal(await configDump(proxy.place("proxy"), never()), undefined);
  assert.equal(await configDump({ mode: "proxy", ports: { ...MESH_PORTS, admin: closedPort() } }, never()), undefined);
});
