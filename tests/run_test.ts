/** What the user gets: a program that runs as a Pod, from a folder of manifests, without root, Go or network. */
import assert from "node:assert/strict";
import { isRunning } from "./running.ts";
import { waitFor } from "./wait.ts";
import { tree, Workspace } from "./workspace.ts";

const SHELL = "/bin/sh";
const sh = (script: string): string[] => ["--", SHELL, "-c", script];

Deno.test("krun gives the program files, environment and token of a Pod, and ends with its status", async () => {
  await using workspace = await Workspace.create();
  const { code, stdout, stderr } = await workspace.run({
    args: sh('cat db/username; echo; cat conf/app.conf; cat token | cut -d. -f2; echo "$MINE"; exit 7'),
    env: { K8S_SECRET_db: "./db", K8S_CM_app: "./conf", K8S_TOKEN_audit: "./token", MINE: "kept" },
  });
  assert.equal(code, 7, stderr);
  const [username, conf, claims, mine] = stdout.split("\n");
  assert.deepEqual([username, conf, mine], ["alice", "level=1", "kept"]);
  const payload = JSON.parse(atob(claims!.replaceAll("-", "+").replaceAll("_", "/")));
  assert.deepEqual(payload.aud, ["audit"]);
  assert.equal(payload.sub, "system:serviceaccount:shop:default");
});

Deno.test("krun leaves nothing behind on a normal end", async () => {
  await using workspace = await Workspace.create();
  const { code, stderr } = await workspace.run({
    args: sh("test -r deep/er/db/password && test -r one"),
    env: { K8S_SECRET_db: "./deep/er/db", K8S_CM_app: "./one?key=app.conf" },
  });
  assert.equal(code, 0, stderr);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun keeps files fresh while the program runs", async () => {
  await using workspace = await Workspace.create();
  await using krun = workspace.start({
    args: sh("trap 'exit 0' TERM; cat db/password; while :; do sleep 0.05; done"),
    env: { K8S_SECRET_db: "./db" },
  });
  await krun.sees("stdout", /s3cr3t/);
  await workspace.put({ kind: "Secret", name: "db", stringData: { username: "alice", password: "n3w" } });
  await waitFor("the new password", () => workspace.read("db", "password") === "n3w");
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
});

Deno.test("krun passes arguments byte for byte", async () => {
  await using workspace = await Workspace.create();
  const odd = ["$(HOME)", "$$", "$(X", "--check", "a b", "", "é\n", "'\""];
  const { code, stdout, stderr } = await workspace.run({
    args: [SHELL, "-c", 'for a in "$@"; do printf "<%s>" "$a"; done', "sh", ...odd],
    env: { K8S_CM_app: "./conf", HOME: "/nonexistent" },
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, odd.map((a) => `<${a}>`).join(""));
});

Deno.test("krun without a cluster and without anything that asks for one starts the program at once", async () => {
  await using workspace = await Workspace.create();
  const { code, stdout, stderr } = await workspace.run({
    args: sh("echo here"),
    env: { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: workspace.root },
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "here\n");
  assert.match(stderr, /cluster="none: no service account"/);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun starts a program that asks for no cluster although the one of the home folder is away", async () => {
  await using workspace = await Workspace.create();
  const home = `${workspace.root}/home`;
  await Deno.mkdir(`${home}/.kube`, { recursive: true });
  const config = {
    clusters: [{ name: "gone", cluster: { server: "https://127.0.0.1:1" } }],
    users: [{ name: "me", user: { token: "t" } }],
    contexts: [{ name: "gone", context: { cluster: "gone", user: "me", namespace: "shop" } }],
    "current-context": "gone",
  };
  await Deno.writeTextFile(`${home}/.kube/config`, JSON.stringify(config));
  const env = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: home };
  const { code, stdout, stderr } = await workspace.run({ args: sh("echo here"), env });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "here\n");
  assert.match(stderr, /warn .*without a service account/);
  const asked = await workspace.run({
    args: sh("echo never"),
    env: { ...env, WORKLOAD_NAMESPACE: "shop", KRUN_START_TIMEOUT: "0" },
  });
  assert.equal(asked.code, 125, "the control: a workload was named, so the cluster is needed");
});

Deno.test("krun and its program survive that nobody reads the log any more", async () => {
  await using workspace = await Workspace.create();
  const { code } = await workspace.run({
    args: ["/bin/true"],
    env: { K8S_SECRET_db: "./db" },
    under: ["/bin/sh", "-c", 'exec "$@" 2>/dev/full', "sh"],
  });
  assert.equal(code, 0);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun says a failure as JSON where lines are JSON", async () => {
  await using workspace = await Workspace.create();
  const { code, stderr } = await workspace.run({
    args: ["/bin/true"],
    env: { K8S_SECRET_nope: "./db", KRUN_LOG_FORMAT: "json" },
  });
  assert.equal(code, 125);
  const last = JSON.parse(stderr.trim().split("\n").at(-1)!);
  assert.equal(last.code, "ObjectNotFound");
  assert.match(JSON.stringify(last), /K8S_SECRET_nope/);
});

Deno.test("krun takes its own settings out of the program's environment and leaves the others", async () => {
  await using workspace = await Workspace.create();
  const { stdout } = await workspace.run({
    args: sh("env"),
    env: {
      K8S_SECRET_db: "./db",
      KRUN_LOG: "debug",
      SSH_AUTH: "",
      GOOGLE_APPLICATION_CREDENTIALS: "/nowhere",
      LABEL_app: "shop",
      PORT: "8080",
      PLAIN: "x",
      KRUN_PASS_ENV: "KRUN_LOG",
    },
  });
  const names = stdout.split("\n").map((line) => line.split("=")[0]);
  for (const name of ["WORKLOAD_NAMESPACE", "LABEL_app", "PORT", "PLAIN", "KRUN_LOG"]) {
    assert.ok(names.includes(name), name);
  }
  for (
    const name of ["K8S_SECRET_db", "KRUN_MANIFESTS", "KRUN_PASS_ENV", "SSH_AUTH", "GOOGLE_APPLICATION_CREDENTIALS"]
  ) {
    assert.ok(!names.includes(name), name);
  }
});

Deno.test("krun exits as a shell would: 127, 126, 128 + signal", async (t) => {
  await using workspace = await Workspace.create();
  await Deno.writeTextFile(workspace.path("plain"), "text");
  const cases: [string, string[], number, RegExp][] = [
    ["a program that does not exist", ["./missing"], 127, /^krun: .*missing/m],
    ["a file that is not executable", ["./plain"], 126, /^krun: .*plain/m],
    ["a folder", ["/"], 126, /^krun: .*directory|folder/m],
    ["a signal", sh("kill -9 $$"), 137, /./],
    ["its own status", sh("exit 255"), 255, /./],
  ];
  for (const [name, args, status, message] of cases) {
    await t.step(name, async () => {
      const { code, stderr } = await workspace.run({ args, env: { K8S_CM_app: "./conf" } });
      assert.equal(code, status, stderr);
      assert.match(stderr, message);
    });
  }
});

Deno.test("krun without a program keeps files fresh in the folder itself until it is told to stop", async () => {
  await using workspace = await Workspace.create();
  await using krun = workspace.start({ args: [], env: { K8S_SECRET_db: "./db" } });
  await waitFor("the first version", () => workspace.read("db", "username") === "alice");
  const outside = tree(workspace.path("db")).filter((line) => / -> \//.test(line));
  assert.deepEqual(outside, [], "another container sees only this folder");
  await workspace.put({ kind: "Secret", name: "db", stringData: { username: "bob" } });
  await waitFor("the next version", () => workspace.read("db", "username") === "bob");
  krun.kill("SIGTERM");
  const { code, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
});

// That a token is none is shown in settings_run_test.ts, where a token is renewed.
Deno.test("KRUN_ON_CHANGE restarts or signals the program when an object changes", async (t) => {
  for (
    const [reaction, script] of [
      ["restart", "echo pass $(cat db/password); sleep 1000"],
      [
        "signal:HUP",
        "trap 'echo pass $(cat db/password)' HUP; echo pass $(cat db/password); while :; do sleep 0.05; done",
      ],
    ] as const
  ) {
    await t.step(reaction, async () => {
      await using workspace = await Workspace.create();
      await using krun = workspace.start({
        args: sh(script),
        env: { K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", KRUN_ON_CHANGE: reaction },
      });
      await krun.sees("stdout", /pass s3cr3t/);
      await workspace.put({ kind: "Secret", name: "db", stringData: { password: "n3w" } });
      await krun.sees("stdout", /pass n3w/);
      krun.kill("SIGTERM");
      await krun.end;
    });
  }
});

Deno.test("KRUN_REFRESH=never replaces krun by the program: same pid, files stay", async () => {
  await using workspace = await Workspace.create();
  await using krun = workspace.start({
    args: sh("echo pid $$; cat db/password; exit 3"),
    env: { K8S_SECRET_db: "./db", KRUN_REFRESH: "never" },
  });
  const { code, stdout, stderr } = await krun.end;
  assert.equal(code, 3, stderr);
  assert.equal(stdout, `pid ${krun.pid}\ns3cr3t`);
  assert.equal(workspace.read("db", "password"), "s3cr3t");
  assert.equal((await workspace.run({ args: sh("true") })).code, 0, "the next start removes them");
});

Deno.test("KRUN_REFRESH=never: a SIGTERM at the moment when the program takes over is not lost", async () => {
  await using workspace = await Workspace.create();
  for (let round = 0; round < 10; round++) {
    await using krun = workspace.start({
      args: ["sleep", "1000"],
      env: { K8S_SECRET_db: "./db", KRUN_REFRESH: "never" },
    });
    await krun.sees("stderr", /program takes over/);
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 143);
  }
});

Deno.test("krun gives the program the limits of open files that krun was started with", async (t) => {
  await using workspace = await Workspace.create();
  // The shell stays, with the low limit, as krun's parent.
  const under = ["/bin/sh", "-c", 'ulimit -Sn 777; ulimit -Hn; "$@"; exit $?', "sh"];
  for (const KRUN_REFRESH of ["always", "never"]) {
    await t.step(`KRUN_REFRESH=${KRUN_REFRESH}`, async () => {
      const env = { K8S_SECRET_db: "./db", KRUN_REFRESH };
      const { code, stdout, stderr } = await workspace.run({ under, args: sh("ulimit -Sn; ulimit -Hn"), env });
      assert.equal(code, 0, stderr);
      const [hard, ...seen] = stdout.trim().split("\n");
      assert.deepEqual(seen, ["777", hard]);
    });
  }
});

Deno.test("krun refuses a second krun in the same base, naming the first", async () => {
  await using workspace = await Workspace.create();
  await using first = workspace.start({ args: sh("echo up; sleep 1000"), env: { K8S_SECRET_db: "./db" } });
  await first.sees("stdout", /up/);
  const { code, stderr } = await workspace.run({ args: sh("echo never"), env: { K8S_SECRET_db: "./other" } });
  assert.equal(code, 125);
  assert.match(stderr, new RegExp(`^krun: .*\\b${first.pid}\\b.*MESH_BASE_DIR`, "m"));
});

Deno.test("krun cleans up after a kill -9 at its next start, and stops the program that survived", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./old/db" };
  let survivor: number;
  {
    await using krun = workspace.start({ args: sh("echo pid $$; sleep 1000"), env });
    survivor = Number((await krun.sees("stdout", /pid (\d+)/))[1]);
    await krun.murder();
  }
  assert.ok(isRunning(survivor));
  const { code, stderr } = await workspace.run({ args: sh("test ! -e old"), env: { K8S_CM_app: "./conf" } });
  assert.equal(code, 0, stderr);
  assert.ok(!isRunning(survivor), "the program that survived was stopped");
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun reports every failing reference at once, names the settings, and touches nothing", async () => {
  await using workspace = await Workspace.create();
  const { code, stderr } = await workspace.run({
    args: sh("echo never"),
    env: { K8S_SECRET_nope: "./a", K8S_CM_gone: "./b", K8S_SECRET_db: "./c", K8S_SECRET_opt: "./d?optional=true" },
  });
  assert.equal(code, 125);
  for (const part of ["K8S_SECRET_nope", "K8S_CM_gone", "shop"]) {
    assert.ok(stderr.includes(part), `${part} in ${stderr}`);
  }
  assert.ok(!stderr.includes("K8S_SECRET_opt"), stderr);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun refuses a target that something else uses and leaves it as it was", async (t) => {
  await using workspace = await Workspace.create();
  await Deno.mkdir(workspace.path("full"));
  await Deno.writeTextFile(workspace.path("full", "mine"), "x");
  await Deno.writeTextFile(workspace.path("file"), "y");
  const before = tree(workspace.folder);
  for (const target of ["./full", "./file"]) {
    await t.step(target, async () => {
      const { code, stderr } = await workspace.run({ args: sh("echo never"), env: { K8S_SECRET_db: target } });
      assert.equal(code, 125);
      assert.match(stderr, /^krun: .*K8S_SECRET_db/m);
      assert.deepEqual(tree(workspace.folder), before);
    });
  }
});

Deno.test("krun prints no secret, whatever it logs", async () => {
  await using workspace = await Workspace.create();
  const { stderr, code } = await workspace.run({
    args: sh("cat token"),
    env: { K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", KRUN_LOG: "debug" },
  });
  assert.equal(code, 0, stderr);
  assert.ok(!stderr.includes("s3cr3t"));
  assert.ok(!/eyJ[\w-]+\.[\w-]+/.test(stderr));
});

Deno.test("krun ends although a client of KRUN_STATUS sends half a request, and another reads no answer", async () => {
  await using workspace = await Workspace.create();
  const args = sh("echo up; exec sleep 1000");
  for (
    const request of ["GET /healthz HTTP/1.1\r\nHost: x\r\n", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000)]
  ) {
    const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = free.addr;
    free.close();
    await using krun = workspace.start({ args, env: { K8S_SECRET_db: "./db", KRUN_STATUS: `127.0.0.1:${port}` } });
    await krun.sees("stdout", /up/);
    using client = await Deno.connect({ hostname: "127.0.0.1", port });
    // The second one may never be sent whole, since nobody reads the answers.
    const sent = client.write(new TextEncoder().encode(request)).catch(() => 0);
    const other = await fetch(`http://127.0.0.1:${port}/healthz`);
    assert.equal(await other.text(), "ok\n");
    krun.kill("SIGTERM");
    const { code, stderr } = await krun.end;
    assert.equal(code, 143, stderr);
    await sent;
    assert.deepEqual(tree(workspace.folder).filter((path) => path.startsWith("db")), []);
  }
});

Deno.test("krun leaves a process alone that was there before it, as one that a script started which krun then replaced", async () => {
  await using workspace = await Workspace.create();
  const script = 'setsid sleep 1000 >/dev/null 2>&1 & echo "stranger $!" >&2; exec "$@"';
  await using krun = workspace.start({ under: ["/bin/sh", "-c", script, "sh"], args: sh("echo up") });
  const [, pid] = await krun.sees("stderr", /stranger (\d+)/);
  using _stranger = { [Symbol.dispose]: () => Deno.kill(Number(pid), "SIGKILL") };
  const { code, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
  assert.ok(isRunning(Number(pid)), stderr);
});
