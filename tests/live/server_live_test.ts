/**
 * Every way to a real API server: proxies, names, certificates good and bad, HTTP/1.1, and what each failure says.
 *
 * @module
 */
import assert from "node:assert/strict";
import * as https from "node:https";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import type { Cluster } from "../../src/core/cluster.ts";
import { KrunError } from "../../src/core/errors.ts";
import { type ClusterRequest, findCluster } from "../../src/kube/find_cluster.ts";
import { krunArgv, runKrun } from "../krun_process.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";
import { CertificateAuthority, type CertificateOptions } from "./certificate_authority.ts";
import { compiledKrun } from "./compiled.ts";
import { TestProxy } from "./test_proxy.ts";

type Fields = Record<string, unknown>;

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
  await server.namespace("payments");
  await server.create({ apiVersion: "v1", kind: "Secret", metadata: { namespace: "payments", name: "db" }, data: {} });
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

function open(kubeconfig: string, request: Partial<ClusterRequest> = {}): Promise<Cluster> {
  const log = new RecordingLog();
  return findCluster({ kubeconfig: [kubeconfig], stateFolder: "/nowhere", ...request }, { log });
}

async function failureOf(promise: Promise<unknown>): Promise<KrunError> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof KrunError, String(error));
  return error;
}

const db = { kind: "Secret", namespace: "payments", name: "db" } as const;

/** Reads the Secret with the rights of an admin, over a server and CA of one's own. */
async function adminOf(cluster: Fields, request: Partial<ClusterRequest> = {}): Promise<Cluster> {
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(server.adminKubeconfig));
  return open(await server.kubeconfig("admin", user, cluster), request);
}

Deno.test("findCluster() reaches a server through http and socks5 proxies, which look up its name", async (t) => {
  await using named = await startApiServer({ certificate: { names: ["DNS:api.krun.test", "IP:127.0.0.1"] } });
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(named.adminKubeconfig));
  const url = `https://api.krun.test:${named.port}`;
  for (const kind of ["http", "socks5"] as const) {
    await t.step(`proxy-url ${kind}`, async () => {
      await using proxy = new TestProxy(kind);
      await using cluster = await open(
        await named.kubeconfig("admin", user, { "server": url, "proxy-url": proxy.url }),
      );
      assert.deepEqual(await cluster.get(db), undefined);
      assert.deepEqual(proxy.asked, [`api.krun.test:${named.port}`]);
      assert.equal(cluster.endpoint?.proxyUrl, proxy.url);
    });

    await t.step(`environment ${kind}`, async () => {
      await using proxy = new TestProxy(kind);
      const path = await named.kubeconfig("admin", user, { server: url });
      await using cluster = await open(path, { proxy: { httpsProxy: proxy.url, noProxy: "other.test" } });
      assert.deepEqual(await cluster.get(db), undefined);
      assert.equal(proxy.asked.length, 1);
    });
  }

  await t.step("password for the proxy", async () => {
    await using proxy = new TestProxy("http");
    const proxyUrl = proxy.url.replace("//", "//ann:s3cret@");
    await using cluster = await open(await named.kubeconfig("admin", user, { "server": url, "proxy-url": proxyUrl }));
    assert.deepEqual(await cluster.get(db), undefined);
    assert.deepEqual(proxy.authorizations, [`Basic ${btoa("ann:s3cret")}`]);
  });

  await t.step("a server on loopback is not reached through the environment's proxy", async () => {
    const path = await named.kubeconfig("admin", user);
    await using cluster = await open(path, { proxy: { httpsProxy: "http://127.0.0.1:9" } });
    assert.deepEqual(await cluster.get(db), undefined);
  });

  await t.step("a proxy that is away", async () => {
    const proxyUrl = "http://ann:s3cret@127.0.0.1:9";
    await using cluster = await open(await named.kubeconfig("admin", user, { "server": url, "proxy-url": proxyUrl }));
    const error = await failureOf(cluster.get(db));
    assert.equal(error.code, "ClusterUnreachable");
    assert.match(error.message, /through proxy http:\/\/127\.0\.0\.1:9: Connection refused/);
  });
});

Deno.test("krun reaches a server on loopback without the proxy of its environment, which the program still sees", async () => {
  const cwd = await Deno.makeTempDir({ dir: server.folder });
  const env = {
    KUBECONFIG: server.adminKubeconfig,
    WORKLOAD_NAMESPACE: "payments",
    K8S_SECRET_db: "./db",
    MESH_BASE_DIR: cwd,
  };
  const { code, stdout, stderr } = await runKrun({
    args: ["--", "/bin/sh", "-c", "echo $HTTPS_PROXY $https_proxy"],
    cwd,
    env: { ...env, HTTPS_PROXY: "http://127.0.0.1:9", https_proxy: "http://127.0.0.1:9", KRUN_START_TIMEOUT: "10s" },
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), "http://127.0.0.1:9 http://127.0.0.1:9");
});

Deno.test("findCluster() tells every request of a server that is away, and lets none fail because another was given up", async () => {
  await using away = await adminOf({ server: `https://127.0.0.1:${freePort()}` });
  const errors = await Promise.all(Array.from({ length: 50 }, () => failureOf(away.get(db))));
  for (const error of errors) assert.match(error.message, /: Connection refused$/);

  await using cluster = await adminOf({});
  const stop = new AbortController();
  // The first one makes the handshake for all.
  const first = assert.rejects(cluster.get(db, { signal: stop.signal }), { message: "enough" });
  const others = Array.from({ length: 20 }, () => cluster.get(db));
  // Its connection is being made by now, and not made yet.
  await new Promise((resolve) => setTimeout(resolve, 0));
  stop.abort(new Error("enough"));
  await first;
  for (const read of await Promise.all(others)) assert.equal(read?.metadata?.name, "db");
});

Deno.test("findCluster() verifies the server: every faulty certificate is CertificateInvalid, and says how", async (t) => {
  const other = await CertificateAuthority.create(await Deno.makeTempDir({ dir: server.folder }));
  await using faulty = await startApiServer();
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(faulty.adminKubeconfig));
  const fails = async (cluster: Fields, says: RegExp) => {
    await using opened = await open(await faulty.kubeconfig("admin", user, cluster));
    const error = await failureOf(opened.get(db));
    assert.equal(error.code, "CertificateInvalid", error.message);
    assert.match(error.message, says);
    assert.equal(error.transient, false);
  };
  await t.step("wrong CA, found by requests that share one handshake", async () => {
    const path = await faulty.kubeconfig("admin", user, { "certificate-authority-data": btoa(other.pem) });
    await using opened = await open(path);
    const errors = await Promise.all(Array.from({ length: 50 }, () => failureOf(opened.get(db))));
    assert.deepEqual([...new Set(errors.map((error) => error.code))], ["CertificateInvalid"]);
  });
  await t.step("wrong CA", () => fails({ "certificate-authority-data": btoa(other.pem) }, /not signed by the CA/));
  await t.step(
    "no CA but the system's",
    () => fails({ "certificate-authority-data": null }, /not signed by a CA that this machine trusts/),
  );
  const certificates: Record<string, { certificate: CertificateOptions; says: RegExp }> = {
    "version 1": { certificate: { version1: true }, says: /X\.509 version 1/ },
    "expired": { certificate: { expired: true }, says: /has expired/ },
    "for another name": {
      certificate: { names: ["DNS:api.krun.test"] },
      says: /its certificate is not for "127\.0\.0\.1", only for api\.krun\.test$/,
    },
  };
  for (const [name, { certificate, says }] of Object.entries(certificates)) {
    await t.step(name, async () => {
      await faulty.stopServer();
      await faulty.startServer({ certificate });
      await fails({}, says);
    });
  }

  await t.step("tls-server-name: the name in the certificate", async () => {
    await using cluster = await open(await faulty.kubeconfig("admin", user, { "tls-server-name": "api.krun.test" }));
    assert.deepEqual(await cluster.get(db), undefined);
  });
  await t.step("tls-server-name: another name", () => {
    return fails({ "tls-server-name": "wrong.krun.test" }, /not for this name: Host: wrong\.krun\.test/);
  });
  await t.step("tls-server-name: the name in the certificate, of a wrong CA", () => {
    const cluster = { "tls-server-name": "api.krun.test", "certificate-authority-data": btoa(other.pem) };
    return fails(cluster, /not signed by the CA/);
  });
});

Deno.test("findCluster() does everything over the transport for tls-server-name and insecure-skip-tls-verify", async (t) => {
  const variants: Record<string, Fields> = {
    "tls-server-name": { "tls-server-name": "kubernetes.default.svc" },
    "insecure-skip-tls-verify": { "insecure-skip-tls-verify": true, "certificate-authority-data": null },
  };
  for (const [name, fields] of Object.entries(variants)) {
    await t.step(name, async () => {
      await using proxy = new TestProxy("http");
      for (const cluster of [fields, { ...fields, "proxy-url": proxy.url }]) {
        await using opened = await adminOf(cluster);
        const token = { namespace: "payments", serviceAccount: "default", audience: "", expirationSeconds: 600 };
        const reads = await Promise.all(Array.from({ length: 30 }, () => opened.get(db)));
        assert.ok(reads.every((read) => read !== undefined));
        assert.equal((await opened.requestToken(token)).token.split(".").length, 3);
        await followsOnce(opened);
      }
      assert.ok(proxy.asked.length > 0);
    });
  }

  await t.step("a server that is away, and a call that is given up", async () => {
    await using away = await adminOf({ "server": "https://127.0.0.1:9", "tls-server-name": "kubernetes.default.svc" });
    const error = await failureOf(away.get(db));
    assert.deepEqual([error.code, error.transient], ["ClusterUnreachable", true]);
    await using opened = await adminOf(variants["tls-server-name"]!);
    const stop = new AbortController();
    const given = assert.rejects(opened.get(db, { signal: stop.signal }), { message: "enough" });
    stop.abort(new Error("enough"));
    await given;
  });

  await t.step("not through a socks proxy", async () => {
    const cluster = { "tls-server-name": "kubernetes.default.svc", "proxy-url": "socks5://127.0.0.1:9" };
    assert.equal((await failureOf(adminOf(cluster))).code, "KubeconfigInvalid");
  });
});

/** Follows the Secret until it has been delivered. */
async function followsOnce(cluster: Cluster): Promise<void> {
  const stop = new AbortController();
  let delivered: string | undefined;
  await cluster.follow(db, {
    signal: stop.signal,
    deliver: (object) => {
      delivered = object?.metadata?.name;
      stop.abort();
    },
  });
  assert.equal(delivered, "db");
}

Deno.test("findCluster() works behind kubectl proxy: plain HTTP/1.1 and a path prefix", async () => {
  const port = freePort();
  const args = ["proxy", `--port=${port}`, "--api-prefix=/cluster/one/", `--kubeconfig=${server.adminKubeconfig}`];
  const child = new Deno.Command(await liveTool("kubectl"), { args, stdout: "null", stderr: "null" }).spawn();
  try {
    const path = await server.kubeconfig("proxied", {}, {
      "server": `http://127.0.0.1:${port}/cluster/one/`,
      "certificate-authority-data": null,
    });
    await using cluster = await open(path);
    await waitFor("kubectl proxy", () => cluster.get(db));
    await followsOnce(cluster);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
});

Deno.test("findCluster() goes back to HTTP/1.1 for a TLS server that has no HTTP/2", async (t) => {
  const pair = await server.ca.issue({ names: ["IP:127.0.0.1"] });
  for (const ALPNProtocols of [["http/1.1"], undefined]) {
    await t.step(ALPNProtocols ? "and says so" : "and has no ALPN either", async () => {
      const options = { cert: pair.certPem, key: pair.keyPem, ...(ALPNProtocols ? { ALPNProtocols } : {}) };
      const front = https.createServer(options, (request, response) => {
        server.request(request.url ?? "/").then(async (answer) =>
          response.writeHead(answer.status).end(await answer.text())
        );
      });
      await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", () => resolve()));
      const { port } = front.address() as { port: number };
      try {
        await using cluster = await adminOf({ server: `https://127.0.0.1:${port}` });
        const reads = await Promise.all(Array.from({ length: 10 }, () => cluster.get(db)));
        assert.ok(reads.every((read) => read?.metadata?.name === "db"));
      } finally {
        front.closeAllConnections();
        await new Promise((resolve) => front.close(resolve));
      }
    });
  }
});

Deno.test("krun verifies a server by the kubeconfig's CA alone, whatever Deno is told to trust, and tells the program", async (t) => {
  const other = await CertificateAuthority.create(await Deno.makeTempDir({ dir: server.folder }));
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(server.adminKubeconfig));
  const wrong = await server.kubeconfig("admin", user, { "certificate-authority-data": btoa(other.pem) });
  const none = await server.kubeconfig("admin", user, { "certificate-authority-data": null });
  const trusts: Record<string, Record<string, string>> = {
    DENO_CERT: { DENO_CERT: server.caFile },
    NODE_EXTRA_CA_CERTS: { NODE_EXTRA_CA_CERTS: server.caFile },
    DENO_TLS_CA_STORE: { DENO_TLS_CA_STORE: "system", SSL_CERT_FILE: server.caFile },
  };
  const start = async (argv: readonly string[], env: Record<string, string>) => {
    const cwd = await Deno.makeTempDir({ dir: server.folder });
    const settings = { WORKLOAD_NAMESPACE: "payments", K8S_SECRET_db: "./db", MESH_BASE_DIR: cwd, HOME: "/root" };
    // Deno's own request for newer versions, half a second after its start, settles whom it trusts: on a slow machine before krun can.
    const own = { ...denoFolder(), DENO_NO_UPDATE_CHECK: "1" };
    const args = ["--", "/bin/sh", "-c", "echo $DENO_CERT$NODE_EXTRA_CA_CERTS$DENO_TLS_CA_STORE"];
    // What follows finds its modules where the tests' own deno has them; a binary does not care.
    return await runKrun({ argv: [...argv], args, cwd, env: { ...own, ...settings, ...env } });
  };
  for (const [name, argv] of [["from source", krunArgv()], ["compiled", [await compiledKrun()]]] as const) {
    for (const [variable, env] of Object.entries(trusts)) {
      await t.step(`${name}: ${variable}`, async () => {
        const refused = await start(argv, { ...env, KUBECONFIG: wrong });
        assert.equal(refused.code, 125, refused.stderr);
        assert.match(refused.stderr, /^krun: Cannot .*: its certificate is not signed by the CA that krun was given/m);
        const right = await start(argv, { ...env, KUBECONFIG: server.adminKubeconfig });
        assert.equal(right.code, 0, right.stderr);
        assert.equal(right.stdout.trim(), env[variable]);
      });
    }
    await t.step(`${name}: no CA in the kubeconfig`, async () => {
      const trusted = await start(argv, { KUBECONFIG: none, SSL_CERT_FILE: server.caFile });
      assert.equal(trusted.code, 0, trusted.stderr);
      const refused = await start(argv, { KUBECONFIG: none, SSL_CERT_FILE: other.file, DENO_CERT: server.caFile });
      assert.equal(refused.code, 125, refused.stderr);
      assert.match(refused.stderr, /its certificate is not signed by a CA that this machine trusts/);
    });
  }
});

function denoFolder(): Record<string, string> {
  const set = Deno.env.get("DENO_DIR");
  return { DENO_DIR: set ?? join(Deno.env.get("HOME") ?? "/root", ".cache", "deno") };
}

Deno.test("findCluster() reaches a server on a port that fetch blocks, and says at once when it cannot", async (t) => {
  const pair = await server.ca.issue({ names: ["IP:127.0.0.1"] });
  const blocked = [6665, 6666, 6667, 6668, 6669, 6697, 10080, 6000];
  const free = blocked.find((port) => {
    try {
      return Deno.listen({ hostname: "127.0.0.1", port }).close() === undefined;
    } catch {
      return false;
    }
  });
  assert.ok(free !== undefined, "every port that fetch blocks is taken");
  await t.step("with TLS", async () => {
    await using _front = Deno.serve(
      { hostname: "127.0.0.1", port: free, cert: pair.certPem, key: pair.keyPem, onListen() {} },
      async (request) => {
        const { pathname, search } = new URL(request.url);
        const answer = await server.request(pathname + search);
        return new Response(await answer.text(), { status: answer.status });
      },
    );
    await using cluster = await adminOf({ server: `https://127.0.0.1:${free}` });
    assert.equal((await cluster.get(db))?.metadata?.name, "db");
    const other = await CertificateAuthority.create(await Deno.makeTempDir({ dir: server.folder }));
    const wrong = { "server": `https://127.0.0.1:${free}`, "certificate-authority-data": btoa(other.pem) };
    await using foreign = await adminOf(wrong);
    assert.equal((await failureOf(foreign.get(db))).code, "CertificateInvalid");
  });
  await t.step("without TLS", async () => {
    await using cluster = await adminOf({
      "server": `http://127.0.0.1:${free}`,
      "certificate-authority-data": null,
    });
    const error = await failureOf(cluster.get(db));
    assert.deepEqual([error.code, error.transient], ["ClusterUnreachable", false]);
    assert.match(error.message, new RegExp(`krun opens no connection without TLS to port ${free}`));
  });
});
