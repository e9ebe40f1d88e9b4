/** When a workload of the mesh is called: while its Pod is ready, and neither before nor after. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { callsIn, MeshLab, PEER_CALLS, type WorkloadOptions } from "./mesh_lab.ts";
import { MESH_SERVER } from "./mesh_load.ts";
import type { MeshHost } from "./mesh_network.ts";

let lab: MeshLab;
/** Where somebody in the mesh calls. */
let clientHost: MeshHost;

async function service(name: string, probe?: unknown): Promise<void> {
  const ports = [{ name: "http", port: 80, targetPort: 8080 }];
  await lab.apply("Service", name, { spec: { selector: { app: name }, ports } });
  const template = { serviceAccount: name };
  const spec = { metadata: { labels: { app: name } }, template, ...(probe !== undefined && { probe }) };
  await lab.apply("WorkloadGroup", name, { spec });
}

/** What is answered to a call of a Service: a status, or why there is none. */
async function answer(name: string): Promise<string> {
  const { stdout, stderr } = await lab.network.run(clientHost, [...PEER_CALLS, `http://${name}/`]);
  const [call] = callsIn(stdout);
  assert.ok(call, stderr);
  return call.status === 503 ? `503 ${call.body}` : String(call.status ?? call.failure);
}

async function isAnswered(name: string, expected: RegExp): Promise<void> {
  await waitFor(`${name} to be answered ${expected}`, async () => expected.test(await answer(name)), { pauseMs: 250 });
}

/** Asks a program itself, on its own host. */
async function tell(host: MeshHost, path: string): Promise<void> {
  const { stdout } = await lab.network.run(host, [...PEER_CALLS, `http://127.0.0.1:8080${path}`]);
  assert.equal(callsIn(stdout)[0]?.status, 200, stdout);
}

/** KRUN_POD with a program and its probes. */
async function pod(name: string, container: unknown): Promise<string> {
  const path = join(lab.server.folder, `${name}.json`);
  const spec = {
    enableServiceLinks: false,
    containers: [{ name, ports: [{ name: "http", containerPort: 8080 }], ...container as object }],
  };
  await Deno.writeTextFile(path, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name }, spec }));
  return path;
}

const NOBODY = /^503 no healthy upstream/;
const SERVER: Pick<WorkloadOptions, "args"> = { args: [...MESH_SERVER, "8080", "9090"] };

async function readiness(t: Deno.TestContext): Promise<void> {
  await service("web");
  const host = await lab.network.host("web");
  const KRUN_POD = await pod("web", {
    readinessProbe: { httpGet: { port: "http", path: "/health" }, periodSeconds: 1, failureThreshold: 1 },
  });
  await using web = await lab.workload(host, { name: "web", ...SERVER, env: { KRUN_POD } });
  await web.krun.sees("stdout", /listening/);
  await t.step("ready: it is called", async () => {
    await web.callable();
    await isAnswered("web", /^200$/);
  });
  await t.step("not ready: it is not", async () => {
    await tell(host, "/sick");
    await web.callable(false);
    await isAnswered("web", NOBODY);
  });
  await t.step("ready again: it is", async () => {
    await tell(host, "/well");
    await isAnswered("web", /^200$/);
  });
}

async function startup(t: Deno.TestContext): Promise<void> {
  await service("slow");
  const host = await lab.network.host("slow");
  const script = 'until test -e go; do sleep 0.02; done; exec "$@"';
  await using slow = await lab.workload(host, {
    name: "slow",
    args: ["/bin/sh", "-c", script, "sh", ...SERVER.args],
    env: { PORT: "8080", "startupProbe.tcp": "8080" },
  });
  await slow.krun.sees("stderr", /program started/);
  await t.step("before its startup probe has succeeded: it is not called", async () => {
    // The agent has told of it, and more than once.
    await waitFor("an entry", async () => (await healthOf("slow"))[0] === "False");
    assert.match(await answer("slow"), NOBODY);
  });
  await t.step("after it: it is", async () => {
    await Deno.writeTextFile(join(slow.base, "go"), "");
    await slow.callable();
    await isAnswered("slow", /^200$/);
  });
  await t.step(
    "at the end of its program, at once after SIGTERM: it is not, as the mesh knows before krun is gone",
    async () => {
      slow.krun.kill("SIGTERM");
      const { code, stderr } = await slow.krun.end;
      assert.equal(code, 0, stderr);
      assert.deepEqual(await healthOf("slow"), ["False"]);
      assert.match(await answer("slow"), NOBODY);
      await waitFor("the entry to be gone", async () => (await healthOf("slow")).length === 0);
    },
  );
}

async function byGroup(t: Deno.TestContext): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "krun-health-" });
  await service("group", { exec: { command: ["test", "-e", join(folder, "ready")] }, periodSeconds: 1 });
  await using group = await lab.workload(await lab.network.host("group"), {
    name: "group",
    ...SERVER,
    env: { PORT: "8080" },
  });
  await group.krun.sees("stdout", /listening/);
  await t.step("a command of the group, which krun runs for the agent", async () => {
    await waitFor("an entry", async () => (await healthOf("group"))[0] === "False");
    await Deno.writeTextFile(join(folder, "ready"), "");
    await isAnswered("group", /^200$/);
  });
  await Deno.remove(folder, { recursive: true });
}

async function unprobed(t: Deno.TestContext): Promise<void> {
  await service("plain");
  await using plain = await lab.workload(await lab.network.host("plain"), {
    name: "plain",
    ...SERVER,
    env: { PORT: "8080" },
  });
  await plain.krun.sees("stdout", /listening/);
  await t.step("it is called", async () => {
    await plain.callable();
    await isAnswered("plain", /^200$/);
  });
  await t.step("SIGTERM: it is not, while its program still works", async () => {
    const slow = lab.network.run(clientHost, [...PEER_CALLS, "http://plain/?delay=5"]);
    await plain.krun.sees("stdout", /waiting 1/);
    plain.krun.kill("SIGTERM");
    await isAnswered("plain", NOBODY);
    assert.doesNotMatch(plain.krun.stdout, /"answered"/, "the program has not ended");
    assert.equal(callsIn((await slow).stdout)[0]?.status, 200);
    assert.equal((await plain.krun.end).code, 0);
  });
}

/** How healthy each entry of a group is. */
async function healthOf(group: string): Promise<string[]> {
  return (await lab.entries()).filter(({ name }) => name.startsWith(`${group}-`)).map(({ healthy }) => healthy);
}

Deno.test("a workload of the mesh is called while it is ready, and neither before nor after", async (t) => {
  // An entry outlives its agent by this: what is seen before is not due to that.
  lab = await MeshLab.create({ env: { PILOT_WORKLOAD_ENTRY_GRACE_PERIOD: "3s" } });
  await using _lab = lab;
  clientHost = await lab.network.host("client");
  // Others call by its proxy.
  await using client = await lab.workload(clientHost, { name: "client", args: ["/bin/sleep", "600"] });
  await client.krun.sees("stderr", /program started/);
  await t.step("readiness probe", readiness);
  await t.step("startup probe", startup);
  await t.step("probe of the WorkloadGroup", byGroup);
  await t.step("no probe", unprobed);
});
