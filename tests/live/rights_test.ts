/** docs/rights.md: its Role and RoleBinding, applied as they stand there, are enough for krun's user, and each rule is needed. */
import assert from "node:assert/strict";
import { loadYamlParser } from "../../src/kube/yaml_documents.ts";
import { KrunProcess, runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, type KubeObject, type PolicyRule, startApiServer } from "./api_server.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** Role and RoleBinding of the page. */
async function pageRoles(): Promise<[role: KubeObject & { rules: PolicyRule[] }, binding: KubeObject]> {
  const page = await Deno.readTextFile(new URL("../../docs/rights.md", import.meta.url));
  const [, yaml = ""] = /^```yaml\n([^]*?)^```$/m.exec(page) ?? [];
  const documents = (await loadYamlParser())(yaml).map(({ value }) => value as KubeObject);
  assert.deepEqual(documents.map(({ kind }) => kind), ["Role", "RoleBinding"]);
  return documents as [KubeObject & { rules: PolicyRule[] }, KubeObject];
}

Deno.test("the Role of docs/rights.md lets a powerless user run krun with a Secret, a ConfigMap, a token and service links", async (t) => {
  const [role, binding] = await pageRoles();
  const metadata = { namespace: "shop", name: "web" };
  await server.namespace("shop");
  await server.create({ apiVersion: "v1", kind: "ServiceAccount", metadata });
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { ...metadata, name: "db" },
    stringData: { user: "alice" },
  };
  await server.create(secret);
  await server.create({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { ...metadata, name: "app" },
    data: { level: "1" },
  });
  const spec = { ports: [{ port: 80 }] };
  await server.create({ apiVersion: "v1", kind: "Service", metadata: { ...metadata, name: "cache" }, spec });
  const cwd = await Deno.makeTempDir({ dir: server.folder });
  const script = 'cat db/user app/level; test -s vault && echo "$CACHE_SERVICE_PORT up"; exec sleep 1000';
  const env = {
    ...{
      KUBECONFIG: (await server.user("ann")).kubeconfig,
      WORKLOAD_NAMESPACE: "shop",
      WORKLOAD_SERVICE_ACCOUNT: "web",
    },
    ...{ K8S_SECRET_db: "./db", K8S_CM_app: "./app", K8S_TOKEN_vault: "./vault", KRUN_SERVICE_LINKS: "true" },
    ...{ MESH_BASE_DIR: cwd, KRUN_LOG: "debug" },
  };
  const args = ["--", "/bin/sh", "-c", script];
  for (const left of role.rules) {
    await t.step(`not without the rule for ${left.resources}`, async () => {
      const rules = role.rules.filter((rule) => rule !== left);
      const documents = [{ ...role, rules }, binding];
      for (const document of documents) await server.create(document);
      const { code, stderr } = await runKrun({ args, cwd, env });
      assert.equal(code, 125, stderr);
      assert.match(stderr, new RegExp(`^krun: .*403, user "ann" may not \\w+ ${left.resources}`, "m"));
      for (const document of documents) await server.delete(document);
    });
  }
  await t.step("with the page's rules", async () => {
    for (const document of [role, binding]) await server.create(document);
    const check = await runKrun({ args: ["--check=json", ...args], cwd, env });
    assert.equal(check.code, 0, check.stdout + check.stderr);
    const { objects } = JSON.parse(check.stdout);
    assert.deepEqual(objects.map(({ access }: { access: string }) => access), [
      "get yes, watch yes",
      "get yes, watch yes",
    ]);
    await using krun = new KrunProcess({ args, cwd, env });
    await krun.sees("stdout", /alice180 up/);
    await server.patch({ ...secret, stringData: { user: "bob" } });
    await waitFor("the change to come by the watch", async () => await Deno.readTextFile(`${cwd}/db/user`) === "bob");
    assert.doesNotMatch(krun.stderr, /watching is not allowed|user "\S+" may not/);
  });
});
