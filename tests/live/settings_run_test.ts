/** Settings that change what a run does, each end to end with the real krun: no root, no network. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { tree, Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];
/** Its standard error is krun's, and the shell may tell there that a child of its own was ended. */
const IDLE = sh("exec 2>/dev/null; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");

Deno.test("KRUN_FILES=keep leaves the files of a normal end, and the next start in that base takes them over", async (t) => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./deep/db", K8S_CM_app: "./one.conf?key=app.conf", K8S_TOKEN_audit: "./token" };
  await t.step("they are whole, and readable without krun", async () => {
    const { code, stderr } = await workspace.run({ args: ["/bin/true"], env: { ...env, KRUN_FILES: "keep" } });
    assert.equal(code, 0, stderr);
    assert.equal(workspace.read("deep", "db", "password"), "s3cr3t");
    assert.equal(workspace.read("one.conf"), "level=1\n");
    assert.match(workspace.read("token"), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  });
  await t.step("the next start mounts the present version at the same paths, and keeps it again", async () => {
    await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
    const args = sh("cat deep/db/password; test ! -e deep/db/username");
    const { code, stdout, stderr } = await workspace.run({ args, env: { ...env, KRUN_FILES: "keep" } });
    assert.deepEqual([code, stdout], [0, "n3w"], stderr);
    assert.equal(workspace.read("deep", "db", "password"), "n3w");
  });
  await t.step("a file that somebody put there since is not taken over", async () => {
    await Deno.writeTextFile(workspace.path("deep", "db", "mine"), "x");
    const { code, stderr } = await workspace.run({ args: sh("echo never"), env });
    assert.equal(code, 125, stderr);
    assert.match(stderr, /^krun: .*K8S_SECRET_db/m);
    assert.equal(workspace.read("deep", "db", "mine"), "x");
    await Deno.remove(workspace.path("deep", "db", "mine"));
  });
  await t.step("a start that mounts something else, without the setting, removes all of it", async () => {
    const { code, stderr } = await workspace.run({ args: sh("test ! -e one.conf"), env: { K8S_CM_app: "./conf" } });
    assert.equal(code, 0, stderr);
    // The folder of the file that was not krun's is not krun's any more.
    assert.deepEqual(tree(workspace.folder).filter((path) => !["deep/", "deep/db/"].includes(path)), []);
  });
});

Deno.test("KRUN_PASS_ENV hands on exactly what it names of krun's own variables", async () => {
  await using workspace = await Workspace.create();
  const own = {
    KUBECONFIG: "/nowhere/config",
    GOOGLE_APPLICATION_CREDENTIALS: "/nowhere/google",
    SSH_AUTH: "",
    K8S_SECRET_db: "./db",
    K8S_CM_app: "./conf",
    KRUN_ON_CHANGE: "none",
    KRUN_GRACE_PERIOD: "9",
  };
  const seen = async (more: Record<string, string>): Promise<Record<string, string>> => {
    const { code, stdout, stderr } = await workspace.run({ args: sh("env"), env: { ...own, ...more } });
    assert.equal(code, 0, stderr);
    const pairs = stdout.trim().split("\n").map((line): [string, string] => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    });
    return Object.fromEntries(pairs.filter(([name]) => name in own || name === "KRUN_PASS_ENV"));
  };
  assert.deepEqual(await seen({}), {}, "the control: none of them");
  const names = ["KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "K8S_SECRET_db", "KRUN_GRACE_PERIOD"] as const;
  const expected = Object.fromEntries(names.map((name) => [name, own[name]]));
  assert.deepEqual(await seen({ KRUN_PASS_ENV: names.join(",") }), expected);
  const { stderr } = await workspace.run({ args: sh("true"), env: { KRUN_PASS_ENV: "KUBECONFIG,KUBE_CONFIG" } });
  const warnings = stderr.split("\n").filter((line) => line.includes(" warn "));
  assert.equal(warnings.length, 1, stderr);
  assert.match(warnings[0]!, /KRUN_PASS_ENV=KUBE_CONFIG has no effect; the nearest that does is KUBECONFIG$/);
});

Deno.test("KRUN_LOG_FORMAT=json makes every line JSON, whatever happens, and no line holds a secret", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", KRUN_LOG: "debug", KRUN_LOG_FORMAT: "json" };
  const more = { KRUN_ON_CHANGE: "restart", KRUN_SEKRET: "x", LABEL_bad: "no label!" };
  await using krun = workspace.start({ args: IDLE, env: { ...env, ...more } });
  await krun.sees("stdout", /up/);
  await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
  await krun.sees("stdout", /up\nup/);
  await Deno.writeTextFile(workspace.manifest("Secret", "db"), "{ s3cr3t");
  await krun.sees("stderr", /"level":"warn".*Secret-db\.json/);
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
  const failed = await workspace.run({ args: ["./missing"], env });
  for (const line of [...krun.stderr.trim().split("\n"), ...failed.stderr.trim().split("\n")]) {
    const { time, level } = JSON.parse(line);
    assert.ok(!Number.isNaN(Date.parse(time)), line);
    assert.match(level, /^(error|warn|info|debug)$/);
    assert.doesNotMatch(line, /s3cr3t|n3w|eyJ[\w-]+\.|"d":/);
  }
});

Deno.test("KRUN_REFRESH=never says once what has no effect then", async () => {
  await using workspace = await Workspace.create();
  const exec = { exec: { command: ["/bin/true"] } };
  const app = { name: "app", command: ["/bin/echo", "up"], livenessProbe: exec, lifecycle: { preStop: exec } };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web" },
    spec: { containers: [app], restartPolicy: "Always" },
  };
  await Deno.writeTextFile(workspace.path("pod.json"), JSON.stringify(pod));
  const warnings = async (env: Record<string, string>, args: string[] = []) => {
    const { code, stdout, stderr } = await workspace.run({ args, env: { KRUN_REFRESH: "never", ...env } });
    assert.deepEqual([code, stdout], [0, "up\n"], stderr);
    return stderr.split("\n").filter((line) => line.includes(" warn ")).map((line) => line.replace(/^.* warn /, ""));
  };
  const lost = "no effect with KRUN_REFRESH=never, where krun is gone once the program runs:";
  const env = { "startupProbe.tcp": "8080", "KRUN_GRACE_PERIOD": "9" };
  assert.deepEqual(await warnings(env, sh("echo up")), [`${lost} startupProbe.tcp, KRUN_GRACE_PERIOD`]);
  const fields = await warnings({ KRUN_POD: workspace.path("pod.json") });
  assert.deepEqual(fields, [`${lost} livenessProbe, lifecycle, restartPolicy Always`]);
  assert.deepEqual(await warnings({}, sh("echo up")), [], "the control");
});

Deno.test("A mount inside another one hides the key of that name, as in a Pod, and krun says so", async () => {
  await using workspace = await Workspace.create();
  const hidden = async (path: string, script: string) => {
    const env = { K8S_SECRET_db: "./db", K8S_CM_app: path };
    const { code, stdout, stderr } = await workspace.run({ args: sh(script), env });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "level=1\n");
    return stderr.split("\n").filter((line) => line.includes(" warn ")).map((line) => line.replace(/^.* warn /, ""));
  };
  const place = workspace.path("db", "password");
  const warning = `a mount hides a key path=${place} of=K8S_SECRET_db mount=K8S_CM_app`;
  assert.deepEqual(await hidden("./db/password", "cat db/password/app.conf"), [warning]);
  assert.deepEqual(await hidden("./db/password?key=app.conf", "cat db/password"), [warning]);
  assert.deepEqual(await hidden("./db/password/deeper", "cat db/password/deeper/app.conf"), [warning]);
  assert.deepEqual(await hidden("./db/more", "cat db/more/app.conf"), [], "the control: no key has that name");
});

/** A port that nobody listens on. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Whether krun says that its Pod is ready. */
async function readiness(status: string): Promise<number> {
  const response = await fetch(`http://${status}/readyz`);
  await response.body?.cancel();
  return response.status;
}

Deno.test("startupProbe.http and startupProbe.tcp of the original decide when the program has started", async (t) => {
  await t.step("startupProbe.http, a path on PORT: not before it answers well", async () => {
    await using workspace = await Workspace.create();
    const status = `127.0.0.1:${freePort()}`;
    const asked: string[] = [];
    let healthy = false;
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      asked.push(new URL(request.url).pathname);
      return new Response("", { status: healthy ? 200 : 500 });
    });
    const env = { "startupProbe.http": "/ready?deep=1", "PORT": `${server.addr.port}`, "KRUN_STATUS": status };
    await using krun = workspace.start({ args: IDLE, env });
    await waitFor("two probes", () => asked.length >= 2);
    assert.equal(await readiness(status), 503, krun.stderr);
    healthy = true;
    await waitFor("krun to be ready", async () => await readiness(status) === 200);
    assert.deepEqual([...new Set(asked)], ["/ready"]);
  });
  await t.step("startupProbe.tcp: not before somebody listens", async () => {
    await using workspace = await Workspace.create();
    const [status, port] = [`127.0.0.1:${freePort()}`, freePort()];
    await using krun = workspace.start({
      args: IDLE,
      env: { "startupProbe.tcp": `127.0.0.1:${port}`, "KRUN_STATUS": status, "KRUN_LOG": "debug" },
    });
    await krun.sees("stdout", /up/);
    await waitFor("krun to listen", async () => await readiness(status) === 503);
    using listener = Deno.listen({ hostname: "127.0.0.1", port });
    const accepted = listener.accept();
    await waitFor("krun to be ready", async () => await readiness(status) === 200);
    (await accepted).close();
  });
  await t.step("the control: without a probe the program has started at once", async () => {
    await using workspace = await Workspace.create();
    const status = `127.0.0.1:${freePort()}`;
    await using krun = workspace.start({ args: IDLE, env: { K8S_SECRET_db: "./db", KRUN_STATUS: status } });
    await krun.sees("stdout", /up/);
    await waitFor("krun to be ready", async () => await readiness(status) === 200);
  });
});

Deno.test("KRUN_ON_CHANGE never takes the renewal of a token for a change", async (t) => {
  for (const reaction of ["restart", "signal:HUP"] as const) {
    await t.step(reaction, async () => {
      await using workspace = await Workspace.create();
      const jump = join(workspace.root, "jump");
      await Deno.writeTextFile(jump, "0");
      await using krun = workspace.start({
        preload: "jumping_clock.ts",
        args: sh("trap 'echo pass' HUP; echo pass; while :; do sleep 0.05; done"),
        env: { CLOCK_JUMP: jump, K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", KRUN_ON_CHANGE: reaction },
      });
      await krun.sees("stdout", /pass/);
      const before = workspace.read("token");
      // The token lives for an hour, and is renewed after 80 % of it.
      await Deno.writeTextFile(jump, `${50 * 60 * 1000}`);
      await waitFor("the token to be renewed", () => workspace.read("token") !== before);
      await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
      await krun.sees("stdout", /pass\npass\n/);
      krun.kill("SIGTERM");
      await krun.end;
      // krun says how many changes it reacts to: had the token been one, it would be counted here or have a line of its own.
      assert.deepEqual(krun.stderr.match(/mounted objects changed.*/g), ["mounted objects changed changes=1"]);
      assert.equal(krun.stdout, "pass\npass\n");
    });
  }
});
