/** What `krun --check` says of a real API server's rights, and of file systems that krun may not write in. */
import assert from "node:assert/strict";
import { loadYamlParser } from "../../src/kube/yaml_documents.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, type KubeObject, type PolicyRule, startApiServer } from "./api_server.ts";
import { assertNoSecret, refusalIn, SECRET, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

const PROGRAM = ["--", "/bin/true"];
const TOKENS: PolicyRule = { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] };

/** A user that may get and watch one Secret, only get one ConfigMap, and nothing else. */
const RULES: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["secrets"], resourceNames: ["db"], verbs: ["get", "watch"] },
  { apiGroups: [""], resources: ["configmaps"], resourceNames: ["app"], verbs: ["get"] },
  TOKENS,
];

Deno.test("krun --check shows the API server's verdict on each object for krun's own user", async () => {
  await using shop = await Shop.create(server, { rules: RULES });
  await server.create(shop.secret("other", { password: SECRET }));
  const env = { K8S_SECRET_db: "./db", K8S_CM_app: "./app", K8S_TOKEN_vault: "./token" };
  const allowed = await shop.run({ args: ["--check=json", ...PROGRAM], env });
  assert.equal(allowed.code, 0, allowed.stdout + allowed.stderr);
  assertNoSecret(allowed.stdout);
  const { objects } = JSON.parse(allowed.stdout);
  const accessOf = (name: string) => objects.find((object: { name: string }) => object.name === name).access;
  assert.equal(accessOf("db"), "get yes, watch yes");
  assert.equal(accessOf("app"), "get yes, watch no");
  assert.deepEqual(tree(shop.base), []);
});

Deno.test("krun --check prints the Role and RoleBinding that a 403 lacks, and applying them is enough", async () => {
  await using shop = await Shop.create(server, { rules: RULES });
  await server.create(shop.secret("other", { password: SECRET }));
  const env = { K8S_SECRET_other: "./other" };
  const { code, stdout } = await shop.run({ args: ["--check", ...PROGRAM], env });
  assert.equal(code, 1, stdout);
  assertNoSecret(stdout);
  assert.match(stdout, /^ {2}Secret\/other .* may not be read +get no, watch no +K8S_SECRET_other$/m);
  const [, roles] = /follow[^\n]*\n\n(apiVersion: rbac[^]*)\n\nnot ok: a start would fail\n$/.exec(stdout) ?? [];
  assert.ok(roles, stdout);
  const parse = await loadYamlParser();
  const documents = parse(roles).map(({ value }) => value as KubeObject);
  assert.deepEqual(documents.map(({ kind }) => kind), ["Role", "RoleBinding"]);
  // The start prints the same.
  assert.ok((await shop.refuses({ args: PROGRAM, env })).details.includes(roles));
  for (const document of documents) await server.create(document);
  const after = await shop.run({ args: ["--check", ...PROGRAM], env });
  assert.equal(after.code, 0, after.stdout + after.stderr);
  assert.match(after.stdout, /^ {2}Secret\/other .* get yes, watch yes +K8S_SECRET_other$/m);
});

Deno.test("krun --check refuses a base and a target in a read-only file system", async () => {
  await using shop = await Shop.create(server);
  const env = { K8S_SECRET_db: "./shut/db" };
  await Deno.mkdir(shop.path("shut"));
  const script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"';
  for (const folder of [shop.base, shop.path("shut")]) {
    const under = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", folder];
    const { code, stdout, stderr } = await shop.run({ args: ["--check", ...PROGRAM], env, under });
    assert.equal(code, 1, stdout + stderr);
    assert.match(
      stdout,
      folder === shop.base ? /Cannot use base folder/ : /Cannot mount volume ".*" at ".*\/shut\/db"/,
    );
    assert.match(stdout, /: the file system is read-only/);
    assert.deepEqual(tree(shop.base), ["shut/"]);
    const start = await shop.run({ args: PROGRAM, env, under });
    assert.match(refusalIn(start.stderr).line, /the file system is read-only/);
  }
  assert.equal((await shop.run({ args: ["--check", ...PROGRAM], env })).code, 0);
});

Deno.test("krun prints the Role to list Services where service links are on, as a Pod's are, and that is enough", async () => {
  await using shop = await Shop.create(server, { rules: [TOKENS] });
  await Deno.writeTextFile(
    shop.path("pod.json"),
    JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "web" },
      spec: { containers: [{ name: "app", command: ["/bin/true"] }] },
    }),
  );
  const env = { KRUN_POD: "pod.json" };
  const { code, stdout } = await shop.run({ args: ["--check"], env });
  assert.equal(code, 1, stdout);
  const [, otherwise, roles] =
    /follow, or (.*)\n\n(apiVersion: rbac[^]*)\n\nnot ok: a start would fail\n$/.exec(stdout) ?? [];
  assert.ok(otherwise && roles, stdout);
  assert.match(otherwise, /KRUN_SERVICE_LINKS=false/);
  const documents = (await loadYamlParser())(roles).map(({ value }) => value as KubeObject & { rules?: unknown });
  assert.deepEqual(documents[0]?.rules, [{ apiGroups: [""], resources: ["services"], verbs: ["list"] }]);
  for (const document of documents) await server.create(document);
  const after = await shop.run({ args: [], env });
  assert.equal(after.code, 0, after.stderr);
});
