import assert from "node:assert/strict";
import { closedPort, FakeProxy } from "../../tests/fake_proxy.ts";
import { waitFor } from "../../tests/wait.ts";
import type { Clock } from "../core/clock.ts";
import { MESH_PORTS } from "../core/istio_proxy.ts";
import { systemClock } from "../pod/clock.ts";
import { configDump, drainProxy, type ProxyPlace, proxyReady } from "./proxy_status.ts";

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

Deno.test("drainProxy() tells the agent first, so that it then ends at once, and has Envoy close its listeners; without Envoy nothing", async () => {
  await using proxy = new FakeProxy(["status", "admin"]);
  await drainProxy(proxy.place("intercept"), never());
  assert.deepEqual(proxy.asked, ["status POST /drain", "admin POST /drain_listeners?inboundonly"]);
  proxy.asked.length = 0;
  await drainProxy(proxy.place("proxyless"), never());
  assert.deepEqual(proxy.asked, []);
});

Deno.test("drainProxy() does not fail, whatever the proxy does: it is gone, or about to be", async () => {
  await using proxy = new FakeProxy(["admin"]);
  proxy.answers.set("/drain_listeners", () => new Response("", { status: 500 }));
  await drainProxy(proxy.place("proxy"), never());
  assert.deepEqual(proxy.asked, ["admin POST /drain_listeners?inboundonly"]);
  const over = new AbortController();
  over.abort();
  await drainProxy(proxy.place("proxy"), over.signal);
  assert.equal(proxy.asked.length, 1);
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
