/** Objects, rights, credentials and programs that are not there or wrong: the real krun against the real API server. */
import assert from "node:assert/strict";
import { createPrivateKey, sign } from "node:crypto";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { CertificateAuthority, type CertificateOptions } from "./certificate_authority.ts";
import { KRUN_RULES, names, refusalIn, SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

Deno.test("krun names the missing object or key, its namespace and the setting that asked", async (t) => {
  await using shop = await Shop.create(server);
  await t.step("a Secret", async () => {
    const { line } = await shop.refuses({ env: { K8S_SECRET_gone: "./x", K8S_SECRET_db: "./db" } });
    names(line, `Secret "${shop.namespace}/gone"`, "K8S_SECRET_gone", "does not exist");
  });
  await t.step("a ConfigMap under another name", async () => {
    const { line } = await shop.refuses({ env: { K8S_CM_conf: "gone:./x" } });
    names(line, `ConfigMap "${shop.namespace}/gone"`, "K8S_CM_conf");
  });
  await t.step("a key", async () => {
    const { line } = await shop.refuses({ env: { K8S_SECRET_db: "./x?key=nope" } });
    names(line, `${shop.namespace}/db`, "K8S_SECRET_db", "nope");
  });
  await t.step("several at once, each with its setting", async () => {
    const { line, details } = await shop.refuses({ env: { K8S_SECRET_gone: "./x", K8S_CM_away: "./y" } });
    names(line, "and 1 more failure");
    names(details, "/gone", "K8S_SECRET_gone", "/away", "K8S_CM_away");
  });
  await t.step("of an environment variable", async () => {
    const env = await shop.pod([], []);
    const pod = JSON.parse(await Deno.readTextFile(env.KRUN_POD));
    pod.spec.containers[0].env = [{ name: "A", valueFrom: { secretKeyRef: { name: "gone", key: "a" } } }];
    await Deno.writeTextFile(env.KRUN_POD, JSON.stringify(pod));
    const { line } = await shop.refuses({ args: [], env });
    names(line, `Secret "${shop.namespace}/gone"`, 'container "app"');
  });
});

Deno.test("krun skips an optional object, and mounts it when it appears", async () => {
  await using shop = await Shop.create(server);
  const env = { K8S_SECRET_later: "./later?optional=true", K8S_CM_one: "./one.conf?optional=true&key=a" };
  await using krun = shop.start({ env });
  await krun.sees("stdout", /up/);
  assert.deepEqual([...Deno.readDirSync(shop.path("later"))].filter(({ name }) => !name.startsWith("..")), []);
  await server.create(shop.secret("later", { password: SECRET }));
  await waitFor("the Secret's files", () => shop.read("later", "password") === SECRET);
  await server.create(shop.configMap("one", { a: "1" }));
  await waitFor("the ConfigMap's file", () => shop.read("one.conf") === "1");
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
  assert.deepEqual(tree(shop.base), []);
});

/** `kubectl apply` of exactly what krun printed from the first Role on. */
async function applyPrinted(shop: Shop, details: string): Promise<void> {
  const manifest = join(shop.root, "role.yaml");
  await Deno.writeTextFile(manifest, details.slice(details.indexOf("apiVersion:")));
  const kubectl = new Deno.Command(await liveTool("kubectl"), {
    args: ["--kubeconfig", server.adminKubeconfig, "apply", "-f", manifest],
    env: { HOME: shop.root },
    stdin: "null",
  });
  const { success, stderr } = await kubectl.output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test("krun says what is forbidden to whom, and applying exactly what it prints lets it start", async () => {
  await using shop = await Shop.create(server, { rules: [] });
  // Who may not read Secret sshdebug goes without it, and is told of no right.
  const asked = { K8S_SECRET_db: "./db", K8S_CM_app: "./app", K8S_TOKEN_vault: "./token", KRUN_SSH: "-" };
  const env = { ...asked, ...await shop.pod([], []) };
  const { line, details } = await shop.refuses({ env });
  names(line, "403", `user "${shop.user}" may not`, `in namespace "${shop.namespace}"`, "apply the Role");
  names(details, 'get secrets "db"', 'get configmaps "app"', 'create serviceaccounts/token "default"');
  names(details, "list services", "K8S_SECRET_db", "K8S_CM_app", "K8S_TOKEN_vault", "enableServiceLinks");

  await applyPrinted(shop, details);
  // The authorizer learns of a Role by a watch of its own.
  await waitFor("krun to be allowed to start", async () => {
    const { code, stdout } = await shop.run({ args: sh("cat db/password app/level && test -s token"), env });
    return code === 0 && stdout === `${SECRET}1`;
  });
  await using krun = shop.start({ env });
  await krun.sees("stdout", /up/);
  await server.replace(shop.configMap("app", { level: "2" }));
  await waitFor("a change, by the watch that the Role allows", () => shop.read("app", "level") === "2");
  assert.doesNotMatch(krun.stderr, /may not|poll/);
  const other = await shop.refuses({ env: { K8S_SECRET_other: "./x", MESH_BASE_DIR: join(shop.root, "other") } });
  names(other.line, 'may not get secrets "other"');
});

Deno.test("krun prints a Role for a service account that it runs as itself", async () => {
  await using shop = await Shop.create(server, { rules: [] });
  const token = await serviceAccountToken(shop.namespace, Math.floor(Date.now() / 1000) + 3600);
  const env = {
    KUBECONFIG: await server.kubeconfig("robot", { token }),
    K8S_CM_app: "./app",
    K8S_TOKEN_vault: "./token",
  };
  const { line, details } = await shop.refuses({ env });
  names(line, `user "system:serviceaccount:${shop.namespace}:default" may not`);
  names(details, "kind: ServiceAccount");
  await applyPrinted(shop, details);
  await waitFor(
    "krun to be allowed to start",
    async () => (await shop.run({ args: sh("test -s app/level"), env })).code === 0,
  );
});

Deno.test("krun names the service account or the namespace that is missing", async (t) => {
  await using shop = await Shop.create(server);
  await t.step("service account", async () => {
    const env = { K8S_SECRET_db: "./db", WORKLOAD_SERVICE_ACCOUNT: "nobody" };
    const { line } = await shop.refuses({ env });
    names(line, `service account "${shop.namespace}/nobody"`, "WORKLOAD_SERVICE_ACCOUNT");
  });
  await t.step("namespace", async () => {
    const env = { KUBECONFIG: server.adminKubeconfig, WORKLOAD_NAMESPACE: "nowhere", K8S_TOKEN_x: "./x" };
    const { line, details } = await shop.refuses({ env });
    names(line + details, 'namespaces "nowhere" not found', "WORKLOAD_NAMESPACE");
  });
});

/** A token as the API server would have issued it, with an end of our choice. */
async function serviceAccountToken(namespace: string, exp: number): Promise<string> {
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: "default" } };
  const { metadata: { uid } } = await server.get(account);
  const issuer = "https://kubernetes.default.svc.cluster.local";
  const claims = {
    iss: issuer,
    aud: [issuer],
    iat: exp - 3600,
    nbf: exp - 3600,
    exp,
    sub: `system:serviceaccount:${namespace}:default`,
    "kubernetes.io": { namespace, serviceaccount: { name: "default", uid } },
  };
  const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  const text = `${part({ alg: "ES256", typ: "JWT" })}.${part(claims)}`.replaceAll("+", "-").replaceAll("/", "_");
  const key = createPrivateKey(await Deno.readTextFile(join(server.folder, "service-account.key")));
  const signature = sign("sha256", new TextEncoder().encode(text), { key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}

Deno.test("krun names file, context and user whose credentials are expired or wrong", async (t) => {
  await using shop = await Shop.create(server);
  const account = `system:serviceaccount:${shop.namespace}:default`;
  await server.grant(shop.namespace, account, KRUN_RULES);
  const now = Math.floor(Date.now() / 1000);
  const certificate = async (options: CertificateOptions, ca = server.ca) => {
    const { certPem, keyPem } = await ca.issue({ commonName: shop.user, ...options });
    return { "client-certificate-data": btoa(certPem), "client-key-data": btoa(keyPem) };
  };
  const other = await CertificateAuthority.create(join(shop.root, "other-ca"));
  const cases: Record<string, { bad: Record<string, string>; good: Record<string, string> }> = {
    "an expired token": {
      bad: { token: await serviceAccountToken(shop.namespace, now - 7200) },
      good: { token: await serviceAccountToken(shop.namespace, now + 3600) },
    },
    "an expired client certificate": { bad: await certificate({ expired: true }), good: await certificate({}) },
    "a client certificate of another CA": { bad: await certificate({}, other), good: await certificate({}) },
    "a token that nobody issued": {
      bad: { token: "no-such-token" },
      good: { token: await serviceAccountToken(shop.namespace, now + 3600) },
    },
  };
  for (const [name, { bad, good }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const env = { K8S_SECRET_db: "./db" };
      const kubeconfig = await server.kubeconfig("ann", bad);
      const { line } = await shop.refuses({ env: { ...env, KUBECONFIG: kubeconfig } });
      names(line, `"${kubeconfig}"`, 'user "ann"', 'context "ann@test"', "renew");
      // The workload's token was asked for as well.
      names(line, `Secret "${shop.namespace}/db", `, "request token", "K8S_SECRET_db, the service account");
      assert.doesNotMatch(line, /more failure/, "one cause is told once");
      if (bad.token) assert.ok(!line.includes(bad.token));
      const control = { ...env, KUBECONFIG: await server.kubeconfig("ann", good) };
      const { code, stderr } = await shop.run({ args: sh("test -s db/password"), env: control });
      assert.equal(code, 0, stderr);
    });
  }
});

Deno.test("krun says what is wrong with a kubeconfig", async (t) => {
  await using shop = await Shop.create(server);
  const garbled = join(shop.root, "garbled");
  await Deno.writeTextFile(garbled, `users: [{name: a, user: {token: ${SECRET}`);
  const cases: [string, Record<string, string>, string[]][] = [
    ["a file that does not exist", { KUBECONFIG: "/nowhere/config" }, ["/nowhere/config"]],
    ["a file that cannot be parsed", { KUBECONFIG: garbled }, [garbled]],
    ["a context that is not in it", { KRUN_CONTEXT: "other" }, [shop.kubeconfig, '"other"']],
  ];
  for (const [name, env, words] of cases) {
    await t.step(name, async () => {
      const { line, details } = await shop.refuses({ env: { K8S_SECRET_db: "./db", ...env } });
      names(line + details, ...words);
    });
  }
});

Deno.test("krun gives up at once on a certificate that does not verify, and says how", async (t) => {
  await using server = await startApiServer();
  await using shop = await Shop.create(server);
  const env = { K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "600" };
  await t.step("wrong CA", async () => {
    const { pem } = await CertificateAuthority.create(join(shop.root, "other-ca"));
    const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
    const KUBECONFIG = await server.kubeconfig("ann", user, { "certificate-authority-data": btoa(pem) });
    const { line } = await shop.refuses({ env: { ...env, KUBECONFIG } });
    names(line, server.url, "not signed by the CA", "certificate-authority");
  });
  const certificates: [string, CertificateOptions, string][] = [
    ["an X.509 version 1 certificate", { version1: true }, "X.509 version 1"],
    ["an expired certificate", { expired: true }, "has expired"],
  ];
  for (const [name, certificate, words] of certificates) {
    await t.step(name, async () => {
      await server.stopServer();
      await server.startServer({ certificate });
      const { line } = await shop.refuses({ env });
      names(line, server.url, words);
    });
  }
  await t.step("the control: its own certificate again", async () => {
    await server.stopServer();
    await server.startServer({ certificate: {} });
    const { code, stderr } = await shop.run({ args: sh("test -s db/password"), env });
    assert.equal(code, 0, stderr);
  });
});

Deno.test("krun ends with 127 or 126 for a program that cannot run, and leaves nothing", async (t) => {
  await using shop = await Shop.create(server);
  const file = async (name: string, text: string, mode: number) => {
    await Deno.writeTextFile(join(shop.root, name), text);
    await Deno.chmod(join(shop.root, name), mode);
    return join(shop.root, name);
  };
  const cases: [string, string, number][] = [
    ["a path that does not exist", "./missing", 127],
    ["a name that is not on PATH", "krun-no-such-program", 127],
    ["an interpreter that does not exist", await file("script", "#!/no/such/interpreter\n", 0o755), 127],
    ["not executable", await file("plain", "text", 0o644), 126],
    ["a directory", shop.root, 126],
    ["no program format", await file("zeros", "\0\0\0\0", 0o755), 126],
    ["a file on the way that is no folder", `${join(shop.root, "plain")}/x`, 127],
  ];
  for (const [name, program, status] of cases) {
    await t.step(name, async () => {
      const { code, stderr } = await shop.run({ args: ["--", program], env: { K8S_SECRET_db: "./db" } });
      assert.equal(code, status, stderr);
      names(refusalIn(stderr).line, program);
      assert.deepEqual(tree(shop.base), []);
    });
  }
});
