/** References in the values of variables, from a folder of manifests: what a program sees, and what nobody is ever told. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { krunArgv, runKrun } from "./krun_process.ts";
import { waitFor } from "./wait.ts";
import { base64, tree, Workspace } from "./workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];
const PASSWORD = "$SecretKeyRef:/secrets/db/keys/password";

Deno.test("krun puts the values of references in the place of variables and files, and leaves every other byte of the environment", async () => {
  await using workspace = await Workspace.create();
  const others = {
    A: "x $SecretKeyRef:/secrets/db/keys/password",
    B: "",
    C: "SM://p/s",
    D: " sm://p/s",
    E: "é\n$(HOME)",
    F: "berglas:/b/o",
  };
  const { code, stdout, stderr } = await workspace.run({
    args: sh("env -0"),
    env: {
      ...others,
      PW: PASSWORD,
      FILE: `${PASSWORD}?destination=pw`,
      GONE: "$SecretKeyRef:/secrets/no/keys/k?optional=true",
    },
  });
  assert.equal(code, 0, stderr);
  const seen = Object.fromEntries(
    stdout.split("\0").filter((line) => line !== "").map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  for (const [name, value] of Object.entries(others)) assert.equal(seen[name], value, name);
  assert.deepEqual([seen["PW"], seen["FILE"], seen["GONE"]], ["s3cr3t", workspace.path("pw"), undefined]);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun resolves what KRUN_POD leaves of its own environment, for the program alone", async () => {
  await using workspace = await Workspace.create();
  const print = (name: string) => ["/bin/sh", "-c", `echo "${name}: \${PW-none} \${MINE-none} \${HELD-none}"`];
  const env = [{ name: "MINE", value: PASSWORD }, { name: "HELD", value: "$(PW)" }];
  const pod = {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "web", namespace: "shop" } },
    spec: {
      initContainers: [{ name: "init", command: print("init") }],
      containers: [{ name: "web", command: print("web"), env }, { name: "side", command: print("side") }],
    },
  };
  await Deno.writeTextFile(join(workspace.root, "pod.json"), JSON.stringify(pod));
  const { code, stdout, stderr } = await workspace.run({
    args: [],
    env: { KRUN_POD: join(workspace.root, "pod.json"), PW: PASSWORD, MINE: "$SecretKeyRef:/secrets/gone/keys/k" },
  });
  assert.equal(code, 0, stderr);
  const lines = stdout.split("\n").filter((line) => line !== "").sort();
  assert.deepEqual(lines, [
    "init: none none none",
    "side: none none none",
    `web: s3cr3t ${PASSWORD} $(PW)`,
  ]);
});

Deno.test("krun resolves references in one-shot mode too", async () => {
  await using workspace = await Workspace.create();
  const env = { KRUN_REFRESH: "never", PW: PASSWORD, FILE: `${PASSWORD}?destination=pw` };
  const { stdout, stderr } = await workspace.run({ args: sh('echo "$PW $(cat $FILE)"'), env });
  assert.equal(stdout, "s3cr3t s3cr3t\n", stderr);
});

Deno.test("krun beside another container keeps the files of references, and says that variables are of no use", async () => {
  await using workspace = await Workspace.create();
  await using krun = workspace.start({ args: [], env: { PW: PASSWORD, FILE: `${PASSWORD}?destination=pw` } });
  await krun.sees("stderr", /files ready/);
  assert.match(krun.stderr, /PW is not resolved: there is no program, and it names no destination/);
  assert.equal(workspace.read("pw"), "s3cr3t");
  await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
  await waitFor("the new password", () => workspace.read("pw") === "n3w");
});

Deno.test("krun touches nothing that stands at a destination, or is in its way", async () => {
  await using workspace = await Workspace.create();
  const taken = join(workspace.root, "taken");
  await Deno.writeTextFile(taken, "mine");
  for (const destination of [taken, join(taken, "below"), workspace.root]) {
    const { code, stderr } = await workspace.run({
      args: sh("echo started"),
      env: { FILE: `${PASSWORD}?destination=${destination}` },
    });
    assert.equal(code, 125, stderr);
    assert.match(stderr, /for FILE: /);
    assert.equal(await Deno.readTextFile(taken), "mine");
  }
  assert.deepEqual(tree(workspace.folder), []);
});

/** Every form in which a value could be told. */
function formsOf(value: string): string[] {
  const bytes = new TextEncoder().encode(value);
  const words = [
    value,
    base64(value).replaceAll("=", ""),
    bytes.toHex(),
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
  ];
  return [...new Set([...words, value.slice(0, 12), value.slice(-12), [...bytes].join(",")])];
}

function assertUntold(text: string, values: readonly string[]): void {
  for (const value of values) {
    for (const form of formsOf(value)) assert.ok(!text.includes(form), `${form} of ${value} in:\n${text}`);
  }
}

Deno.test("krun never tells a value of a reference, whatever goes wrong with it", async (t) => {
  await using workspace = await Workspace.create();
  const secret = (name: string) => `${name}-${crypto.randomUUID()}`;
  const values = {
    good: secret("good"),
    json: secret("json"),
    raw: secret("raw"),
    nul: secret("nul"),
    next: secret("next"),
    fallback: secret("fallback"),
  };
  const all = Object.values(values);
  const put = (good: string) =>
    workspace.put({
      kind: "Secret",
      name: "canary",
      data: {
        good: base64(good),
        json: base64(`{"password": "${values.json}"`),
        raw: btoa(`${values.raw}\xff`),
        nul: btoa(`${values.nul}\0`),
        doc: base64(JSON.stringify({ a: values.good, b: 1 })),
      },
    });
  await put(values.good);
  const ref = (rest: string) => `$SecretKeyRef:/secrets/canary/keys/${rest}`;
  const env = { KRUN_LOG: "debug", KRUN_LOG_FORMAT: "json" };
  const faults = {
    JSON: ref("json?json=.password"),
    RAW: ref("raw"),
    NUL: ref("nul"),
    KEY: ref("no"),
    FIELD: ref("doc?json=.no"),
    INVALID: `sm://?default=${values.fallback}`,
    OPTION: ref(`good?mode=x&default=${values.fallback}`),
  };
  await t.step("the control: what is searched for would be found", () => {
    for (const form of formsOf(values.good)) assert.throws(() => assertUntold(`a ${form} b`, all), form);
  });
  await t.step("a start that fails", async () => {
    const { code, stdout, stderr } = await workspace.run({
      args: sh("echo started"),
      env: { ...env, ...faults, GOOD: ref("good") },
    });
    assert.equal(code, 125, stderr);
    for (const name of Object.keys(faults)) assert.match(stderr, new RegExp(`Cannot resolve ${name}`));
    assertUntold(stdout + stderr, all);
  });
  await t.step("--check", async () => {
    for (const format of ["--check", "--check=json"]) {
      const { stdout, stderr } = await workspace.run({
        args: [format, "--", "/bin/true"],
        env: { ...env, ...faults, GOOD: ref("good"), ELSE: ref(`no?default=${values.fallback}`) },
      });
      assert.match(stdout, /GOOD/);
      assertUntold(stdout + stderr, all);
    }
  });
  await t.step("a run, its status page, a change, and a change to what cannot be used", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    await using krun = workspace.start({
      args: sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"),
      env: {
        ...{ ...env, KRUN_STATUS: `127.0.0.1:${port}`, KRUN_ON_CHANGE: "restart" },
        ...{ GOOD: ref("good"), FILE: ref("good?destination=file"), DOC: ref("doc?json=.a") },
      },
    });
    await krun.sees("stdout", /up/);
    const page = async (path: string) => await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    assertUntold(await page("/status") + await page("/metrics"), all);
    await put(values.next);
    await krun.sees("stdout", /up\s+up/);
    await workspace.put({
      kind: "Secret",
      name: "canary",
      data: { good: base64(values.next), doc: base64(`${values.json}`) },
    });
    await krun.sees("stderr", /a reference keeps its last value/);
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 0);
    assertUntold(krun.stderr, all);
  });
});

/** The files of krun that a run has loaded. */
async function loaded(workspace: Workspace, env: Record<string, string>): Promise<Set<string>> {
  const folder = await Deno.makeTempDir({ dir: workspace.root });
  const [deno, run, ...rest] = krunArgv();
  const { code, stderr } = await runKrun({
    argv: [deno, run!, `--coverage=${folder}`, ...rest],
    args: ["--", "/bin/true"],
    cwd: workspace.folder,
    env: {
      ...workspace.env(),
      DENO_DIR: Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME") ?? "/root", ".cache/deno"),
      ...env,
    },
  });
  assert.equal(code, 0, stderr);
  const urls = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".json"))
    .map(({ name }): string => JSON.parse(Deno.readTextFileSync(join(folder, name))).url);
  return new Set(urls.map((url) => url.replace(/^.*\/src\//, "")));
}

Deno.test("krun tells every reference that cannot be read, also where the cluster of the others is not found", async () => {
  await using workspace = await Workspace.create();
  await Deno.writeTextFile(workspace.path("bad"), "{ not yaml: [");
  const env = { A: PASSWORD, B: "sm://p", KRUN_MANIFESTS: "", KUBECONFIG: workspace.path("bad") };
  const { code, stderr } = await workspace.run({ args: sh("true"), env });
  assert.equal(code, 125);
  assert.match(stderr, /^- Cannot read kubeconfig .* \(asked for by A\); /m);
  assert.match(stderr, /^- Cannot resolve B as a reference: /m);
});

Deno.test("krun --check tells a default from a value that is the same, and a value that no variable can have", async () => {
  await using workspace = await Workspace.create();
  const rows = async (env: Record<string, string>) => {
    const { stdout } = await workspace.run({ args: ["--check", "--", "/bin/true"], env });
    return stdout.split("\n").filter((line) => line.includes("resolves: ")).map((line) => line.split("resolves: ")[1]);
  };
  assert.deepEqual(await rows({ A: `${PASSWORD}?default=s3cr3t` }), ["yes"]);
  assert.deepEqual(await rows({ A: `${PASSWORD}no?default=s3cr3t` }), ["default"]);
  await workspace.put({
    kind: "ConfigMap",
    name: "large",
    data: { text: "x".repeat(131_072), most: "x".repeat(131_072 - 3) },
  });
  assert.deepEqual(await rows({ A: "$ConfigMapKeyRef:/configmaps/large/keys/text" }), ["no"]);
  const env = { A: "$ConfigMapKeyRef:/configmaps/large/keys/most" };
  const { code, stdout, stderr } = await workspace.run({ args: sh('echo "${#A}"'), env });
  assert.deepEqual([code, stdout], [0, "131069\n"], stderr);
});

Deno.test("krun loads nothing that resolves references where there is none", async () => {
  await using workspace = await Workspace.create();
  const without = await loaded(workspace, { K8S_SECRET_db: "./db", A: "x sm://p/s" });
  assert.ok(without.has("core/reference_prefix.ts"), "what looks for references is there");
  const ofReferences = (file: string) =>
    /^(refs\/|launch\/.*references|core\/(reference|berglas|crc32c|json_field))/.test(file);
  const small = ["core/reference_names.ts", "core/reference_prefix.ts", "core/reference_settings.ts"];
  assert.deepEqual([...without].filter(ofReferences).sort(), small);
  const withOne = await loaded(workspace, { A: PASSWORD });
  assert.ok(withOne.has("refs/references.ts") && withOne.has("core/reference.ts"), "the control");
});
