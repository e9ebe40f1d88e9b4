/** `krun --check` says of each start that would fail that it would, in the same words, and touches nothing. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mainProgram } from "../src/launch/main_program.ts";
import { tree, Workspace } from "./workspace.ts";

interface Case {
  readonly env: Readonly<Record<string, string>>;
  /** krun's arguments without `--check`. */
  readonly args?: readonly string[];
  /** Exit status of the start. */
  readonly status?: number;
  /** What the problem says. */
  readonly says: RegExp;
  readonly before?: (workspace: Workspace) => void | Promise<void>;
}

const PROGRAM = ["--", "/bin/echo", "started"];

/** Runs the check, then the start, which must fail with the same message. */
async function refused({ env, args = PROGRAM, status = 125, says, before }: Case): Promise<void> {
  await using workspace = await Workspace.create();
  await before?.(workspace);
  const found = tree(workspace.root);
  const checked = await workspace.run({ args: ["--check=json", ...args], env });
  assert.equal(checked.code, 1, checked.stdout + checked.stderr);
  const report = JSON.parse(checked.stdout);
  assert.equal(report.ok, false);
  assert.match(report.problems.join("\n"), says);
  assert.deepEqual(tree(workspace.root), found, "the check touched nothing");
  const started = await workspace.run({ args, env });
  assert.equal(started.code, status, started.stderr);
  assert.match(started.stderr, says);
}

/** Runs the check, which says ok, then the start, which succeeds. */
async function accepted(workspace: Workspace, { env, args = PROGRAM }: Pick<Case, "env" | "args">): Promise<void> {
  const found = tree(workspace.root);
  const checked = await workspace.run({ args: ["--check", ...args], env });
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  assert.deepEqual(tree(workspace.root), found, "the check touched nothing");
  const started = await workspace.run({ args, env });
  assert.equal(started.code, 0, started.stderr);
}

/** Writes a Pod of one container `app`, with what a test adds; the setting that hands it to krun. */
function writePod(workspace: Workspace, container: object, spec: object = {}): void {
  const containers = [{ name: "app", command: ["/bin/echo", "started"], ...container }];
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web-0" }, spec: { ...spec, containers } };
  Deno.writeTextFileSync(workspace.path("pod.json"), JSON.stringify(pod));
}

Deno.test("krun --check refuses a target folder that holds a foreign file", () =>
  refused({
    env: { K8S_SECRET_db: "./db" },
    says: /Cannot mount at ".*\/db" for K8S_SECRET_db: the folder is not empty, it holds "mine"/,
    before: (workspace) => {
      Deno.mkdirSync(workspace.path("db"));
      Deno.writeTextFileSync(workspace.path("db", "mine"), "mine");
    },
  }));

Deno.test("krun --check refuses a target where a file stands, for one key too", async () => {
  const before = (workspace: Workspace) => Deno.writeTextFileSync(workspace.path("db"), "mine");
  await refused({ env: { K8S_SECRET_db: "./db" }, says: /for K8S_SECRET_db: a file stands there/, before });
  await refused({ env: { K8S_SECRET_db: "./db?key=password" }, says: /K8S_SECRET_db: a file stands there/, before });
});

Deno.test("krun --check refuses a key that the object has not", () =>
  refused({
    env: { K8S_SECRET_db: "./db?key=nope" },
    says: /"shop\/db": it has no key "nope" \(it has "password", "username"\) .*K8S_SECRET_db/,
  }));

Deno.test("krun --check refuses a secretKeyRef to a missing key", () =>
  refused({
    env: { KRUN_POD: "pod.json" },
    args: [],
    says: /variable "PASSWORD" of container "app": .*Secret "shop\/db" has no key "nope"/,
    before: (workspace) =>
      writePod(workspace, {
        env: [{ name: "PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "nope" } } }],
      }),
  }));

Deno.test("krun --check refuses a base that is a file, and says that it is one", () =>
  refused({
    env: { MESH_BASE_DIR: "/etc/passwd", K8S_SECRET_db: "/elsewhere" },
    says: /Cannot use base folder "\/etc\/passwd": open "\/etc\/passwd": it is no folder/,
  }));

Deno.test("krun --check refuses two mounts at one path", () =>
  refused({
    env: { K8S_SECRET_db: "./same", K8S_CM_app: "./same" },
    says: /Cannot mount at ".*\/same" for K8S_\w+: K8S_\w+ is mounted there already/,
  }));

Deno.test("krun --check takes the places of earlier mounts into account, in the order of a start", async () => {
  // The start makes "outer/inner" first, then finds that the folder that was there is not empty any more.
  await refused({
    env: { K8S_CM_app: "./outer/inner", K8S_SECRET_db: "./outer" },
    says: /for K8S_SECRET_db: the folder is not empty, it holds "inner"/,
    before: (workspace) => Deno.mkdirSync(workspace.path("outer")),
  });
  await using workspace = await Workspace.create();
  await accepted(workspace, { env: { K8S_CM_app: "./outer/inner", K8S_SECRET_db: "./outer" } });
});

Deno.test("krun --check names the krun that works in the base", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./db" };
  await using krun = workspace.start({ args: ["--", "/bin/sh", "-c", "echo up; exec sleep 1000"], env });
  await krun.sees("stdout", /up/);
  const found = tree(workspace.root);
  const { code, stdout } = await workspace.run({ args: ["--check", ...PROGRAM], env });
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`Cannot use base folder ".*": krun with process id ${krun.pid} works in it`));
  assert.doesNotMatch(stdout, /Cannot mount/, "what the other krun made is no problem of its own");
  assert.deepEqual(tree(workspace.root), found);
  krun.kill("SIGTERM");
  await krun.end;
  assert.equal((await workspace.run({ args: ["--check", ...PROGRAM], env })).code, 0);
});

Deno.test("krun --check accepts what a killed krun left, which a start removes", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./deep/db", K8S_CM_app: "./one/app.conf?key=app.conf", K8S_TOKEN_vault: "./token" };
  const krun = workspace.start({ args: ["--", "/bin/sh", "-c", "echo up; exec sleep 1000"], env });
  await krun.sees("stdout", /up/);
  await krun.murder();
  assert.ok(tree(workspace.folder).includes("deep/db/"));
  await accepted(workspace, { env });
});

Deno.test("krun --check refuses a former mount in which somebody put a file since", () =>
  refused({
    env: { K8S_SECRET_db: "./db", KRUN_FILES: "keep" },
    says: /for K8S_SECRET_db: the folder is not empty, it holds "mine"/,
    before: async (workspace) => {
      const { code, stderr } = await workspace.run({
        args: PROGRAM,
        env: { K8S_SECRET_db: "./db", KRUN_FILES: "keep" },
      });
      assert.equal(code, 0, stderr);
      Deno.writeTextFileSync(workspace.path("db", "mine"), "mine");
    },
  }));

Deno.test("krun --check accepts a base that is absent, which a start makes", async () => {
  await using workspace = await Workspace.create();
  await accepted(workspace, { env: { K8S_SECRET_db: "./db", MESH_BASE_DIR: workspace.path("not", "yet") } });
});

Deno.test("krun --check looks at mounts of every kind", async () => {
  const volumes = [
    { name: "scratch", emptyDir: { medium: "Memory" } },
    { name: "work", emptyDir: {} },
    { name: "host", hostPath: { path: "/etc", type: "Directory" } },
    { name: "db", secret: { secretName: "db" } },
  ];
  const volumeMounts = [
    ...[{ name: "scratch", mountPath: "scratch" }, { name: "work", mountPath: "work" }],
    ...[{ name: "work", mountPath: "inner", subPath: "inner" }, { name: "host", mountPath: "host" }],
    { name: "db", mountPath: "password", subPath: "password" },
  ];
  await using workspace = await Workspace.create();
  writePod(workspace, { volumeMounts }, { volumes });
  await accepted(workspace, { env: { KRUN_POD: "pod.json" }, args: [] });
  for (const { mountPath } of volumeMounts) {
    await refused({
      ...{ env: { KRUN_POD: "pod.json" }, args: [], says: new RegExp(`Cannot mount at ".*/${mountPath}" for `) },
      before: (workspace) => {
        writePod(workspace, { volumeMounts }, { volumes });
        Deno.writeTextFileSync(workspace.path(mountPath), "mine");
      },
    });
  }
});

Deno.test("krun --check refuses programs that cannot be started", async (t) => {
  const program = (mode: number, text: string) => (workspace: Workspace) => {
    Deno.writeTextFileSync(workspace.path("server"), text);
    Deno.chmodSync(workspace.path("server"), mode);
  };
  const cases: Readonly<Record<string, Case>> = {
    "one that does not exist": {
      ...{ env: {}, args: ["--", "/no/such/program"], status: 127 },
      says: /Cannot start program "\/no\/such\/program": no such file/,
    },
    "one that is not in PATH": {
      ...{ env: {}, args: ["--", "no-such-program"], status: 127 },
      says: /Cannot start program "no-such-program": no such file in the folders of PATH/,
    },
    "one that is not executable": {
      ...{ env: {}, args: ["--", "./server"], status: 126 },
      ...{ says: /Cannot start program ".\/server": /, before: program(0o644, "#!/bin/sh\n") },
    },
    "a folder": { env: {}, args: ["--", "/etc"], status: 126, says: /Cannot start program "\/etc": / },
    "one without an interpreter": {
      ...{ env: {}, args: ["--", "./server"], status: 127 },
      ...{
        says: /the interpreter in its first line, "\/no\/such", does not exist/,
        before: program(0o755, "#!/no/such\n"),
      },
    },
    "a text": {
      ...{ env: {}, args: ["--", "./server"], status: 126 },
      ...{ says: /Cannot start program ".\/server": /, before: program(0o755, "echo hello\n") },
    },
  };
  for (const [name, each] of Object.entries(cases)) await t.step(name, () => refused(each));
});

Deno.test("krun --check looks a program up in the PATH of the Pod's environment", async () => {
  await refused({
    env: { KRUN_POD: "pod.json" },
    ...{ args: [], status: 127, says: /no such file in the folders of PATH, "\/nowhere"/ },
    before: (workspace) => writePod(workspace, { command: ["echo"], env: [{ name: "PATH", value: "/nowhere" }] }),
  });
});

Deno.test("krun --check accepts a program that a mount will hold", async () => {
  await using workspace = await Workspace.create();
  await workspace.put({ kind: "ConfigMap", name: "scripts", data: { run: "#!/bin/sh\nexit 0\n" } });
  await accepted(workspace, { env: { K8S_CM_scripts: "./bin?mode=0755" }, args: ["--", "./bin/run"] });
});

/** Runs krun in this process, with nothing around it but an environment. */
async function report(env: Readonly<Record<string, string>>, format = "--check=json") {
  let output = "";
  const code = await mainProgram({
    args: [format, "--", "/bin/echo"],
    env,
    cwd: "/tmp",
    pid: Deno.pid,
    self: { uid: Deno.uid()!, gid: Deno.gid()!, groups: [] },
    writeError: () => {},
    writeOutput: (text) => void (output += text),
  });
  return { code, output };
}

Deno.test("krun --check reports settings that cannot be read and a folder that is missing, with exit status 1", async () => {
  for (
    const [env, says] of [
      [{ KRUN_START_TIMEOUT: "soon" }, /KRUN_START_TIMEOUT/],
      [{ KRUN_MANIFESTS: join("/no", "such", "folder") }, /\/no\/such\/folder/],
      [{ KRUN_POD: "/no/such/pod.yaml", WORKLOAD_NAMESPACE: "shop" }, /no\/such\/pod\.yaml/],
    ] as const
  ) {
    const { code, output } = await report(env);
    assert.equal(code, 1);
    const { ok, problems } = JSON.parse(output);
    assert.equal(ok, false);
    assert.match(problems.join("\n"), says);
    const text = await report(env, "--check");
    assert.equal(text.code, 1);
    assert.match(text.output, /^PROBLEMS\n.*\n\nnot ok: a start would fail\n$/);
  }
});

Deno.test("krun --check=xml is a malformed command line: exit status 125, and no report", async () => {
  assert.deepEqual(await report({}, "--check=xml"), { code: 125, output: "" });
});

Deno.test("krun and its check refuse a base in the manifests folder, where the signing key would lie", async () => {
  const says = /Cannot use manifests ".*\/k8s": .*\/k8s(\/a)?\/\.krun"/;
  for (const folder of [["k8s"], ["k8s", "a"], ["link"]]) {
    await using probe = await Workspace.create();
    const base = join(probe.root, ...folder);
    await Deno.symlink(probe.manifests, join(probe.root, "link"));
    const env = { KRUN_MANIFESTS: probe.manifests, MESH_BASE_DIR: base };
    const before = tree(probe.root);
    const check = await probe.run({ args: ["--check", ...PROGRAM], env });
    assert.equal(check.code, 1, check.stdout);
    const start = await probe.run({ args: PROGRAM, env });
    assert.deepEqual([start.code, start.stdout], [125, ""], start.stderr);
    for (const text of [check.stdout, start.stderr]) {
      if (folder[0] !== "link") assert.match(text, says);
      assert.match(text, /set MESH_BASE_DIR to a folder outside the manifests/);
    }
    assert.deepEqual(tree(probe.root), before, "nothing was made");
  }
  await using workspace = await Workspace.create();
  await accepted(workspace, { env: { MESH_BASE_DIR: workspace.root } });
});
