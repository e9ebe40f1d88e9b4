/** A steady load between two workloads, while all that they live on is renewed, or goes away and comes back. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { accountUid, jwtClaims } from "../../src/core/jwt.ts";
import { waitFor } from "../wait.ts";
import { MeshLab, type Workload } from "./mesh_lab.ts";
import { failuresIn, MESH_LOAD, MESH_SERVER, totalsOf } from "./mesh_load.ts";

/** How long the load lasts at least. */
const STEADY_MS = 60_000;

/** How long a server stays away. */
const AWAY_MS = 8_000;

/** A certificate lives 50 s, and is renewed when half of that is over: one that cannot be renewed ends within the load. */
const SHORT_CERTIFICATES = { PROXY_CONFIG: JSON.stringify({ proxyMetadata: { SECRET_TTL: "50s" } }) };

const CLIENTS = ["kept:http://web/", "new:http://web/", "tcp:web:9000", "held:web:9000"];

/** Serial number and beginning of the workload's certificate that Envoy uses. */
async function certificateOf(workload: Workload): Promise<{ serial: string; fromMs: number }> {
  const { certificates } = JSON.parse(await workload.envoy("certs"));
  const [chain] = certificates.flatMap((one: { cert_chain: unknown[] }) => one.cert_chain);
  return { serial: chain.serial_number, fromMs: Date.parse(chain.valid_from) };
}

/** istiod dates a certificate back, for clocks that are behind. */
const DATED_BACK_MS = 120_000;

async function tokenOf({ base }: Workload) {
  const text = await Deno.readTextFile(join(base, "var/run/secrets/tokens/istio-token"));
  return { account: accountUid(text), issuedMs: jwtClaims(text)!.iat as number * 1000 };
}

const forMs = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("no request fails in 60 s in which istiod, the API server, tokens and certificates come and go", async (t) => {
  // istiod's own default, in place of the rig's: an entry outlives the time without istiod.
  await using lab = await MeshLab.create({ env: { PILOT_WORKLOAD_ENTRY_GRACE_PERIOD: "10s" } });
  const ports = [{ name: "http", port: 80, targetPort: 8080 }, { name: "tcp", port: 9000, targetPort: 9090 }];
  await lab.apply("Service", "web", { spec: { selector: { app: "web" }, ports } });
  await lab.apply("WorkloadGroup", "web", {
    spec: { metadata: { labels: { app: "web" } }, template: { serviceAccount: "web" } },
  });
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  await using web = await lab.workload(await lab.network.host("web"), {
    name: "web",
    args: [...MESH_SERVER, "8080", "9090"],
    env: { ...SHORT_CERTIFICATES, PORT: "8080", PORT_tcp: "9090" },
  });
  await web.krun.sees("stdout", /listening/);
  await web.callable();
  await using client = await lab.workload(await lab.network.host("client"), {
    name: "client",
    args: [...MESH_LOAD, ...CLIENTS],
    env: SHORT_CERTIFICATES,
  });
  await client.krun.sees("stdout", /loading/);
  const beganMs = performance.now();
  const both = [web, client];
  const certificates = () => Promise.all(both.map(certificateOf));

  /** A change of the mesh is made, and both proxies have it. */
  const heard = async (service: string) => {
    await lab.apply("Service", service, { spec: { ports: [{ name: "http", port: 8000 }] } });
    for (const { envoy } of both) {
      const known = async () => (await envoy("clusters")).includes(`${service}.shop.svc`);
      await waitFor("the new Service", known, { pauseMs: 250 });
    }
  };

  await t.step("istiod is killed and started again, and both hear of a new Service from it", async () => {
    const { pid } = lab.istiod;
    await lab.istiod.stop();
    await lab.istiod.start();
    assert.notEqual(lab.istiod.pid, pid);
    await heard("later");
  });

  await t.step("service accounts are made anew and the API server goes away: tokens are rotated", async () => {
    const tokens = await Promise.all(both.map(tokenOf));
    for (const name of ["web", "client"]) {
      const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "shop", name } };
      await lab.server.delete(account);
      await lab.server.create(account);
    }
    const { pid } = lab.server;
    await lab.server.stopServer();
    await forMs(AWAY_MS);
    await lab.server.startServer();
    assert.notEqual(lab.server.pid, pid);
    for (const [index, workload] of both.entries()) {
      await waitFor("a token of the new account", async () => {
        return (await tokenOf(workload)).account !== tokens[index]!.account;
      });
    }
  });

  await t.step("certificates are rotated, by the new tokens", async () => {
    const before = await certificates();
    for (const [index, workload] of both.entries()) {
      const { issuedMs } = await tokenOf(workload);
      await waitFor("a certificate that is younger than the token", async () => {
        const { serial, fromMs } = await certificateOf(workload);
        return serial !== before[index]!.serial && fromMs + DATED_BACK_MS > issuedMs;
      }, { pauseMs: 250 });
    }
  });

  await t.step("istiod and the API server go away together, and come back", async () => {
    await lab.istiod.stop("SIGTERM");
    await lab.server.stopServer();
    await forMs(AWAY_MS);
    await lab.server.startServer();
    await lab.istiod.start();
    await heard("latest");
  });

  await t.step("no request has failed", async () => {
    await forMs(Math.max(STEADY_MS - (performance.now() - beganMs), 0));
    client.krun.kill("SIGTERM");
    const { code, stdout, stderr } = await client.krun.end;
    assert.equal(code, 0, stderr);
    const totals = totalsOf(stdout);
    assert.equal(failuresIn(totals), 0, stdout);
    for (const seen of Object.values(totals)) assert.ok(Object.values(seen)[0]! > 100, stdout);
    for (const { krun } of both) assert.doesNotMatch(krun.stderr, /container restarts/);
  });
});
