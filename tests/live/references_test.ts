/** References to Secrets and ConfigMaps of two real API servers: the workload's own cluster, and another one by its context. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { exists } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { bundledKrun } from "./bundled.ts";
import { CountingProxy } from "./counting_proxy.ts";
import { NOBODY } from "./compiled.ts";
import { assertNoSecret, names, SECRET, sh, Shop } from "./shop.ts";

let own: ApiServer;
let other: ApiServer;
let audit: string;
Deno.test.beforeAll(async () => {
  audit = await Deno.makeTempDir({ prefix: "krun-audit-" });
  const policy = {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [{ level: "Metadata" }],
  };
  await Deno.writeTextFile(join(audit, "policy"), JSON.stringify(policy));
  const args = [`--audit-policy-file=${join(audit, "policy")}`, `--audit-log-path=${join(audit, "log")}`];
  [own, other] = await Promise.all([startApiServer({ args }), startApiServer()]);
});
Deno.test.afterAll(async () => {
  await Deno.remove(audit, { recursive: true });
  await own[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

/** How gcloud calls the context of a GKE cluster, and the cluster itself. */
const GKE_CONTEXT = "gke_demo_us-central1-a_k0";
const GKE_PATH = "/projects/demo/zones/us-central1-a/clusters/k0";

/** A shop in each cluster; the kubeconfig's current context is the own one, and `far` is the other. */
class TwoShops implements AsyncDisposable {
  private constructor(readonly near: Shop, readonly far: Shop) {}

  static async create(): Promise<TwoShops> {
    await using stack = new AsyncDisposableStack();
    const near = stack.use(await Shop.create(own));
    const far = stack.use(await Shop.create(other));
    const [first, second] = [near, far].map(({ kubeconfig }) => JSON.parse(Deno.readTextFileSync(kubeconfig)));
    const context = (name: string, namespace: string) => ({ name, context: { cluster: name, user: name, namespace } });
    const config = {
      ...{ apiVersion: "v1", kind: "Config", "current-context": GKE_CONTEXT },
      clusters: [{ ...first.clusters[0], name: GKE_CONTEXT }, { ...second.clusters[0], name: "far" }],
      users: [{ ...first.users[0], name: GKE_CONTEXT }, { ...second.users[0], name: "far" }],
      contexts: [context(GKE_CONTEXT, near.namespace), context("far", far.namespace)],
    };
    near.kubeconfig = join(near.root, "both.kubeconfig");
    await Deno.writeTextFile(near.kubeconfig, JSON.stringify(config));
    await Deno.chmod(near.root, 0o755);
    stack.move();
    return new TwoShops(near, far);
  }

  /** A reference to the other cluster. */
  farRef(rest: string, prefix = "$SecretKeyRef:"): string {
    return `${prefix}/contexts/far/namespaces/${this.far.namespace}${rest}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.near[Symbol.asyncDispose]();
    await this.far[Symbol.asyncDispose]();
  }
}

/** What the own API server was asked for of a namespace's objects, as its audit log has it. */
async function reads(namespace: string): Promise<string[]> {
  const lines = (await Deno.readTextFile(join(audit, "log"))).split("\n").filter((line) => line !== "");
  const asked = lines.map((line) => JSON.parse(line)).filter(({ verb, objectRef }) =>
    verb === "get" && objectRef?.namespace === namespace && ["secrets", "configmaps"].includes(objectRef.resource)
  );
  return asked.map(({ objectRef }) => `${objectRef.resource}/${objectRef.name}`);
}

Deno.test("references to two clusters are in place when the program starts, with no library in it", async (t) => {
  await using shops = await TwoShops.create();
  const { near, far } = shops;
  await near.server.create(near.secret("json", { doc: JSON.stringify({ users: [{ name: "alice", id: 0.1 }] }) }));
  await near.server.create(near.configMap("cfg", { "config.json": '{"a":1}\n' }));
  await near.server.namespace(`${near.namespace}-b`);
  await near.server.grant(`${near.namespace}-b`, near.user, [{
    apiGroups: [""],
    resources: ["secrets"],
    verbs: ["get", "watch"],
  }]);
  await near.server.create({
    ...near.secret("b", { k: "beside" }),
    metadata: { namespace: `${near.namespace}-b`, name: "b" },
  });

  await t.step("konfig's form, the short forms, another namespace, another cluster", async () => {
    const env = {
      KONFIG: `$SecretKeyRef:${GKE_PATH}/namespaces/${near.namespace}/secrets/db/keys/password`,
      SHORT: "$SecretKeyRef:/secrets/db/keys/password",
      MAP: "$ConfigMapKeyRef:/configmaps/app/keys/level",
      BESIDE: `$SecretKeyRef:/namespaces/${near.namespace}-b/secrets/b/keys/k`,
      FAR: shops.farRef("/configmaps/app/keys/level", "$ConfigMapKeyRef:"),
      FAR_SECRET: shops.farRef("/secrets/db/keys/password"),
      FIELD: "$SecretKeyRef:/secrets/json/keys/doc?json=.users[0].name",
      ABSENT: "$SecretKeyRef:/secrets/gone/keys/k?optional=true",
      FALLBACK: "$SecretKeyRef:/secrets/db/keys/gone?default=none",
      PLAIN: "x-$SecretKeyRef:/secrets/db/keys/password",
    };
    const script =
      `printf '%s|' "$KONFIG" "$SHORT" "$MAP" "$BESIDE" "$FAR" "$FAR_SECRET" "$FIELD" "\${ABSENT-unset}" "$FALLBACK" "$PLAIN"`;
    const { code, stdout, stderr } = await near.run({ args: sh(script), env });
    assert.equal(code, 0, stderr);
    const expected = [SECRET, SECRET, "1", "beside", "1", SECRET, "alice", "unset", "none", env.PLAIN];
    assert.deepEqual(stdout.split("|").slice(0, -1), expected, stderr);
  });

  await t.step("files: the path in the variable, 0600, in memory, gone at the end", async () => {
    const place = join(near.root, "outside", "tls.key");
    const env = {
      CFG: "$ConfigMapKeyRef:/configmaps/cfg/keys/config.json?tempFile=true",
      OFF: "$ConfigMapKeyRef:/configmaps/cfg/keys/config.json?tempFile=false",
      KEY: shops.farRef(`/secrets/db/keys/password?destination=${place}`),
      MODE: "$SecretKeyRef:/secrets/db/keys/password?destination=here/key&mode=0440",
      TMPDIR: near.root,
    };
    const script =
      'cat "$CFG"; echo "$CFG $KEY $MODE $OFF"; stat -Lc "%a %u" "$CFG" "$KEY" "$MODE"; cat "$KEY" "$MODE"; ' +
      'df --output=fstype "$KEY" | tail -1';
    const { code, stdout, stderr } = await near.run({ args: sh(script), env });
    assert.equal(code, 0, stderr);
    const [text, paths = "", ...rest] = stdout.split("\n");
    assert.equal(text, '{"a":1}');
    const [cfg = "", key, mode, off] = paths.split(" ");
    assert.match(cfg, new RegExp(`^${near.root}/krun-[0-9a-f]{16}-CFG\\.json$`));
    assert.deepEqual([key, mode, off], [place, near.path("here/key"), '{"a":1}']);
    assert.deepEqual(rest, ["", "600 0", "600 0", "440 0", `${SECRET}${SECRET}tmpfs`, ""]);
    for (const path of [cfg, place, join(near.root, "outside"), near.path("here")]) assert.ok(!exists(path), path);
  });

  await t.step("several references to one object cost one request, by the Pod's own connection", async () => {
    await using proxy = await CountingProxy.start(near.server.port);
    const kubeconfig = join(near.root, "counted.kubeconfig");
    const text = await Deno.readTextFile(near.kubeconfig);
    await Deno.writeTextFile(kubeconfig, text.replaceAll(near.server.url, `https://127.0.0.1:${proxy.port}`));
    const before = (await reads(near.namespace)).length;
    const many = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`V${i}`, "$SecretKeyRef:/secrets/db/keys/password"]),
    );
    const gke = { GKE: `$ConfigMapKeyRef:${GKE_PATH}/namespaces/${near.namespace}/configmaps/app/keys/level` };
    const { code, stderr } = await near.run({
      args: ["--", "/bin/true"],
      env: { ...many, ...gke, KRUN_REFRESH: "never", KUBECONFIG: kubeconfig },
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual((await reads(near.namespace)).slice(before).sort(), ["configmaps/app", "secrets/db"]);
    assert.equal(proxy.connections, 1);
  });

  await t.step("also where each names it in another form", async () => {
    const before = (await reads(near.namespace)).length;
    const env = {
      SHORT: "$SecretKeyRef:/secrets/db/keys/password",
      SPACE: `$SecretKeyRef:/namespaces/${near.namespace}/secrets/db/keys/password`,
      KONFIG: `$SecretKeyRef:${GKE_PATH}/namespaces/${near.namespace}/secrets/db/keys/password`,
      CONTEXT: `$SecretKeyRef:/contexts/${GKE_CONTEXT}/namespaces/${near.namespace}/secrets/db/keys/password`,
    };
    const { code, stdout, stderr } = await near.run({ args: sh('echo "$SHORT$SPACE$KONFIG$CONTEXT"'), env });
    assert.deepEqual([code, stdout], [0, `${SECRET.repeat(4)}\n`], stderr);
    const asked = await waitFor("the audit log", async () => {
      const all = (await reads(near.namespace)).slice(before);
      return all.length > 0 ? all : undefined;
    });
    assert.deepEqual(asked, ["secrets/db"]);
  });

  await t.step("KRUN_REFS limits it", async () => {
    const env = { A: "$SecretKeyRef:/secrets/db/keys/password", B: "$ConfigMapKeyRef:/configmaps/app/keys/level" };
    const script = 'echo "$A|$B"';
    const off = await near.run({ args: sh(script), env: { ...env, KRUN_REFS: "off" } });
    assert.equal(off.stdout, `${env.A}|${env.B}\n`);
    const one = await near.run({ args: sh(script), env: { ...env, KRUN_REFS: "B" } });
    assert.equal(one.stdout, `${env.A}|1\n`);
  });

  await t.step("what came from an object is never a reference", async () => {
    const value = "$SecretKeyRef:/secrets/db/keys/password";
    await near.server.create(near.configMap("loop", { value }));
    const env = {
      A: "$ConfigMapKeyRef:/configmaps/loop/keys/value",
      D: `$ConfigMapKeyRef:/configmaps/loop/keys/no?default=${value}`,
    };
    const { stdout, stderr } = await near.run({ args: sh('echo "$A|$D"'), env });
    assert.equal(stdout, `${value}|${value}\n`, stderr);
  });
  assert.ok(far.server !== near.server);
});

Deno.test("a start refuses with every failing reference at once: variable, object, reason, remedy", async () => {
  await using shops = await TwoShops.create();
  const { near, far } = shops;
  await far.server.namespace(`${far.namespace}-shut`);
  const many = Object.fromEntries(
    Array.from({ length: 25 }, (_, i) => [`GONE_${i}`, `$SecretKeyRef:/secrets/gone-${i}/keys/k`]),
  );
  const { line, details } = await near.refuses({
    env: {
      ...many,
      BAD: "$SecretKeyRef:/secret/db/keys/password",
      KEY: "$SecretKeyRef:/secrets/db/keys/pasword",
      JSON: "$SecretKeyRef:/secrets/db/keys/password?json=.a&default=x",
      SHUT: `$SecretKeyRef:/contexts/far/namespaces/${far.namespace}-shut/secrets/db/keys/password`,
      CONTEXT: "$SecretKeyRef:/contexts/nowhere/namespaces/x/secrets/db/keys/password",
      OPTIONAL: `$SecretKeyRef:/contexts/far/namespaces/${far.namespace}-shut/secrets/db/keys/password?optional=true`,
      K8S_SECRET_gone: "./gone",
    },
  });
  names(line, "and 31 more failures");
  for (let i = 0; i < 25; i++) {
    names(details, `Cannot resolve GONE_${i}: Secret "${near.namespace}/gone-${i}" does not exist; create it`);
  }
  names(details, "Cannot resolve BAD as a reference", "write for example $SecretKeyRef:/secrets/NAME/keys/KEY");
  names(details, `Cannot resolve KEY: Secret "${near.namespace}/db" has no key "pasword" (it has "password")`);
  names(details, "Cannot resolve JSON:", "its value is not JSON");
  names(
    details,
    `Cannot resolve SHUT from Secret "${far.namespace}-shut/db" of context "far": cannot read Secret`,
    "kind: Role",
    `namespace: "${far.namespace}-shut"`,
  );
  names(details, "Cannot resolve OPTIONAL from Secret");
  names(
    details,
    'Cannot resolve CONTEXT from Secret "x/db" of context "nowhere": cannot find context "nowhere"',
    `known contexts: ${GKE_CONTEXT}, far; correct the context in the reference`,
  );
  names(details, 'Secret "', "K8S_SECRET_gone");
});

Deno.test("--check shows references and whether they would resolve, without values, and touches nothing", async () => {
  await using shops = await TwoShops.create();
  const { near } = shops;
  const env = {
    GOOD: shops.farRef("/secrets/db/keys/password"),
    FILE: `$SecretKeyRef:/secrets/db/keys/password?destination=${near.root}/file`,
    NONE: "$SecretKeyRef:/secrets/gone/keys/k?optional=true",
    ELSE: "$SecretKeyRef:/secrets/gone/keys/k?default=none",
  };
  const good = await near.run({ args: ["--check", "--", "/bin/true"], env });
  assert.equal(good.code, 0, good.stdout + good.stderr);
  assertNoSecret(good.stdout);
  assert.match(good.stdout, /^ {2}GOOD +Secret ".*\/db" of context "far" +environment +resolves: yes$/m);
  assert.match(good.stdout, new RegExp(`^  FILE +Secret ".*/db" +${near.root}/file +resolves: yes$`, "m"));
  assert.match(good.stdout, /^ {2}NONE .* resolves: not set$/m);
  assert.match(good.stdout, /^ {2}ELSE .* resolves: default$/m);
  assert.ok(!exists(join(near.root, "file")));
  const bad = await near.run({
    args: ["--check=json", "--", "/bin/true"],
    env: { ...env, GOOD: shops.farRef("/secrets/gone/keys/k"), BAD: "$SecretKeyRef:" },
  });
  assert.equal(bad.code, 1, bad.stderr);
  const { references, problems } = JSON.parse(bad.stdout);
  assert.deepEqual(
    references.filter(({ resolves }: { resolves: string }) => resolves === "no").map((
      { variable }: { variable: string },
    ) => variable),
    ["BAD", "GOOD"],
  );
  names(problems.join("\n"), "Cannot resolve BAD", "Cannot resolve GOOD");
});

Deno.test("references to Kubernetes are watched: a file changes, and KRUN_ON_CHANGE tells the program", async () => {
  await using shops = await TwoShops.create();
  const { near, far } = shops;
  const place = join(near.root, "level");
  const script =
    "trap 'echo \"hup $(cat $LEVEL)\"' HUP; trap 'exit 0' TERM; echo \"up $(cat $LEVEL) $(cat $SAME)\"; while :; do sleep 0.05; done";
  await using krun = near.start({
    args: sh(script),
    env: {
      LEVEL: shops.farRef(`/configmaps/app/keys/level?destination=${place}`, "$ConfigMapKeyRef:"),
      SAME: "$ConfigMapKeyRef:/configmaps/app/keys/level?tempFile=yes",
      KRUN_ON_CHANGE: "signal:HUP",
    },
  });
  await krun.sees("stdout", /up 1 1/);
  await far.server.replace(far.configMap("app", { level: "2" }));
  await waitFor("the file to be new", () => Deno.readTextFileSync(place) === "2" || undefined);
  await krun.sees("stdout", /hup 2/);
  await far.server.replace(far.configMap("app", { other: "3" }));
  await krun.sees("stderr", /a reference keeps its last value.*has no key/);
  assert.equal(Deno.readTextFileSync(place), "2");
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0);
  assert.ok(!exists(place));
  assertNoSecret(krun.stderr);
});

Deno.test("a program that is started again gets the newest value of a variable", async () => {
  await using shops = await TwoShops.create();
  const { near, far } = shops;
  await using krun = near.start({
    args: sh("trap 'exit 0' TERM; echo \"up $LEVEL\"; while :; do sleep 0.05; done"),
    env: { LEVEL: shops.farRef("/configmaps/app/keys/level", "$ConfigMapKeyRef:"), KRUN_ON_CHANGE: "restart" },
  });
  await krun.sees("stdout", /up 1/);
  await far.server.replace(far.configMap("app", { level: "2" }));
  await krun.sees("stdout", /up 2/);
});

Deno.test("an ordinary user's krun keeps the write grant for a file outside, says so, and needs no folder of its own to write in", async (t) => {
  await using shops = await TwoShops.create();
  const { near } = shops;
  const temp = join(near.root, "tmp");
  await Deno.mkdir(temp, { mode: 0o777 });
  await Deno.chmod(temp, 0o1777);
  await Deno.chown(near.base, NOBODY, NOBODY);
  await Deno.chmod(near.kubeconfig, 0o644);
  // Where that user may go, as the Deno of the tests and its modules need not be.
  const [program, cache] = [join(near.root, "program"), join(near.root, "deno")];
  for (const folder of [program, cache]) await Deno.mkdir(folder);
  await Deno.chown(cache, NOBODY, NOBODY);
  const ordinary = { argv: await bundledKrun(program), uid: NOBODY, gid: NOBODY };
  const DENO_DIR = cache;
  const key = { KEY: "$SecretKeyRef:/secrets/db/keys/password?destination=tempfile", TMPDIR: temp };
  const script = 'cat "$KEY"; stat -Lc " %a %u" "$KEY"';
  await t.step("outside", async () => {
    const { code, stdout, stderr } = await near.run({ ...ordinary, args: sh(script), env: { ...key, DENO_DIR } });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${SECRET} 600 ${NOBODY}\n`);
    names(stderr, "write permission kept", "a reference's file is outside the working directory");
    assert.deepEqual([...Deno.readDirSync(temp)], []);
  });
  await t.step("and says so too where the base is elsewhere", async () => {
    const env = { ...key, MESH_BASE_DIR: join(temp, "base"), DENO_DIR };
    const { code, stderr } = await near.run({ ...ordinary, args: sh(script), env });
    assert.equal(code, 0, stderr);
    names(stderr, "write permission kept", "a reference's file is outside the working directory");
  });
  await t.step("the control: inside it is given up, without a word", async () => {
    const env = { KEY: "$SecretKeyRef:/secrets/db/keys/password?destination=key", DENO_DIR };
    const { code, stderr } = await near.run({ ...ordinary, args: sh(script), env });
    assert.equal(code, 0, stderr);
    assert.ok(!stderr.includes("write permission kept"), stderr);
  });
  await t.step("the program's own user gets the file", async () => {
    const { code, stdout, stderr } = await near.run({
      args: sh(script),
      env: { ...key, KRUN_RUN_AS: `${NOBODY}:${NOBODY}` },
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${SECRET} 600 ${NOBODY}\n`);
  });
});

Deno.test("what a killed krun left of a reference's file outside the base is removed by the next start", async () => {
  await using shops = await TwoShops.create();
  const { near } = shops;
  const place = join(near.root, "outside");
  const env = { KEY: `$SecretKeyRef:/secrets/db/keys/password?destination=${place}` };
  await using killed = near.start({ env });
  await killed.sees("stdout", /up/);
  await killed.murder();
  assert.ok(exists(place));
  const { code, stderr } = await near.run({ args: sh(`test ! -e ${place}`), env: {} });
  assert.equal(code, 0, stderr);
});
