/** What an operator sees of a run: the status endpoint, the log; and the report of `--check` where nothing is wrong. */
import assert from "node:assert/strict";
import { waitFor } from "./wait.ts";
import { tree, Workspace } from "./workspace.ts";

Deno.test("krun --check=json says what would be mounted, with keys, claims and rules, and touches nothing", async () => {
  await using workspace = await Workspace.create();
  const server = `${workspace.root}/server`;
  await Deno.writeTextFile(server, "#!/bin/sh\n", { mode: 0o755 });
  const { code, stdout, stderr } = await workspace.run({
    args: ["--check=json", "--", server],
    env: {
      K8S_SECRET_db: "./db",
      K8S_CM_later: "./later?optional=true",
      K8S_TOKEN_audit: "./token?expirationSeconds=900",
    },
  });
  assert.equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  assert.equal(report.ok, true);
  const finding = (what: string) => report.findings.find((f: { what: string }) => f.what === what);
  assert.equal(finding("namespace").value, "shop");
  assert.equal(finding("namespace").because, "WORKLOAD_NAMESPACE");
  assert.equal(finding("base").because, "MESH_BASE_DIR");
  const db = report.objects.find((o: { name: string }) => o.name === "db");
  assert.deepEqual([db.paths, db.keys, db.askedBy, db.found], [
    [workspace.path("db")],
    ["password", "username"],
    "K8S_SECRET_db",
    true,
  ]);
  assert.equal(report.objects.find((o: { name: string }) => o.name === "later").found, false);
  const token = report.tokens.find((t: { audience: string }) => t.audience === "audit");
  assert.equal(token.claims.sub, "system:serviceaccount:shop:default");
  assert.ok(token.secondsLeft > 800 && token.secondsLeft <= 900);
  assert.ok(!stdout.includes("s3cr3t") && !/eyJ[\w-]+\./.test(stdout));
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun --check ends with 1 and the reasons when a start would fail", async () => {
  await using workspace = await Workspace.create();
  const { code, stdout } = await workspace.run({ args: ["--check"], env: { K8S_SECRET_nope: "./nope" } });
  assert.equal(code, 1);
  assert.match(stdout, /PROBLEMS\n.*Secret "shop\/nope".*K8S_SECRET_nope/);
  assert.match(stdout, /not ok: a start would fail\n$/);
});

Deno.test("KRUN_STATUS serves health, readiness, metrics and status, and no secret", async () => {
  await using workspace = await Workspace.create();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await using krun = workspace.start({
    args: ["--", "/bin/sh", "-c", "echo up; exec sleep 1000"],
    env: {
      ...{ K8S_SECRET_db: "./db", K8S_TOKEN_audit: "./token", KRUN_STATUS: `127.0.0.1:${port}` },
      K8S_TOKEN_short: "audit:./short?expirationSeconds=600",
    },
  });
  await krun.sees("stdout", /up/);
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  };
  assert.equal((await get("/healthz")).status, 200);
  assert.equal((await get("/readyz")).status, 200);
  assert.equal((await get("/nope")).status, 404);
  await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
  await waitFor(
    "the change to be counted",
    async () => (await get("/metrics")).text.includes('krun_object_changes_total{kind="Secret",name="db"} 1\n'),
  );
  const { text: metrics } = await get("/metrics");
  const lives = metrics.matchAll(/^krun_token_seconds_left\{.*audience="audit",expiration_seconds="(\d+)"\} \d+/gm);
  assert.deepEqual([...lives].map(([, seconds]) => seconds).sort(), ["3600", "600"], metrics);
  const status = JSON.parse((await get("/status")).text);
  const page = Deno.readTextFileSync(new URL("../docs/status.md", import.meta.url));
  const told = [...page.matchAll(/^\| `([\w.[\]]+)` \|/gm)].map(([, field]) => field!);
  const { volumes, objects, tokens } = status.mounts;
  const served = [
    ...[["", [status]], ["mounts.volumes[].", volumes], ["mounts.objects[].", objects], ["mounts.tokens[].", tokens]],
    ["containers[].", status.containers],
  ].flatMap(([head, values]) => values.flatMap((value: object) => Object.keys(value)).map((key: string) => head + key));
  assert.deepEqual(served.filter((field) => !told.includes(field)), [], "each field is on the page");
  assert.equal(status.containers[0].ready, true);
  assert.deepEqual(
    status.mounts.volumes.map((v: { paths: string[] }) => v.paths[0]).includes(workspace.path("db")),
    true,
  );
  for (const text of [metrics, JSON.stringify(status)]) assert.ok(!text.includes("n3w") && !text.includes("eyJ"));
});

Deno.test("KRUN_STATUS on an address that is taken is one clear error, and nothing runs", async () => {
  await using workspace = await Workspace.create();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { code, stdout, stderr } = await workspace.run({
    args: ["--", "/bin/echo", "never"],
    env: { K8S_SECRET_db: "./db", KRUN_STATUS: `127.0.0.1:${listener.addr.port}` },
  });
  listener.close();
  assert.equal(code, 125);
  assert.equal(stdout, "");
  assert.match(
    stderr,
    new RegExp(`^krun: Cannot listen on 127.0.0.1:${listener.addr.port} for KRUN_STATUS.*; choose`, "m"),
  );
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun logs to stderr only: one summary of what was mounted and how long it took, as text or JSON", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./db", KRUN_LOG_FORMAT: "json" };
  const { stdout, stderr } = await workspace.run({ args: ["--", "/bin/echo", "mine"], env });
  assert.equal(stdout, "mine\n");
  const lines = stderr.trim().split("\n").map((line) => JSON.parse(line));
  const summaries = lines.filter((line) => Object.values(line).includes("program started"));
  assert.equal(summaries.length, 1);
  const text = JSON.stringify(summaries[0]);
  for (const part of [`K8S_SECRET_db=${workspace.path("db")}`, "namespace", "mount "]) {
    assert.ok(text.includes(part), text);
  }
});
