/** What a real API server is needed for to be seen: which source is taken, credentials that change, counts of requests. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { KrunStatus } from "../krun_status.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";
import { KRUN_RULES, names, SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

const IDLE = sh("echo up; exec sleep 1000");

/** A new service account with what krun needs, and its token. */
async function account(shop: Shop, name: string): Promise<{ token: string; revoke(): Promise<void> }> {
  const { namespace } = shop;
  const object = { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } };
  await shop.server.create(object);
  await shop.server.grant(namespace, `system:serviceaccount:${namespace}:${name}`, KRUN_RULES);
  const response = await shop.server.request(`/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} }),
  });
  const { status } = await response.json();
  return { token: status.token, revoke: () => shop.server.delete(object) };
}

/** A new connection for everything, and nothing remembered of who had which token. */
async function restart(server: ApiServer): Promise<void> {
  await server.stopServer();
  await server.startServer();
}

Deno.test("/metrics and /status count the requests to the API server, and those that failed", async () => {
  await using own = await startApiServer();
  await using shop = await Shop.create(own);
  const status = KrunStatus.onFreePort();
  await using krun = shop.start({ args: IDLE, env: { ...status.env, K8S_SECRET_db: "./db", K8S_CM_app: "./app" } });
  await krun.sees("stdout", /up/);
  await waitFor("krun to be ready", async () => await status.code("readyz") === 200);
  const counts = async () => [
    await status.metric("krun_api_requests_total"),
    await status.metric("krun_api_errors_total"),
  ];
  const [requests, errors] = await counts();
  assert.ok(requests! >= 3, `a Secret, a ConfigMap and a token, in ${requests} requests`);
  assert.equal(errors, 0);
  await own.stopServer();
  await waitFor("a failure to be counted", async () => (await counts())[1]! > 0);
  assert.ok((await status.state()).requests.errors > 0);
  assert.equal(await status.code("readyz"), 200, "its files are as new as they can be");
  await own.startServer();
  await own.replace(shop.secret("db", { password: "n3w" }));
  await waitFor("the change", () => shop.read("db", "password") === "n3w");
  const { requests: end } = await status.state();
  assert.ok(end.requests > requests! && end.errors < end.requests, JSON.stringify(end));
});

Deno.test("krun takes the first source of a cluster that exists, whether or not it can be reached", async (t) => {
  await using shop = await Shop.create(server, { rules: [] });
  const config = async (path: string, port: number) => {
    const cluster = { server: `https://127.0.0.1:${port}` };
    await Deno.copyFile(await server.kubeconfig("ann", { token: "t" }, cluster), path);
    return path;
  };
  const [byKubeconfig, inCluster, atHome] = [freePort(), freePort(), freePort()];
  const home = join(shop.root, "home");
  await Deno.mkdir(join(home, ".kube"), { recursive: true });
  await config(join(home, ".kube", "config"), atHome);
  const KUBECONFIG = await config(join(shop.root, "config"), byKubeconfig);
  const KRUN_MANIFESTS = join(shop.root, "k8s");
  await Deno.mkdir(KRUN_MANIFESTS);
  const pod = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: `${inCluster}` };
  // A Pod's service account, in a mount namespace that ends with krun.
  const place = "/var/run/secrets/kubernetes.io/serviceaccount";
  const script = 'mount -t tmpfs tmpfs /var/run && mkdir -p "$0" && echo t > "$0/token" && exec "$@"';
  const under = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, place];
  const rest = { HOME: home, K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "0" };
  const at = (port: number) => `https://127.0.0.1:${port}`;
  const cases = [
    {
      name: "KRUN_MANIFESTS",
      env: { KRUN_MANIFESTS, KUBECONFIG, ...pod },
      where: KRUN_MANIFESTS,
      because: "no API server",
    },
    { name: "KUBECONFIG", env: { KUBECONFIG, ...pod }, where: KUBECONFIG, because: at(byKubeconfig) },
    { name: "a Pod's service account", env: { KUBECONFIG: "", ...pod }, where: place, because: at(inCluster) },
    { name: "~/.kube/config", env: { KUBECONFIG: "" }, where: `${home}/.kube/config`, because: at(atHome) },
  ];
  for (const { name, env, where, because } of cases) {
    await t.step(name, async () => {
      const all = { ...rest, ...env };
      const { stdout, stderr } = await shop.run({ under, args: ["--check=json", "--", "/bin/true"], env: all });
      const { findings, ok } = JSON.parse(stdout);
      const cluster = findings.find(({ what }: { what: string }) => what === "cluster");
      assert.ok(cluster.value.includes(where), `${where} in ${cluster.value}\n${stderr}`);
      assert.equal(cluster.because, because);
      assert.equal(ok, false, "it has no such Secret, or cannot be reached, and no other is taken");
      const { code } = await shop.run({ under, args: sh("echo started"), env: all });
      assert.equal(code, 125);
    });
  }
});

Deno.test("krun gets the token of an auth-provider gcp from its command, and names it when there is none", async () => {
  await using shop = await Shop.create(server);
  const { token } = await account(shop, "robot");
  const plugin = join(shop.root, "gcloud");
  const config = {
    "cmd-path": plugin,
    "cmd-args": "config helper",
    "token-key": "{.token}",
    "expiry-key": "{.expiry}",
  };
  const KUBECONFIG = await server.kubeconfig("gina", { "auth-provider": { name: "gcp", config } });
  const env = { KUBECONFIG, K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "0" };
  const answer = JSON.stringify({ token, expiry: "2999-01-01T00:00:00Z" });
  await Deno.writeTextFile(plugin, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  const { code, stdout, stderr } = await shop.run({ args: sh("cat db/password"), env });
  assert.deepEqual([code, stdout], [0, SECRET], stderr);
  await Deno.writeTextFile(plugin, "#!/bin/sh\nexit 3\n");
  const { line } = await shop.refuses({ env });
  names(line, 'auth-provider "gcp"', KUBECONFIG, 'context "gina@test"', 'user "gina"');
});

Deno.test("krun reads a token file of its kubeconfig again when it has changed", async () => {
  await using own = await startApiServer();
  await using shop = await Shop.create(own);
  const [first, second] = [await account(shop, "first"), await account(shop, "second")];
  const tokenFile = join(shop.root, "token");
  await Deno.writeTextFile(tokenFile, first.token);
  const KUBECONFIG = await own.kubeconfig("ann", { tokenFile });
  await using krun = shop.start({ args: IDLE, env: { KUBECONFIG, K8S_SECRET_db: "./db" } });
  await krun.sees("stdout", /up/);
  await Deno.writeTextFile(tokenFile, second.token);
  // The watch that is open would go on with the old one.
  await first.revoke();
  await restart(own);
  await own.replace(shop.secret("db", { password: "n3w" }));
  await waitFor("the change", () => shop.read("db", "password") === "n3w");
});

Deno.test("krun runs an exec plugin again when its credential has expired, and not before", async () => {
  await using shop = await Shop.create(server);
  const { token } = await account(shop, "robot");
  const [plugin, runs, jump] = ["plugin", "runs", "jump"].map((name) => join(shop.root, name)) as [
    string,
    string,
    string,
  ];
  const apiVersion = "client.authentication.k8s.io/v1";
  const credential = JSON.stringify({
    kind: "ExecCredential",
    apiVersion,
    status: { token, expirationTimestamp: "WHEN" },
  });
  // Each is good for an hour from the time that krun has then.
  const script = [
    "#!/bin/sh",
    `echo run >> ${runs}`,
    `when=$(date -u -d "@$(($(date +%s) + $(cat ${jump}) / 1000 + 3600))" +%Y-%m-%dT%H:%M:%SZ)`,
    `echo '${credential}' | sed "s/WHEN/$when/"`,
  ];
  await Deno.writeTextFile(plugin, script.join("\n") + "\n", { mode: 0o755 });
  await Deno.writeTextFile(jump, "0");
  const exec = { apiVersion, interactiveMode: "IfAvailable", command: plugin };
  const KUBECONFIG = await server.kubeconfig("ann", { exec });
  const count = async () => (await Deno.readTextFile(runs)).trim().split("\n").length;
  await using krun = shop.start({
    preload: "jumping_clock.ts",
    args: IDLE,
    env: { CLOCK_JUMP: jump, KUBECONFIG, K8S_SECRET_db: "./db", K8S_CM_app: "./app", K8S_TOKEN_x: "./token" },
  });
  await krun.sees("stdout", /up/);
  const renewedAt = async (minutes: number) => {
    const before = shop.read("token");
    await Deno.writeTextFile(jump, `${minutes * 60_000}`);
    await waitFor("the token to be renewed", () => shop.read("token") !== before);
  };
  assert.equal(await count(), 1, "for all requests of the start");
  await renewedAt(50);
  assert.equal(await count(), 1, "the credential is good for 10 minutes more");
  await renewedAt(120);
  assert.equal(await count(), 2);
});
