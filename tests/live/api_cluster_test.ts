/**
 * The API server as a cluster, by a real one: the shared contract, errors as a person meets them, and many requests at once.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Cluster } from "../../src/core/cluster.ts";
import { KrunError } from "../../src/core/errors.ts";
import { ApiCluster } from "../../src/kube/api_cluster.ts";
import { findCluster } from "../../src/kube/find_cluster.ts";
import { keepsClusterContract } from "../cluster_contract.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, type KubeObject, startApiServer } from "./api_server.ts";
import { CountingProxy } from "./counting_proxy.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
  await server.namespace("payments");
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

function open(kubeconfig: string, log = new RecordingLog()): Promise<Cluster> {
  return findCluster({ kubeconfig: [kubeconfig], stateFolder: "/nowhere" }, { log });
}

function secret(name: string, value = "1", namespace = "payments"): KubeObject {
  return { apiVersion: "v1", kind: "Secret", metadata: { namespace, name }, stringData: { value } };
}

const db = { kind: "Secret", namespace: "payments", name: "db" } as const;
const token = { namespace: "payments", serviceAccount: "default", audience: "", expirationSeconds: 3600 };

/** The KrunError that a promise rejects with. */
async function failureOf(promise: Promise<unknown>): Promise<KrunError> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof KrunError, String(error));
  return error;
}

Deno.test("ApiCluster keeps the contract of a cluster", async (t) => {
  for (const namespace of ["contract", "contract-other"]) await server.namespace(namespace);
  await using cluster = await open(server.adminKubeconfig);
  assert.ok(cluster instanceof ApiCluster);
  await keepsClusterContract(t, {
    cluster,
    namespace: "contract",
    otherNamespace: "contract-other",
    put: async (object) => {
      const whole = { apiVersion: "v1", ...object } as unknown as KubeObject;
      const there = await server.get(whole).then(() => true, () => false);
      // kube-apiserver gives a Service its address at creation and refuses to lose it.
      if (there && whole.kind === "Service") await server.delete(whole);
      await (there && whole.kind !== "Service" ? server.replace(whole) : server.create(whole));
    },
    remove: async ({ kind, namespace, name }) => {
      await server.delete({ apiVersion: "v1", kind, metadata: { namespace, name } });
    },
  });
});

Deno.test("ApiCluster.get() names verb, resource and identity when forbidden, and prints a Role that then allows it", async () => {
  await server.apply(secret("db"));
  const ann = await server.user("ann", ["dev"]);
  await using cluster = await open(ann.kubeconfig);
  const error = await failureOf(cluster.get(db));
  assert.equal(error.code, "Forbidden");
  assert.equal(
    error.message,
    `Cannot read Secret "payments/db" at ${server.url}: 403, user "ann" may not get secrets "db" in namespace "payments"`,
  );
  assert.equal(error.transient, false);
  for (const document of (error.details ?? "").split("---\n")) {
    const response = await server.request(applyPath(document), {
      method: "PATCH",
      headers: { "content-type": "application/apply-patch+yaml" },
      body: document,
    });
    const text = await response.text();
    assert.ok(response.ok, text);
  }
  // The authorizer learns of a Role by a watch of its own.
  assert.ok(await waitFor("the Role to count", () => cluster.get(db)));
  assert.deepEqual(await cluster.access({ verb: "watch", resource: "secrets", namespace: "payments", name: "db" }), {
    allowed: true,
    reason: 'RBAC: allowed by RoleBinding "krun-secrets-db/payments" of Role "krun-secrets-db" to User "ann"',
  });
  const others = await cluster.access({ verb: "get", resource: "secrets", namespace: "payments", name: "other" });
  assert.equal(others.allowed, false);
});

Deno.test("ApiCluster.requestToken() prints a Role for serviceaccounts/token when forbidden", async () => {
  await using cluster = await open((await server.user("tess")).kubeconfig);
  const error = await failureOf(cluster.requestToken(token));
  assert.equal(error.code, "Forbidden");
  assert.match(error.message, /user "tess" may not create serviceaccounts\/token "default" in namespace "payments"$/);
  assert.match(error.details ?? "", /resources: \["serviceaccounts\/token"\]\n {2}resourceNames: \["default"\]/);
  assert.equal((await failureOf(cluster.services("payments"))).code, "Forbidden");
});

Deno.test("ApiCluster.requestToken() gives the life that the server granted, and names what is missing", async () => {
  await using cluster = await open(server.adminKubeconfig);
  const granted = await cluster.requestToken({ ...token, audience: "vault", expirationSeconds: 601 });
  assert.equal(granted.expiresAtMs - granted.issuedAtMs, 601_000);
  assert.ok(Math.abs(granted.issuedAtMs - Date.now()) < 60_000);
  const account = await failureOf(cluster.requestToken({ ...token, serviceAccount: "nobody" }));
  assert.equal(account.code, "ServiceAccountNotFound");
  assert.match(account.message, /service account "payments\/nobody" at .*: 404, serviceaccounts "nobody" not found$/);
  const namespace = await failureOf(cluster.requestToken({ ...token, namespace: "nowhere" }));
  assert.equal(namespace.code, "ServiceAccountNotFound");
  assert.match(namespace.message, /namespaces "nowhere" not found$/);
  const short = await failureOf(cluster.requestToken({ ...token, expirationSeconds: 599 }));
  assert.equal(short.code, "ApiRequestFailed");
  assert.match(short.message, /may not specify a duration less than 10 minutes$/);
});

Deno.test("ApiCluster takes a token file that is renewed, and is Unauthorized naming file, context and user otherwise", async () => {
  await using admin = await open(server.adminKubeconfig);
  await server.grant("payments", "system:serviceaccount:payments:default", [
    { apiGroups: [""], resources: ["secrets"], verbs: ["get"] },
  ]);
  await server.apply(secret("db"));
  const tokenFile = join(server.folder, "token-of-a-user");
  await Deno.writeTextFile(tokenFile, "not-a-token");
  const kubeconfig = await server.kubeconfig("filer", { tokenFile });
  await using cluster = await open(kubeconfig);
  const error = await failureOf(cluster.get(db));
  assert.equal(error.code, "Unauthorized");
  assert.equal(
    error.message,
    `Cannot read Secret "payments/db" at ${server.url}: 401, it does not accept the credentials of ` +
      `user "filer" of context "filer@test" in kubeconfig "${kubeconfig}"`,
  );
  // The 401 itself makes krun look at the file again, so that no second is lost.
  await Deno.writeTextFile(tokenFile, (await admin.requestToken(token)).token);
  assert.ok(await waitFor("the Role to count", () => cluster.get(db)));
});

Deno.test("ApiCluster works with the files of a Pod's service account", async () => {
  await using admin = await open(server.adminKubeconfig);
  const folder = await Deno.makeTempDir({ dir: server.folder });
  await Deno.writeTextFile(join(folder, "token"), (await admin.requestToken(token)).token);
  await Deno.writeTextFile(join(folder, "ca.crt"), server.caPem);
  await Deno.writeTextFile(join(folder, "namespace"), "payments");
  const request = {
    inClusterFolder: folder,
    kubernetesServiceHost: "127.0.0.1",
    kubernetesServicePort: `${server.port}`,
  };
  await using cluster = await findCluster({ ...request, stateFolder: "/nowhere" }, { log: new RecordingLog() });
  const own = { namespace: "payments", serviceAccount: "default" };
  assert.deepEqual(cluster.source, { kind: "in-cluster", where: folder, ...own });
  const error = await failureOf(cluster.get({ ...db, namespace: "default" }));
  assert.match(error.message, /user "system:serviceaccount:payments:default" may not get/);
  assert.match(error.details ?? "", /- \{kind: ServiceAccount, namespace: "payments", name: "default"\}/);
});

Deno.test("ApiCluster sends all requests of a start over one connection", async () => {
  await using proxy = await CountingProxy.start(server.port);
  const path = await server.kubeconfig("one-connection", await adminUser(), {
    server: `https://127.0.0.1:${proxy.port}`,
  });
  await using cluster = await open(path);
  const gets = Array.from({ length: 300 }, (_, i) => cluster.get({ ...db, name: `absent-${i}` }));
  await Promise.all([
    ...gets,
    ...Array.from({ length: 20 }, () => cluster.requestToken(token)),
    cluster.services("default"),
  ]);
  assert.equal(proxy.connections, 1);
  assert.deepEqual(cluster.counts, { requests: 321, errors: 0 });
});

Deno.test("ApiCluster answers reads and token requests at once while 500 objects are followed", async () => {
  const namespace = "crowd";
  await server.namespace(namespace);
  const names = Array.from({ length: 500 }, (_, i) => `object-${i}`);
  for (let i = 0; i < names.length; i += 50) {
    await Promise.all(names.slice(i, i + 50).map((name) => server.create(secret(name, "1", namespace))));
  }
  await using proxy = await CountingProxy.start(server.port);
  const path = await server.kubeconfig("crowd", await adminUser(), { server: `https://127.0.0.1:${proxy.port}` });
  await using cluster = await open(path);
  const stop = new AbortController();
  const last = new Map<string, string>();
  const watching = new Set<string>();
  const follows = names.map((name) =>
    cluster.follow({ kind: "Secret", namespace, name }, {
      signal: stop.signal,
      deliver: (object) => void last.set(name, atob((object as { data: { value: string } }).data.value)),
      onState: (state) => state === "watching" ? watching.add(name) : watching.delete(name),
    })
  );
  try {
    await waitFor("500 watches", () => watching.size === 500 && last.size === 500, { timeoutMs: 60_000 });
    // A request that waits for one of 100 taken streams would wait for minutes, and gives up before.
    assert.ok(await cluster.get({ kind: "Secret", namespace, name: "object-499" }));
    await cluster.requestToken({ ...token, namespace });
    await server.replace(secret("object-499", "2", namespace));
    await waitFor("the change of the 500th", () => last.get("object-499") === "2");
    // 6 for watches (90 each), 1 for calls.
    assert.equal(proxy.connections, 7);
  } finally {
    stop.abort();
    await Promise.all(follows);
  }
});

Deno.test("ApiCluster gives up a call when its signal aborts, with the signal's reason", async () => {
  await using cluster = await open(server.adminKubeconfig);
  const stop = new AbortController();
  stop.abort(new Error("enough"));
  await assert.rejects(cluster.get(db, { signal: stop.signal }), { message: "enough" });
  server.freeze();
  try {
    const later = new AbortController();
    const pending = assert.rejects(cluster.requestToken(token, { signal: later.signal }), { message: "enough" });
    later.abort(new Error("enough"));
    await pending;
  } finally {
    server.thaw();
  }
});

/** Admin's certificate as fields of a kubeconfig user. */
async function adminUser(): Promise<Record<string, unknown>> {
  return JSON.parse(await Deno.readTextFile(server.adminKubeconfig)).users[0].user;
}

/** Where server-side apply puts a Role or RoleBinding of krun's own YAML. */
function applyPath(document: string): string {
  const kind = /^kind: (\w+)$/m.exec(document)?.[1]?.toLowerCase();
  const [, namespace, name] = /^metadata: \{namespace: "([^"]*)", name: "([^"]*)"\}$/m.exec(document) ?? [];
  return `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/${kind}s/${name}?fieldManager=test`;
}
