/** Kubeconfig users whose credentials are fetched, through the real krun: it reads and mounts with what it was given. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { OidcIssuer } from "./oidc_issuer.ts";
import { KRUN_RULES, names, SECRET, sh, Shop } from "./shop.ts";

const MOUNTED = { K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "0" };

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

Deno.test("krun runs the exec plugin of its kubeconfig's user, and is whoever that says", async (t) => {
  await using shop = await Shop.create(server);
  const { certPem, keyPem } = await server.user(shop.user);
  const apiVersion = "client.authentication.k8s.io/v1";
  const status = { clientCertificateData: certPem, clientKeyData: keyPem };
  await Deno.writeTextFile(
    join(shop.root, "credential"),
    JSON.stringify({ kind: "ExecCredential", apiVersion, status }),
  );
  const plugin = join(shop.root, "plugin");
  const exec = { apiVersion, interactiveMode: "IfAvailable", provideClusterInfo: true, command: "./plugin" };
  const kubeconfig = await server.kubeconfig("ann", {
    exec: { ...exec, args: ["login"], env: [{ name: "REGION", value: "north" }] },
  });
  // A command with a slash is below the kubeconfig's folder.
  const own = join(shop.root, "config");
  await Deno.copyFile(kubeconfig, own);
  const script = (body: string) => Deno.writeTextFile(plugin, `#!/bin/sh\ncd ${shop.root}\n${body}\n`, { mode: 0o755 });
  await t.step("its credentials open the Secret; it sees its arguments, its environment and the cluster", async () => {
    await script('echo "$1 $REGION $KUBERNETES_EXEC_INFO" > asked; cat credential');
    const args = sh("cat db/password; env");
    const { code, stdout, stderr } = await shop.run({ args, env: { ...MOUNTED, KUBECONFIG: own } });
    assert.equal(code, 0, stderr);
    assert.ok(stdout.startsWith(SECRET), stdout);
    assert.doesNotMatch(stdout, /^REGION=|^KUBERNETES_EXEC_INFO=/m);
    const asked = await Deno.readTextFile(join(shop.root, "asked"));
    assert.match(asked, /^login north \{/);
    assert.equal(JSON.parse(asked.slice("login north ".length)).spec.cluster.server, server.url);
  });
  await t.step("without a credential krun names file, context and user", async () => {
    await script("echo no luck today >&2; exit 3");
    const { line } = await shop.refuses({ env: { ...MOUNTED, KUBECONFIG: own } });
    names(line, "plugin", own, 'context "ann@test"', 'user "ann"');
  });
});

Deno.test("krun refreshes the token of an OIDC user at its issuer, and is that user", async () => {
  await using issuer = await OidcIssuer.start(server.ca);
  await using withOidc = await startApiServer({ args: issuer.apiServerArgs(server.caFile) });
  await using shop = await Shop.create(withOidc);
  await withOidc.grant(shop.namespace, `${issuer.url}#olga`, KRUN_RULES);
  const config = issuer.authProvider(server.caPem);
  const KUBECONFIG = await withOidc.kubeconfig("olga", { "auth-provider": { name: "oidc", config } });
  const run = { args: sh("cat db/password"), env: { ...MOUNTED, KUBECONFIG } };
  // The API server reads the issuer's keys in its own time.
  await waitFor("krun to be let in", async () => {
    const { code, stdout, stderr } = await shop.run(run);
    assert.deepEqual([code, stdout], [0, SECRET], stderr);
    return true;
  }, { timeoutMs: 60_000 });
  const wrong = { ...config, "refresh-token": "an0ther" };
  const other = await withOidc.kubeconfig("olga", { "auth-provider": { name: "oidc", config: wrong } });
  const { line } = await shop.refuses({ env: { ...MOUNTED, KUBECONFIG: other } });
  names(line, other, 'context "olga@test"', 'user "olga"');
  assert.ok(!line.includes("an0ther"), line);
});
