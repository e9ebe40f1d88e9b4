/** How a workload of the mesh ends under load, and how it lives on when its proxy dies. */
import assert from "node:assert/strict";
import { waitFor } from "../wait.ts";
import { callsIn, MeshLab, ORDINARY, PEER_CALLS, type Workload, type WorkloadOptions } from "./mesh_lab.ts";
import { failedRequests, failuresIn, MESH_LOAD, MESH_SERVER, serverEndIn, totalsOf } from "./mesh_load.ts";

const PORTS = { PORT: "8080", PORT_tcp: "9090" };
/** How long the requests take that are under way, seconds. */
const AMID_DRAIN = 3;

let lab: MeshLab;

/** Makes a Service with its WorkloadGroup; HTTP is on port 80, lines are on 9000. */
async function service(name: string, [http, tcp]: readonly [number, number]): Promise<void> {
  const ports = [{ name: "http", port: 80, targetPort: http }, { name: "tcp", port: 9000, targetPort: tcp }];
  await lab.apply("Service", name, { spec: { selector: { app: name }, ports } });
  const template = { serviceAccount: name };
  await lab.apply("WorkloadGroup", name, { spec: { metadata: { labels: { app: name } }, template } });
  // The default looks at two instances and prefers the one with less to do, which is the one that refuses.
  const trafficPolicy = { loadBalancer: { simple: "ROUND_ROBIN" } };
  await lab.apply("DestinationRule", name, { spec: { host: `${name}.shop.svc.cluster.local`, trafficPolicy } });
}

/** What differs between the modes. */
interface DrainCase extends Pick<WorkloadOptions, "uid"> {
  readonly name: string;
  /** Where Envoy takes requests and lines for the program. */
  readonly ports: readonly [http: number, tcp: number];
}

/** One of two instances is told to end while requests are under way to it from the mesh and from outside. */
async function drain(t: Deno.TestContext, { name, uid = 0, ports }: DrainCase): Promise<void> {
  await service(name, ports);
  await using peer = await lab.workload(await lab.network.host(`${name}-peer`), {
    name: "peer",
    args: [...MESH_SERVER, "8080", "9090"],
    env: PORTS,
  });
  await peer.krun.sees("stdout", /listening/);
  await peer.callable();
  const options = { name, uid, args: [...MESH_SERVER, "8080", "9090", "http://peer/"] };
  const env = { ...PORTS, KRUN_GRACE_PERIOD: "25s" };
  const host = await lab.network.host(name);
  await using first = await lab.workload(host, { ...options, env: { ...env, KRUN_LOG: "debug" } });
  await using second = await lab.workload(await lab.network.host(`${name}-2`), { ...options, env });
  for (const { krun, callable } of [first, second]) {
    await krun.sees("stdout", /listening/);
    await callable();
  }
  await using inside = await lab.workload(await lab.network.host(`${name}-in`), {
    name: "client",
    args: [...MESH_LOAD, `kept:http://${name}/`, `idle:http://${name}/idle`, `new:http://${name}/`],
  });
  const outsideHost = await lab.network.host(`${name}-out`);
  const [url, line] = [`http://${host.address}:${ports[0]}/`, `${host.address}:${ports[1]}`];
  // So many that one of them meets the very moment.
  const news = Array.from({ length: 8 }, (_, number) => `new:${url}${number}`);
  const kept = [0, 1, 2, 3].flatMap((number) => [`kept:${url}kept${number}`, `idle:${url}idle${number}`]);
  await using outside = lab.network.start(outsideHost, [...MESH_LOAD, ...news, ...kept, `tcp:${line}`]);
  for (const krun of [inside.krun, outside]) await krun.sees("stdout", /loading/);
  const begun = Array.from(
    { length: 5 },
    () => lab.network.run(outsideHost, [...PEER_CALLS, `${url}?delay=${AMID_DRAIN}`]),
  );
  await first.krun.sees("stdout", /waiting 5/);
  const toldMs = performance.now();
  first.krun.kill("SIGTERM");
  const { code, stdout, stderr } = await first.krun.end;
  const tookMs = performance.now() - toldMs;
  outside.kill("SIGTERM");
  inside.krun.kill("SIGTERM");
  const [{ stdout: fromOutside }, { stdout: fromInside }] = await Promise.all([outside.end, inside.krun.end]);

  await t.step("every request that it had accepted is answered", async () => {
    const answers = await Promise.all(begun);
    assert.deepEqual(
      answers.flatMap((answer) => callsIn(answer.stdout)).map(({ status }) => status),
      Array(5).fill(200),
    );
    assert.equal(code, 0, stderr);
  });
  const server = serverEndIn(stdout);

  await t.step("new connections are refused, and none is answered 503", () => {
    for (const [client, { refused = 0, reset = 0, closed: _, ...others }] of Object.entries(totalsOf(fromOutside))) {
      const seen = JSON.stringify([client, refused, reset, others]);
      assert.deepEqual(Object.keys(others), [client.startsWith("tcp") ? "ok" : "200"], seen);
      assert.ok(refused > (client.startsWith("idle") ? 0 : 10), seen);
      assert.ok(reset <= 2, `only at the very moment: ${seen}`);
    }
  });
  await t.step("a connection that is kept ends between two answers, and what meets its end was not begun", () => {
    const kept = failedRequests(fromOutside).filter(({ client, failure }) =>
      /^(kept|idle)/.test(client) && failure !== "refused"
    );
    // RFC 9112, 9.3.1 and 9.6: a client that keeps a connection has to expect this, and may ask again.
    for (const { client, failure, id } of kept) {
      assert.equal(failure, "closed", client);
      assert.ok(!server.loads.includes(id!), `${client}: the program has begun what was not answered`);
    }
    assert.ok(server.loads.length > 50, "the program sees which request is which");
  });
  await t.step("the mesh goes over to the other instance, and loses nothing", () => {
    const totals = totalsOf(fromInside);
    assert.equal(failuresIn(totals), 0, fromInside);
    for (const [client, seen] of Object.entries(totals)) {
      assert.ok(seen["200"]! > (client.startsWith("idle") ? 3 : 50), fromInside);
    }
  });
  await t.step("the program's own calls succeed until it has ended", () => {
    const { calls } = server;
    assert.deepEqual(Object.keys(calls), ["200"]);
    assert.ok(calls["200"]! > 10, JSON.stringify(calls));
  });
  await t.step("Envoy ends in order and without a signal, and all is within the grace period", () => {
    assert.match(stderr, /debug Envoy exited normally source=istio-proxy/);
    assert.doesNotMatch(stderr, /ENVOY_SIGTERM|did not end in time|krun: /);
    assert.ok(tookMs < 25_000, `${tookMs} ms`);
  });
}

Deno.test.beforeAll(async () => {
  lab = await MeshLab.create();
  await service("peer", [8080, 9090]);
});
Deno.test.afterAll(() => lab[Symbol.asyncDispose]());

Deno.test("a workload of the mesh ends under load without losing a request, mode intercept", async (t) => {
  await drain(t, { name: "web", ports: [8080, 9090] });
});

Deno.test("a workload of the mesh ends under load without losing a request, mode proxy", async (t) => {
  const port = (number: number, protocol: string) => ({
    port: { number, protocol, name: protocol.toLowerCase() },
    defaultEndpoint: `127.0.0.1:${number - 10_000}`,
  });
  await lab.apply("Sidecar", "shop", {
    spec: {
      workloadSelector: { labels: { app: "shop" } },
      ingress: [port(18_080, "HTTP"), port(19_090, "TCP")],
      egress: [{ hosts: ["./*"] }],
    },
  });
  await drain(t, { name: "shop", uid: ORDINARY, ports: [18_080, 19_090] });
});

Deno.test("a proxy whose agent hangs is ended within the grace period, and nothing of it is left", async () => {
  const graceS = 16;
  const host = await lab.network.host("hung");
  const rules = async () => (await lab.network.run(host, ["iptables-nft-save"])).stdout;
  await using hung = await lab.workload(host, {
    name: "hung",
    args: [...MESH_SERVER, "8080", "9090"],
    env: { ...PORTS, KRUN_GRACE_PERIOD: `${graceS}s` },
  });
  await hung.krun.sees("stdout", /listening/);
  assert.match(await rules(), /ISTIO_OUTPUT/);
  const agent = hung.pid("pilot-agent");
  Deno.kill(agent, "SIGSTOP");
  const toldMs = Date.now();
  hung.krun.kill("SIGTERM");
  const { code, stderr } = await hung.krun.end;
  assert.equal(code, 0, stderr);
  const killed = /^(\S+) warn container did not end in time and is killed container=istio-proxy$/m.exec(stderr);
  const [, at = ""] = killed ?? assert.fail(stderr);
  // The rest is for the rules, which takes 0.3 s, and more on a machine that has much else to do.
  assert.ok(Date.parse(at) - toldMs <= (graceS - 1) * 1000, stderr);
  assert.doesNotMatch(await rules(), /ISTIO|KRUN/);
  assert.ok(!isAlive(agent));
});

Deno.test("a gateway of the mesh answers what is under way before it ends", async () => {
  await service("shelf", [8080, 9090]);
  await using shelf = await lab.workload(await lab.network.host("shelf"), {
    name: "shelf",
    args: [...MESH_SERVER, "8080", "9090"],
    env: PORTS,
  });
  const port = { number: 8088, protocol: "HTTP", name: "http" };
  await lab.apply("Gateway", "edge", { spec: { selector: { istio: "edge" }, servers: [{ port, hosts: ["*"] }] } });
  const route = [{ destination: { host: "shelf.shop.svc.cluster.local", port: { number: 80 } } }];
  await lab.apply("VirtualService", "edge", { spec: { hosts: ["*"], gateways: ["edge"], http: [{ route }] } });
  const host = await lab.network.host("edge");
  await using gateway = await lab.workload(host, {
    name: "edge",
    args: [],
    env: { GATEWAY_NAME: "edge" },
    uid: ORDINARY,
  });
  await gateway.krun.sees("stderr", /program started/);
  await shelf.callable();
  const call = async (path: string) => {
    const { stdout } = await lab.network.run(host, [...PEER_CALLS, `http://${host.address}:8088${path}`]);
    return callsIn(stdout)[0]?.status;
  };
  await waitFor("the gateway's route", async () => await call("/") === 200, { pauseMs: 250 });
  const slow = call("/?delay=2");
  await shelf.krun.sees("stdout", /waiting 1/);
  gateway.krun.kill("SIGTERM");
  assert.equal(await slow, 200);
  const { code, stderr } = await gateway.krun.end;
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /did not end in time/);
});

/** Kills a program of the mesh's proxy, and waits until the proxy runs again, and nothing of the old one. */
async function crash({ krun, pid }: Workload, program: "envoy" | "pilot-agent", pauseS = 0): Promise<void> {
  const old = [pid("envoy"), pid("pilot-agent")];
  Deno.kill(pid(program), "SIGKILL");
  await krun.sees("stderr", new RegExp(`container restarts container=istio-proxy seconds=${pauseS}\n`));
  await waitFor("agent and Envoy to run again", () => !old.includes(pid("envoy")) && !old.includes(pid("pilot-agent")));
  for (const one of old) await waitFor(`the end of ${one}`, () => !isAlive(one));
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

Deno.test("a proxy of the mesh that dies is started again, and the program does not notice but by its calls", async (t) => {
  await service("till", [8080, 9090]);
  // Its own status, which is not the agent's.
  const args = ["/bin/sh", "-c", 'trap : TERM; "$@"; exit 7', "sh", ...MESH_SERVER, "8080", "9090"];
  await using till = await lab.workload(await lab.network.host("till"), { name: "till", args, env: PORTS });
  const [, program] = await till.krun.sees("stdout", /listening (\d+)/);
  await till.callable();
  await using client = await lab.workload(await lab.network.host("till-in"), {
    name: "client",
    args: [...MESH_LOAD, "new:http://till/", "tcp:till:9000"],
  });
  await client.krun.sees("stdout", /loading/);
  const failures = () => client.krun.stdout.split("\n").filter((line) => line.includes('"failure"'));
  const calm = async () => {
    await waitFor("the load to succeed again", async () => {
      const before = failures().length;
      await new Promise((resolve) => setTimeout(resolve, 500));
      return failures().length === before;
    });
  };

  await t.step("Envoy", async () => {
    assert.deepEqual(failures(), []);
    await crash(till, "envoy");
    await calm();
    assert.ok(failures().length > 0, "the load does notice");
  });
  await t.step("the agent, whose Envoy outlives it", async () => {
    await crash(client, "pilot-agent");
    await calm();
  });
  await t.step("a second time, the pause is longer, and a stop does not wait for its end", async () => {
    Deno.kill(till.pid("envoy"), "SIGKILL");
    await till.krun.sees("stderr", /container restarts container=istio-proxy seconds=10\n/);
    assert.deepEqual([...till.krun.stdout.matchAll(/listening (\d+)/g)].map(([, pid]) => pid), [program]);
    till.krun.kill("SIGTERM");
    const { code, stderr } = await till.krun.end;
    assert.equal(code, 7, stderr);
    assert.doesNotMatch(stderr, /^krun: |restarts container=till/m);
  });
  client.krun.kill("SIGTERM");
  assert.equal((await client.krun.end).code, 0);
});

Deno.test("so is one in mode proxy, where agent and Envoy are the program's own user", async (t) => {
  await service("kiosk", [18_080, 19_090]);
  const port = (number: number, protocol: string) => ({
    port: { number, protocol, name: protocol.toLowerCase() },
    defaultEndpoint: `127.0.0.1:${number - 10_000}`,
  });
  const spec = {
    workloadSelector: { labels: { app: "kiosk" } },
    ingress: [port(18_080, "HTTP"), port(19_090, "TCP")],
    egress: [{ hosts: ["istio-system/*"] }],
  };
  await lab.apply("Sidecar", "kiosk", { spec });
  await using kiosk = await lab.workload(await lab.network.host("kiosk"), {
    name: "kiosk",
    args: [...MESH_SERVER, "8080", "9090"],
    env: PORTS,
    uid: ORDINARY,
  });
  const [, program] = await kiosk.krun.sees("stdout", /listening (\d+)/);
  await kiosk.callable();
  const host = await lab.network.host("kiosk-in");
  const answered = async () => {
    await using client = await lab.workload(host, { name: "client", args: [...PEER_CALLS, "http://kiosk/"] });
    return callsIn((await client.krun.end).stdout)[0]?.status === 200;
  };
  assert.ok(await answered());
  for (const [name, pauseS] of [["envoy", 0], ["pilot-agent", 10]] as const) {
    await t.step(name, async () => {
      await crash(kiosk, name, pauseS);
      await waitFor("an answer", answered, { pauseMs: 250 });
    });
  }
  assert.deepEqual([...kiosk.krun.stdout.matchAll(/listening (\d+)/g)].map(([, pid]) => pid), [program]);
  kiosk.krun.kill("SIGTERM");
  const { code, stderr } = await kiosk.krun.end;
  assert.equal(code, 0, stderr);
});
