/** Settings that need a real API server or another user to be seen: contexts, permissions, time that jumps, JSON lines. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { krunArgv } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";
import { NOBODY, rootFs } from "./compiled.ts";
import { TestProxy } from "./test_proxy.ts";
import { assertNoSecret, names, SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** Two kubeconfig files: `one` leads to a server that is away, `two` to the real one and its namespace. */
async function twoContexts(shop: Shop): Promise<string> {
  const whole = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
  const file = async (name: string, config: object): Promise<string> => {
    const path = join(shop.root, name);
    await Deno.writeTextFile(path, JSON.stringify({ apiVersion: "v1", kind: "Config", ...config }));
    return path;
  };
  const context = (cluster: string, namespace: string) => ({ cluster, user: whole.users[0].name, namespace });
  const first = await file("first", {
    "clusters": [{ name: "away", cluster: { server: `https://127.0.0.1:${freePort()}` } }],
    "contexts": [{ name: "one", context: context("away", "elsewhere") }],
    "current-context": "one",
  });
  const second = await file("second", {
    clusters: [{ name: "real", cluster: whole.clusters[0].cluster }],
    users: whole.users,
    contexts: [{ name: "two", context: context("real", shop.namespace) }],
  });
  return `${first}:${second}`;
}

Deno.test("KRUN_CONTEXT picks a context of merged kubeconfigs, with its server and namespace, and lists them when it is unknown", async (t) => {
  await using shop = await Shop.create(server);
  const KUBECONFIG = await twoContexts(shop);
  const own = { KUBECONFIG, K8S_SECRET_db: "./db", WORKLOAD_NAMESPACE: "", KRUN_START_TIMEOUT: "0" };
  await t.step("the one that is named", async () => {
    const args = sh("cat db/password");
    const { code, stdout, stderr } = await shop.run({ args, env: { ...own, KRUN_CONTEXT: "two" } });
    assert.deepEqual([code, stdout], [0, SECRET], stderr);
    names(stderr, "context two", "cluster real", `namespace=${shop.namespace}`);
  });
  await t.step("--check says which rule decided", async () => {
    const { code, stdout, stderr } = await shop.run({
      args: ["--check=json", "--", "/bin/true"],
      env: { ...own, KRUN_CONTEXT: "two" },
    });
    assert.equal(code, 0, stderr + stdout);
    const namespace = JSON.parse(stdout).findings.find(({ what }: { what: string }) => what === "namespace");
    assert.equal(namespace.value, shop.namespace);
    names(namespace.because, "two");
  });
  await t.step("the control: without it the current context, whose server is away", async () => {
    const { line } = await shop.refuses({ env: own });
    names(line, "127.0.0.1", "refused");
  });
  await t.step("an unknown one", async () => {
    const { line } = await shop.refuses({ env: { ...own, KRUN_CONTEXT: "three" } });
    names(line, `Cannot find context "three" in kubeconfig "${KUBECONFIG}"`, "known contexts: one, two");
  });
});

Deno.test("an unreachable cluster of KUBECONFIG is never a reason to take the one of the home folder", async () => {
  await using shop = await Shop.create(server);
  const home = join(shop.root, "home");
  await Deno.mkdir(join(home, ".kube"), { recursive: true });
  await Deno.copyFile(shop.kubeconfig, join(home, ".kube", "config"));
  const env = { HOME: home, K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "0" };
  const control = await shop.run({ args: sh("test -s db/password"), env: { ...env, KUBECONFIG: "" } });
  assert.equal(control.code, 0, control.stderr);
  const { line } = await shop.refuses({ env: { ...env, KUBECONFIG: await twoContexts(shop) } });
  names(line, "refused");
});

Deno.test("KRUN_LOG_FORMAT=json makes every line JSON with a real API server, and no line holds a token", async () => {
  await using shop = await Shop.create(server);
  const env = { K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", KRUN_LOG: "debug", KRUN_LOG_FORMAT: "json" };
  const quiet = sh("exec 2>/dev/null; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
  await using krun = shop.start({ args: quiet, env });
  await krun.sees("stdout", /up/);
  await server.replace(shop.secret("db", { password: `${SECRET}-2` }));
  await waitFor("the change", () => shop.read("db", "password") === `${SECRET}-2`);
  const token = shop.read("token");
  krun.kill("SIGTERM");
  const { code, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
  const failed = await shop.run({ args: sh("echo never"), env: { ...env, K8S_SECRET_gone: "./gone" } });
  assert.equal(failed.code, 125);
  for (const line of [...stderr.trim().split("\n"), ...failed.stderr.trim().split("\n")]) {
    assert.equal(typeof JSON.parse(line).level, "string", line);
    assertNoSecret(line);
    for (const part of token.split(".")) assert.ok(!line.includes(part), "a part of the token");
  }
});

/** An ordinary user in its own eyes, and root in those of the file system: the modules of a krun from source are root's. */
const ORDINARY = ["unshare", "--user", "--map-user=1234", "--map-group=1234", "--"];

Deno.test("krun of an ordinary user says at debug what it could not give up, and nothing when it gave up all", async (t) => {
  await using shop = await Shop.create(server);
  const other = join(shop.root, "other");
  await Deno.mkdir(other);
  const said = async (more: Record<string, string>, argv = krunArgv()) => {
    const [deno, run, ...rest] = argv;
    const env = { K8S_SECRET_db: "./db", DENO_DIR: denoDir(), HOME: other, ...more };
    const { code, stderr } = await shop.run({
      under: ORDINARY,
      argv: [deno!, run!, ...rest],
      args: ["/bin/true"],
      env,
    });
    assert.equal(code, 0, stderr);
    return stderr.split("\n").filter((line) => /permission/.test(line));
  };
  await t.step("a base outside the working directory", async () => {
    const lines = await said({ MESH_BASE_DIR: other });
    assert.equal(lines.length, 1, lines.join("\n"));
    names(lines[0]!, "debug write permission kept", "the base is outside the working directory", other);
    assert.deepEqual(await said({ MESH_BASE_DIR: other, KRUN_LOG: "info" }), [], "at debug only");
  });
  await t.step("-A", async () => {
    const argv = krunArgv().filter((word) => word !== "-P=krun" && !word.startsWith("--allow-"));
    const lines = await said({}, [argv[0]!, "run", "-A", ...argv.slice(2)]);
    assert.equal(lines.length, 1, lines.join("\n"));
    names(lines[0]!, "debug permissions kept", "krun runs under a general grant");
  });
  await t.step("the control: below the working directory, by the binary's own grant", async () => {
    assert.deepEqual(await said({}), []);
  });
});

Deno.test("krun 2.6.10 of an ordinary user keeps write permission for a base outside the working directory, and says so", async () => {
  await using root = await rootFs({ mounts: [{ target: "/open", tmpfs: "mode=1777" }] });
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "db" }, stringData: { a: "1" } };
  await root.write("/home/k8s/db.json", secret, { uid: NOBODY });
  const env = { KRUN_MANIFESTS: "/home/k8s", WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db", KRUN_LOG: "debug" };
  for (const [base, kept] of [["/open", 1], ["/home", 0]] as const) {
    const start = { args: ["/program", "cat", `${base}/db/a`], env: { ...env, MESH_BASE_DIR: base }, uid: NOBODY };
    await using krun = root.start(start);
    const { code, stdout, stderr } = await krun.end;
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout)[`${base}/db/a`], "1");
    assert.equal(stderr.match(/write permission kept/g)?.length ?? 0, kept, stderr);
  }
});

Deno.test("krun copes with a clock that jumps: the server takes the renewed token, and files stay fresh", async (t) => {
  await using shop = await Shop.create(server);
  const jump = join(shop.root, "jump");
  await Deno.writeTextFile(jump, "0");
  await using krun = shop.start({
    preload: "jumping_clock.ts",
    args: sh("echo up; exec sleep 1000"),
    env: { CLOCK_JUMP: jump, K8S_CM_app: "./app", K8S_TOKEN_x: "./token", KRUN_ON_CHANGE: "restart" },
  });
  await krun.sees("stdout", /up/);
  const account = join("var", "run", "secrets", "kubernetes.io", "serviceaccount", "token");
  const renewedAfter = async (ms: number) => {
    const before = [shop.read("token"), shop.read(account)];
    await Deno.writeTextFile(jump, `${ms}`);
    await waitFor("both renewals", () => shop.read("token") !== before[0] && shop.read(account) !== before[1]);
  };
  const whoami = async () => {
    const args = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", `--token=${shop.read(account)}`];
    const flags = [`--server=${server.url}`, `--certificate-authority=${server.caFile}`, "--kubeconfig=/dev/null"];
    const { stdout } = await new Deno.Command(await liveTool("kubectl"), { args: [...args, ...flags] }).output();
    return new TextDecoder().decode(stdout);
  };
  await t.step("an hour forward", async () => {
    await renewedAfter(3_600_000);
    assert.equal(await whoami(), `system:serviceaccount:${shop.namespace}:default`);
  });
  await t.step("two days back", async () => {
    await Deno.writeTextFile(jump, `${-2 * 86_400_000}`);
    await server.replace(shop.configMap("app", { level: "2" }));
    await krun.sees("stdout", /up\nup/);
    assert.equal(shop.read("app", "level"), "2");
    assert.equal(await whoami(), `system:serviceaccount:${shop.namespace}:default`);
  });
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 143, krun.stderr);
  assert.deepEqual(krun.stderr.match(/mounted objects changed.*/g), ["mounted objects changed changes=1"]);
  assertNoSecret(krun.stderr);
  assert.deepEqual(tree(shop.base), []);
});

Deno.test("krun as root at / names a kubeconfig where host, port and CA cannot say how to reach the server, and kubectl works", async (t) => {
  await using shop = await Shop.create(server);
  await using proxy = new TestProxy("http");
  await using root = await rootFs({ mounts: [{ target: "/kubectl", bind: await liveTool("kubectl") }] });
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
  const config = async (name: string, cluster: Record<string, unknown>) => {
    await root.write(`/${name}`, await Deno.readTextFile(await server.kubeconfig("ann", user, cluster)));
    return { KUBECONFIG: `/${name}`, WORKLOAD_NAMESPACE: shop.namespace };
  };
  const run = async (args: readonly string[], env: Record<string, string>) => {
    await using krun = root.start({ args, env });
    return await krun.end;
  };
  const whoami = ["--", "/kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
  const account = `system:serviceaccount:${shop.namespace}:default`;
  const behind = await config("behind", { "proxy-url": proxy.url });
  const direct = await config("direct", {});
  const inCluster = /^ {2}in-cluster clients +will not work +.*proxy/m;
  await t.step("through a proxy", async () => {
    const { code, stdout, stderr } = await run(whoami, behind);
    assert.deepEqual([code, stdout], [0, account], stderr);
    const { env } = JSON.parse((await run(["--", "/program", "describe"], behind)).stdout);
    assert.ok(env.KUBECONFIG, "the generated one");
    assert.match((await run(["--check", "--", "/program", "describe"], behind)).stdout, inCluster);
  });
  await t.step("the control: directly, without a kubeconfig", async () => {
    const { code, stdout, stderr } = await run(whoami, direct);
    assert.deepEqual([code, stdout], [0, account], stderr);
    const { env } = JSON.parse((await run(["--", "/program", "describe"], direct)).stdout);
    assert.equal(env.KUBECONFIG, undefined);
    assert.equal(env.KUBERNETES_SERVICE_PORT, `${server.port}`);
    assert.doesNotMatch((await run(["--check", "--", "/program", "describe"], direct)).stdout, inCluster);
  });
  await t.step("with a folder of manifests there is no API server to name, and that is said once", async () => {
    const metadata = { name: shop.namespace };
    await root.write("/k8s/namespace.json", { apiVersion: "v1", kind: "Namespace", metadata });
    const env = { KRUN_MANIFESTS: "/k8s", WORKLOAD_NAMESPACE: shop.namespace };
    const seen = await run(["--", "/program", "describe"], env);
    const program = JSON.parse(seen.stdout).env;
    assert.deepEqual(Object.keys(program).filter((name) => /^KUBE/.test(name)), []);
    assert.equal(seen.stderr.match(/a folder of manifests has no API server/g)?.length, 1, seen.stderr);
    const files = await run(["--", "/program", "ls", "/var/run/secrets/kubernetes.io/serviceaccount"], env);
    const found = new Set(Object.keys(JSON.parse(files.stdout)).map((path) => path.split("/").at(-1)));
    assert.deepEqual(["token", "namespace", "ca.crt"].map((name) => found.has(name)), [true, true, false]);
  });
});

/** Where krun's modules are cached. */
function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME") ?? "/root", ".cache", "deno");
}

Deno.test("krun reads from a server whose certificate the kubeconfig says not to verify, or to have another name", async (t) => {
  await using shop = await Shop.create(server);
  const whole = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
  const { "certificate-authority-data": ca, ...cluster } = whole.clusters[0].cluster;
  const krun = async (fields: Record<string, unknown>) => {
    const KUBECONFIG = join(shop.root, "special");
    const text = JSON.stringify({ ...whole, clusters: [{ ...whole.clusters[0], cluster: { ...cluster, ...fields } }] });
    await Deno.writeTextFile(KUBECONFIG, text, { mode: 0o600 });
    const env = { KUBECONFIG, K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "0" };
    return await shop.run({ args: sh("cat db/password"), env });
  };
  const named = { "tls-server-name": "kubernetes.default.svc", "certificate-authority-data": ca };
  for (const [name, fields] of Object.entries({ unverified: { "insecure-skip-tls-verify": true }, named })) {
    await t.step(name, async () => {
      const { code, stdout, stderr } = await krun(fields);
      assert.deepEqual([code, stdout], [0, SECRET], stderr);
    });
  }
  await t.step("the control: verified, without the CA", async () => {
    const { code, stdout, stderr } = await krun({});
    assert.deepEqual([code, stdout], [125, ""], stderr);
    names(stderr, "not signed by a CA that this machine trusts");
  });
});
