/**
 * Every way in which a kubeconfig names a server and a user, against a real API server: what works, and what is refused.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import type { Cluster } from "../../src/core/cluster.ts";
import { KrunError } from "../../src/core/errors.ts";
import { type ClusterRequest, findCluster } from "../../src/kube/find_cluster.ts";
import { loadKubeconfig } from "../../src/kube/kubeconfig.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { CertificateAuthority } from "./certificate_authority.ts";
import { OidcIssuer } from "./oidc_issuer.ts";
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

/** The API server's name for whoever a kubeconfig makes of krun: it says so when it forbids. */
async function identityOf(cluster: Cluster): Promise<string | undefined> {
  const error = await failureOf(cluster.get({ kind: "Secret", namespace: "kube-system", name: "x" }));
  const anonymous = /takes krun for "(system:anonymous)"/.exec(error.message)?.[1];
  assert.equal(error.code, anonymous ? "Unauthorized" : "Forbidden", error.message);
  return anonymous ?? /user "([^"]*)" may not/.exec(error.message)?.[1];
}

async function failureOf(promise: Promise<unknown>): Promise<KrunError> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof KrunError, String(error));
  return error;
}

const db = { kind: "Secret", namespace: "payments", name: "db" } as const;

async function serviceAccountToken(): Promise<string> {
  await using admin = await open(server.adminKubeconfig);
  const token = { namespace: "payments", serviceAccount: "default", audience: "", expirationSeconds: 3600 };
  return (await admin.requestToken(token)).token;
}

/** A program that prints `text`. */
async function plugin(name: string, text: string): Promise<string> {
  const path = join(server.folder, name);
  await Deno.writeTextFile(`${path}.out`, text);
  await Deno.writeTextFile(path, '#!/bin/sh\nexec cat "$0.out"\n', { mode: 0o755 });
  return path;
}

const DEFAULT_ACCOUNT = "system:serviceaccount:payments:default";
const EXEC_V1 = "client.authentication.k8s.io/v1";

Deno.test("findCluster() proves itself by every kind of kubeconfig user", async (t) => {
  const token = await serviceAccountToken();
  const ann = await server.user("ann");
  const file = async (name: string, text: string) => {
    await Deno.writeTextFile(join(server.folder, name), text);
    return name;
  };
  const exec = { apiVersion: EXEC_V1, interactiveMode: "IfAvailable" };
  const credential = (status: Fields) => JSON.stringify({ kind: "ExecCredential", apiVersion: EXEC_V1, status });
  const inline = { "client-certificate-data": btoa(ann.certPem), "client-key-data": btoa(ann.keyPem) };
  const users: Record<string, { user: Fields; is: string }> = {
    "certificate inline": { user: inline, is: "ann" },
    "certificate files": {
      user: {
        "client-certificate": await file("ann.crt", ann.certPem),
        "client-key": await file("ann.key", ann.keyPem),
      },
      is: "ann",
    },
    "token": { user: { token }, is: DEFAULT_ACCOUNT },
    "tokenFile": { user: { tokenFile: await file("ann.token", `${token}\n`) }, is: DEFAULT_ACCOUNT },
    "exec with a token": {
      user: { exec: { ...exec, command: await plugin("exec-token", credential({ token })) } },
      is: DEFAULT_ACCOUNT,
    },
    "exec with a certificate": {
      user: {
        exec: {
          ...exec,
          command: await plugin(
            "exec-cert",
            credential({ clientCertificateData: ann.certPem, clientKeyData: ann.keyPem }),
          ),
        },
      },
      is: "ann",
    },
    "auth-provider gcp with a command": {
      user: {
        "auth-provider": {
          name: "gcp",
          config: {
            "cmd-path": await plugin("gcp", JSON.stringify({ token, expiry: "2999-01-01T00:00:00Z" })),
            "cmd-args": "",
            "token-key": "{.token}",
            "expiry-key": "{.expiry}",
          },
        },
      },
      is: DEFAULT_ACCOUNT,
    },
    "nothing": { user: {}, is: "system:anonymous" },
  };
  for (const [name, { user, is }] of Object.entries(users)) {
    await t.step(name, async () => {
      await using cluster = await open(await server.kubeconfig("someone", user));
      assert.equal(await identityOf(cluster), is);
    });
  }

  await t.step("password, which no API server looks at any more", async () => {
    await using cluster = await open(await server.kubeconfig("someone", { username: "a", password: "b" }));
    assert.equal(await identityOf(cluster), "system:anonymous");
  });

  await t.step("a certificate and the key of another", async () => {
    const user = { ...inline, "client-key-data": btoa((await server.user("bob")).keyPem) };
    await using cluster = await open(await server.kubeconfig("someone", user));
    const error = await failureOf(cluster.get(db));
    assert.equal(error.code, "CredentialsUnavailable");
    assert.match(error.message, /^Cannot use the client certificate of user "someone" of context "someone@test"/);
  });

  await t.step("a certificate of another CA", async () => {
    const other = await (await CertificateAuthority.create(await Deno.makeTempDir({ dir: server.folder }))).issue({});
    const user = { "client-certificate-data": btoa(other.certPem), "client-key-data": btoa(other.keyPem) };
    await using cluster = await open(await server.kubeconfig("someone", user));
    assert.equal((await failureOf(cluster.get(db))).code, "Unauthorized");
  });
});

Deno.test("findCluster() impersonates with each group on a line of its own", async () => {
  const apiGroup = "rbac.authorization.k8s.io";
  const name = "second-group-reads";
  const apiVersion = `${apiGroup}/v1`;
  const metadata = { namespace: "payments", name };
  const rules = [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }];
  await server.create({ apiVersion, kind: "Role", metadata, rules });
  const roleRef = { apiGroup, kind: "Role", name };
  await server.create({
    apiVersion,
    kind: "RoleBinding",
    metadata,
    roleRef,
    subjects: [{ apiGroup, kind: "Group", name: "two" }],
  });
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(server.adminKubeconfig));
  const as = { ...user, "as": "bob", "as-groups": ["one", "two"] };
  await using cluster = await open(await server.kubeconfig("impersonator", as));
  assert.ok(await cluster.get(db));
  // The negative control: with the admin's own rights this would be allowed.
  assert.equal(await identityOf(cluster), "bob");
});

Deno.test("findCluster() refreshes an OIDC user's token at its issuer, over the issuer's own CA", async () => {
  await using issuer = await OidcIssuer.start(server.ca);
  await using withOidc = await startApiServer({ args: issuer.apiServerArgs(server.caFile) });
  const config = issuer.authProvider(server.caPem);
  await using cluster = await open(await withOidc.kubeconfig("olga", { "auth-provider": { name: "oidc", config } }));
  // The API server reads the issuer's keys in its own time.
  const isKnown = async () => (await failureOf(cluster.get(db))).code !== "Unauthorized";
  await waitFor("the user to be known", isKnown, { timeoutMs: 60_000 });
  assert.equal(await identityOf(cluster), `${issuer.url}#olga`);

  // Without a CA for the issuer, the CAs of this machine count, and not that of the API server.
  const { "idp-certificate-authority-data": _ca, ...plain } = config;
  const path = await withOidc.kubeconfig("olga", { "auth-provider": { name: "oidc", config: plain } });
  await using trusting = await open(path, { roots: () => Promise.resolve([server.caPem]) });
  assert.equal(await identityOf(trusting), `${issuer.url}#olga`);
  await using distrusting = await open(path, { roots: () => Promise.resolve([withOidc.caPem]) });
  assert.equal((await failureOf(distrusting.get(db))).code, "CredentialsUnavailable");
});

Deno.test("loadKubeconfig() merges and chooses as kubectl does", async () => {
  const folder = await Deno.makeTempDir({ dir: server.folder });
  const write = async (name: string, text: string) => {
    await Deno.mkdir(join(folder, name, ".."), { recursive: true });
    await Deno.writeTextFile(join(folder, name), text);
    return join(folder, name);
  };
  const one = await write(
    "a/one",
    `
contexts:
- {name: x, context: {cluster: c, user: u}}
- {name: z, context: {cluster: d, user: u, namespace: "zed"}}
users: [{name: u, user: {token: "one"}}]
clusters: [{name: c, cluster: {server: "https://one:6443/"}}]
`,
  );
  const two = await write(
    "b/two",
    `
current-context: x
contexts: [{name: x, context: {cluster: d, user: v, namespace: none}}]
users: [{name: u, user: {token: "two"}}, {name: v, user: {tokenFile: ../v.token}}]
clusters:
- {name: c, cluster: {server: "https://two", tls-server-name: two}}
- {name: d, cluster: {server: "https://d:1", certificate-authority: ../d.crt}}
`,
  );
  const kubectl = await liveTool("kubectl");
  for (
    const { files, context } of [
      { files: [one, two], context: undefined },
      { files: [two, one], context: undefined },
      { files: [join(folder, "none"), one, two], context: "z" },
      { files: [two, one], context: "z" },
    ]
  ) {
    const args = ["config", "view", "--raw", "--minify", "-o", "json", ...(context ? [`--context=${context}`] : [])];
    const env = { KUBECONFIG: files.join(":"), HOME: folder };
    const { stdout, stderr, success } = await new Deno.Command(kubectl, { args, env, cwd: "/" }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const theirs = JSON.parse(new TextDecoder().decode(stdout));
    const [cluster, user, chosen] = [theirs.clusters[0].cluster, theirs.users[0].user, theirs.contexts[0]];
    const ours = await loadKubeconfig(files, { context });
    // kubectl prints a path as relative to the file that has it.
    const absolute = (path: string | undefined) => path === undefined ? undefined : join(folder, "b", path);
    assert.deepEqual(
      {
        server: ours.server,
        ca: ours.ca && "file" in ours.ca ? ours.ca.file : undefined,
        name: ours.tlsServerName,
        token: ours.user.token,
        tokenFile: ours.user.tokenFile,
        context: ours.source.context,
        namespace: ours.source.namespace,
      },
      {
        server: cluster.server.replace(/\/$/, ""),
        ca: absolute(cluster["certificate-authority"]),
        name: cluster["tls-server-name"],
        token: user.token,
        tokenFile: absolute(user.tokenFile),
        context: chosen.name,
        namespace: chosen.context.namespace,
      },
    );
  }
});

Deno.test("findCluster() on Deno 2.6.10 does what that can, and refuses the rest rather than verify less", async (t) => {
  const old = await liveTool("deno-2.6");
  const script = new URL("./runtime_client.ts", import.meta.url).pathname;
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(server.adminKubeconfig));
  const run = async (cluster: Fields, fields: Fields = user): Promise<Fields> => {
    const args = ["run", "-A", "--no-lock", "--no-prompt", script, await server.kubeconfig("old", fields, cluster)];
    const { stdout, stderr } = await new Deno.Command(old, { args }).output();
    return JSON.parse(new TextDecoder().decode(stdout) || JSON.stringify({ stderr: new TextDecoder().decode(stderr) }));
  };
  await using proxy = new TestProxy("socks5");
  await t.step("reads, follows and asks for a token", async () => {
    assert.deepEqual(await run({}), { isSame: true, hasToken: true });
    assert.deepEqual(await run({ "proxy-url": proxy.url }), { isSame: true, hasToken: true });
  });
  const refused: Record<string, { cluster?: Fields; user?: Fields }> = {
    "tls-server-name": { cluster: { "tls-server-name": "kubernetes.default.svc" } },
    "insecure-skip-tls-verify": { cluster: { "insecure-skip-tls-verify": true, "certificate-authority-data": null } },
    'auth-provider "gcp"': { user: { "auth-provider": { name: "gcp", config: { "access-token": "t" } } } },
  };
  for (const [what, { cluster = {}, user: fields }] of Object.entries(refused)) {
    await t.step(`refuses ${what}`, async () => {
      const { code, message } = await run(cluster, fields ?? user);
      assert.equal(code, "RuntimeTooOld", String(message));
      assert.match(
        String(message),
        new RegExp(`^Cannot use ${what} .*: it needs Deno 2\\.9\\.0 or later, and this krun has 2\\.6\\.10$`),
      );
    });
  }
});
