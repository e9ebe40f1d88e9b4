import assert from "node:assert/strict";
import "../../tests/load_libc.ts";
import { TestAuthority } from "../../tests/certificates.ts";
import { CertificateFolder, Peer, workloadId } from "../../tests/mesh_rig.ts";
import { plannedPod } from "../../tests/planned_pod.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { TcpProgram, unusedPort } from "../../tests/tcp_program.ts";
import { waitFor } from "../../tests/wait.ts";
import { KrunError } from "../core/errors.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { MeshMode } from "../core/mesh_settings.ts";
import { parseSettings } from "../core/settings.ts";
import type { TunnelPlan } from "../core/tunnel.ts";
import { Control } from "./control.ts";
import type { MeshPlan } from "./mesh_plan.ts";
import type { Plan } from "./plan.ts";
import { WaysIn } from "./ways_in.ts";

interface TrialOptions {
  readonly env?: Env;
  readonly tunnel?: Pick<TunnelPlan, "ports" | "program" | "address">;
  /** Folder of the certificates, and port of the one program. */
  readonly mesh?: {
    readonly certificates: string;
    readonly ports: readonly number[];
    readonly program: number;
    /** @default {"proxyless"} */
    readonly mode?: MeshMode;
  };
}

/** The ways in of a run, of which there is nothing else. */
function trial({ env = {}, tunnel, mesh }: TrialOptions) {
  const log = new RecordingLog();
  const control = new Control({ suspend: () => {} });
  const planned = {
    ...plannedPod({}),
    ...(tunnel && { tunnel: { address: "127.0.0.1", ...tunnel, rule: "", addressRule: "", programRule: "" } }),
  };
  const hbone = mesh && { ports: mesh.ports, workload: { hosts: [], ports: [mesh.program] } };
  const mode = { mode: mesh?.mode ?? "proxyless" };
  const meshPlan = mesh && { hbone, mode, places: { certificates: mesh.certificates } } as unknown as MeshPlan;
  const plan = { planned, ...(meshPlan && { mesh: meshPlan }) } as Plan;
  return { log, control, ways: new WaysIn({ log, control, plan, settings: parseSettings(env) }) };
}

const isRefused = (port: number) =>
  Deno.connect({ hostname: "127.0.0.1", port }).then((connection) => (connection.close(), false), () => true);

Deno.test("WaysIn opens the front door when the program accepts, not before, and lets nobody new in from a stop on", async () => {
  const [port, behind] = [unusedPort(), unusedPort()];
  const tunnel = { ports: [port], program: { port: behind, protocol: "http/1.1" } } as const;
  const { ways, log } = trial({ tunnel });
  await using _ways = ways;
  ways.openTunnel();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(await isRefused(port), "a platform would take the program for ready");
  await using program = Deno.serve(
    { hostname: "127.0.0.1", port: behind, onListen: () => {} },
    () => new Response("hi"),
  );
  await waitFor("the front door", () => log.lines.some(({ event }) => event === "tunnel listens"));
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(await answer.text(), "hi");
  await ways.drain({ over: new AbortController().signal, othersRun: true });
  assert.ok(await isRefused(port));
  void program;
});

Deno.test("WaysIn opens no front door where the program never accepts, and ends with the run", async () => {
  const port = unusedPort();
  const { ways } = trial({ tunnel: { ports: [port], program: { port: unusedPort(), protocol: "http/1.1" } } });
  ways.openTunnel();
  await ways[Symbol.asyncDispose]();
  assert.ok(await isRefused(port));
});

Deno.test("WaysIn refuses a start whose front door has no port left", () => {
  using holder = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = holder.addr;
  assert.throws(
    () => trial({ tunnel: { ports: [port], program: { port: 1, protocol: "http/1.1" } } }),
    (error) =>
      error instanceof KrunError && error.code === "HboneUnavailable" && error.message.includes(`port ${port}`),
  );
});

Deno.test("WaysIn refuses a start whose front door is to listen on another machine's address", () => {
  const tunnel = { ports: [unusedPort()], program: { port: 1, protocol: "http/1.1" }, address: "192.0.2.1" } as const;
  assert.throws(
    () => trial({ tunnel }),
    (error) => error instanceof KrunError && error.code === "HboneUnavailable" && error.message.includes("192.0.2.1"),
  );
});

Deno.test("WaysIn warns of a front door in a mesh that others reach, and of no other", async () => {
  for (
    const [address, inMesh, warns] of [["0.0.0.0", true, true], ["127.0.0.1", true, false], [
      "0.0.0.0",
      false,
      false,
    ]] as const
  ) {
    await using program = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response("hi"));
    const tunnel = {
      ports: [unusedPort()],
      program: { port: program.addr.port, protocol: "http/1.1" },
      address,
    } as const;
    const mesh = { certificates: "/nowhere", ports: [unusedPort()], program: 1 };
    const { ways, log } = trial({ tunnel, ...(inMesh && { mesh }) });
    await using _ways = ways;
    ways.openTunnel();
    await waitFor("the front door", () => log.lines.some(({ event }) => event === "tunnel listens"));
    const warned = () => log.lines.some(({ level, event }) => level === "warn" && /mTLS/.test(event));
    if (warns) await waitFor("the warning", warned);
    else assert.equal(warned(), false);
  }
});

Deno.test("WaysIn opens the HBONE endpoint for peers, until it drains", async () => {
  const authority = new TestAuthority();
  const issue = (name: string) => authority.issue({ uris: [workloadId(name)] });
  await using folder = await CertificateFolder.create(issue("web"), authority.pem);
  await using program = await TcpProgram.echo();
  const port = unusedPort();
  const { ways } = trial({ mesh: { certificates: folder.path, ports: [port], program: program.port } });
  await using _ways = ways;
  await ways.openHbone();
  await using peer = new Peer(port, { certificate: issue("client"), rootPem: authority.pem });
  const { status, channel } = peer.open(`localhost:${program.port}`);
  assert.equal(await status, 200);
  await ways.drain({ over: new AbortController().signal, othersRun: true });
  assert.ok(await isRefused(port));
  await channel.write(new Uint8Array([1]));
  assert.deepEqual([...await channel.read() ?? []], [1]);
});

Deno.test("WaysIn says of an HBONE endpoint beside Envoy that it is past Envoy, and of no other", async () => {
  const authority = new TestAuthority();
  const certificate = authority.issue({ uris: [workloadId("web")] });
  await using folder = await CertificateFolder.create(certificate, authority.pem);
  for (const mode of ["intercept", "proxy", "proxyless"] as const) {
    const { ways, log } = trial({ mesh: { certificates: folder.path, ports: [unusedPort()], program: 1, mode } });
    await using _ways = ways;
    await ways.openHbone();
    const listens = log.lines.find(({ event }) => event === "hbone endpoint listens");
    assert.equal(
      /AuthorizationPolicy does not count.*HBONE_ALLOW/.test(`${listens?.fields?.note}`),
      mode !== "proxyless",
    );
  }
});

Deno.test("WaysIn goes on without an HBONE endpoint, unless HBONE_ALLOW asks for it", async () => {
  const mesh = { certificates: "/nowhere", ports: [unusedPort()], program: 1 };
  const usual = trial({ mesh });
  await usual.ways.openHbone();
  const [{ level, event, fields } = assert.fail("nothing was told")] = usual.log.lines;
  assert.deepEqual([level, event], ["warn", "peers of the mesh cannot call by HBONE"]);
  assert.match(String(fields?.reason), /"\/nowhere\/key\.pem"/);
  await usual.ways[Symbol.asyncDispose]();
  const asked = trial({ mesh, env: { HBONE_ALLOW: "spiffe://cluster.local" } });
  await assert.rejects(asked.ways.openHbone(), (e) => e instanceof KrunError && e.code === "HboneUnavailable");
  await asked.ways[Symbol.asyncDispose]();
});
