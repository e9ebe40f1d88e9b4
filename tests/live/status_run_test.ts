/** What krun shows of itself, end to end with the real krun: log levels, and the pages of KRUN_STATUS. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { KrunStatus } from "../krun_status.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];
const IDLE = sh("exec 2>/dev/null; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");

/** Writes a Pod of one container, named `app`; the setting that hands it to krun. */
async function pod(
  workspace: Workspace,
  { container, spec = {} }: { container: object; spec?: object },
): Promise<{ KRUN_POD: string }> {
  const file = join(workspace.root, "pod.json");
  const metadata = { name: "web-0", namespace: "shop" };
  const containers = [{ name: "app", ...container }];
  await Deno.writeTextFile(
    file,
    JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec: { ...spec, containers } }),
  );
  return { KRUN_POD: file };
}

Deno.test("KRUN_LOG writes the lines of its level and of those above, and hides the others", async (t) => {
  await using workspace = await Workspace.create();
  const levels = ["error", "warn", "info", "debug"];
  const args = sh("exec sleep 1000");
  // A hook that fails is an error, an unknown setting a warning.
  const container = { lifecycle: { postStart: { exec: { command: ["/bin/false"] } } } };
  const env = { ...await pod(workspace, { container, spec: { restartPolicy: "Never" } }), KRUN_XYZZY: "1" };
  for (const [index, level] of levels.entries()) {
    for (const format of ["text", "json"]) {
      await t.step(`${level}, ${format}`, async () => {
        const own = { ...env, KRUN_LOG: level, KRUN_LOG_FORMAT: format };
        const { code, stderr } = await workspace.run({ args, env: own });
        assert.notEqual(code, 125, stderr);
        const lines = stderr.trim().split("\n");
        const seen = new Set(lines.map((line) => format === "json" ? JSON.parse(line).level : line.split(" ")[1]));
        assert.deepEqual([...seen].sort(), levels.slice(0, index + 1).sort(), stderr);
      });
    }
  }
  await t.step("the reason why krun itself refuses is told at every level", async () => {
    const { code, stderr } = await workspace.run({ args, env: { K8S_SECRET_nope: "./nope", KRUN_LOG: "error" } });
    assert.equal(code, 125);
    assert.match(stderr, /^krun: Cannot .*nope/);
  });
});

Deno.test("No message holds the value of a Secret that a program's name is made with", async () => {
  await using workspace = await Workspace.create();
  const env = [{ name: "PW", valueFrom: { secretKeyRef: { name: "db", key: "password" } } }];
  const setting = await pod(workspace, { container: { command: ["/opt/$(PW)/x"], env } });
  for (const args of [[], ["--check"]]) {
    for (const KRUN_REFRESH of ["always", "never"]) {
      const end = await workspace.run({ args, env: { ...setting, KRUN_REFRESH, KRUN_LOG: "debug" } });
      assert.match(end.stdout + end.stderr, /Cannot start program "\/opt\/\$\(PW\)\/x": no such file/);
      assert.doesNotMatch(end.stdout + end.stderr, /s3cr3t/);
    }
  }
});

Deno.test("Clients that take every descriptor stop neither the program nor, once they are gone, the status pages", async () => {
  await using workspace = await Workspace.create();
  const status = KrunStatus.onFreePort();
  const under = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash"];
  await using krun = workspace.start({ args: IDLE, env: { ...status.env, K8S_SECRET_db: "./db" }, under });
  await krun.sees("stdout", /up/);
  const clients: Deno.Conn[] = [];
  const [hostname = "", port] = status.env.KRUN_STATUS.split(":");
  try {
    // Until the server has none left: it refuses connections then.
    await waitFor("the server to fail", async () => {
      clients.push(await Deno.connect({ hostname, port: Number(port) }));
      return /served anew/.test(krun.stderr);
    });
    await krun.sees("stderr", /status pages are served anew/);
  } finally {
    for (const client of clients) client.close();
  }
  await waitFor("the pages", async () => await status.code("healthz") === 200);
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0);
});

Deno.test("krun is not ready while a volume cannot follow its object, with a program and without", async (t) => {
  for (const [name, args] of [["with a program", IDLE], ["without", []]] as const) {
    await t.step(name, async () => {
      await using workspace = await Workspace.create();
      const status = KrunStatus.onFreePort();
      const env = { ...status.env, K8S_SECRET_db: "./password?key=password", K8S_CM_app: "./conf" };
      await using krun = workspace.start({ args, env });
      const stale = async () => {
        const { mounts: { volumes } } = await status.state();
        return volumes.filter((volume) => volume.error !== undefined);
      };
      const volume = async (path: string) => {
        const { mounts: { volumes } } = await status.state();
        return volumes.find(({ paths }) => paths.includes(workspace.path(path)))!.volume;
      };
      await waitFor("krun to be ready", async () => await status.code("readyz") === 200);
      assert.deepEqual(await stale(), []);
      const samples = [`krun_volume_stale{volume="${await volume("password")}"}`];
      samples.push(`krun_volume_stale{volume="${await volume("conf")}"}`);
      const values = () => Promise.all(samples.map((sample) => status.metric(sample)));
      assert.deepEqual(await values(), [0, 0]);

      await workspace.put({ kind: "Secret", name: "db", stringData: { username: "alice" } });
      await waitFor("krun not to be ready", async () => await status.code("readyz") === 503);
      assert.match((await stale())[0]!.error!, /password/);
      assert.deepEqual(await values(), [1, 0]);
      assert.equal(await status.code("healthz"), 200, "it lives");
      assert.equal(workspace.read("password"), "s3cr3t", "the last version stays");

      await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
      await waitFor("krun to be ready again", async () => await status.code("readyz") === 200);
      assert.equal(workspace.read("password"), "n3w");
      assert.deepEqual([await stale(), await values()], [[], [0, 0]]);
      krun.kill("SIGTERM");
      assert.equal((await krun.end).code, 0, krun.stderr);
    });
  }
});

Deno.test("krun without a program serves every page of KRUN_STATUS, and no container", async () => {
  await using workspace = await Workspace.create();
  const status = KrunStatus.onFreePort();
  await using krun = workspace.start({ args: [], env: { ...status.env, K8S_SECRET_db: "./db", K8S_TOKEN_x: "./x" } });
  await waitFor("krun to be ready", async () => await status.code("readyz") === 200);
  assert.deepEqual([await status.code("healthz"), await status.code("other")], [200, 404]);
  const { mounts, containers } = await status.state();
  assert.deepEqual(containers, []);
  const objects = mounts.objects.filter(({ local }) => !local);
  assert.deepEqual(objects.map(({ kind, name, found }) => [kind, name, found]), [
    ["Secret", "db", true],
  ]);
  assert.equal(await status.metric('krun_objects{kind="Secret",found="true"}'), 1);
  const token = 'namespace="shop",service_account="default",audience="x",expiration_seconds="3600"';
  const left = await status.metric(`krun_token_seconds_left{${token}}`);
  assert.ok(left !== undefined && left > 3000 && left <= 3600, `${left} seconds left`);
  const changes = 'krun_object_changes_total{kind="Secret",name="db"}';
  const before = await status.metric(changes);
  await workspace.put({ kind: "Secret", name: "db", stringData: { username: "bob" } });
  await waitFor("the change to be counted", async () => await status.metric(changes) === before! + 1);
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
});

Deno.test("krun counts how often it started a container again, in /metrics and /status", async () => {
  await using workspace = await Workspace.create();
  const status = KrunStatus.onFreePort();
  const script = "test -e once && exec sleep 1000; until test -e go; do sleep 0.02; done; touch once; exit 3";
  const env = { ...status.env, ...await pod(workspace, { container: {}, spec: { restartPolicy: "OnFailure" } }) };
  await using _krun = workspace.start({ args: sh(script), env });
  const seen = async () => {
    const [app] = (await status.state()).containers;
    return [app!.restarts, app!.lastEnd, await status.metric('krun_container_restarts_total{container="app"}')];
  };
  await waitFor("krun to be ready", async () => await status.code("readyz") === 200);
  assert.deepEqual(await seen(), [0, undefined, 0]);
  await Deno.writeTextFile(workspace.path("go"), "");
  await waitFor("the restart", async () => (await seen())[0] !== 0);
  assert.deepEqual(await seen(), [1, { kind: "exited", code: 3 }, 1]);
});
