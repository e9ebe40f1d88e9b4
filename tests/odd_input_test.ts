/** What krun is given in ways that a runtime makes hard: bytes that are no UTF-8, pipes, descriptors, files below /dev. */
import assert from "node:assert/strict";
import { HEX, hex, shell } from "./raw_bytes.ts";
import { waitFor } from "./wait.ts";
import { Workspace } from "./workspace.ts";

const POD =
  "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: app, command: [/bin/echo, from the pipe]}]}}\n";

Deno.test("krun ends with one line when what it prints cannot be written, and quietly when nobody reads it", async () => {
  await using workspace = await Workspace.create();
  for (const args of [["--help"], ["--version"], ["--check", "--", "/bin/true"], ["--check=json", "--", "/bin/true"]]) {
    const full = await workspace.run({ under: shell('exec "$@" > /dev/full'), args });
    assert.equal(full.code, 125, full.stderr);
    assert.match(full.stderr, /^krun: Cannot write to standard output: no space is left; [^\n]*\n$/);
    // The reader is gone before krun is started.
    const unread = await workspace.run({
      under: shell('mkfifo p; exec 7<>p; exec 8>p 7<&-; rm p; exec "$@" >&8'),
      args,
    });
    assert.deepEqual([unread.code, unread.stderr], [0, ""]);
    const closed = await workspace.run({ under: shell('exec "$@" >&-'), args });
    assert.deepEqual([closed.code, closed.stderr], [0, ""]);
  }
});

Deno.test("krun names a proxy variable that is no URL where a cluster is reached by it, and only there", async () => {
  await using workspace = await Workspace.create();
  const kubeconfig = (server: string) =>
    Deno.writeTextFile(
      workspace.path("kubeconfig"),
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server } }],
        users: [{ name: "u", user: { token: "t" } }],
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        "current-context": "c",
      }),
    );
  await kubeconfig("https://api.example:6443");
  const args = ["--", "/bin/echo", "up"];
  const env = { KRUN_MANIFESTS: "", KUBECONFIG: workspace.path("kubeconfig"), HTTPS_PROXY: "http://me:s3cr3t@[::bad" };
  const { code, stdout, stderr } = await workspace.run({ args, env });
  assert.deepEqual([code, stdout], [125, ""], stderr);
  assert.match(
    stderr,
    /^krun: Cannot read setting "HTTPS_PROXY": it is not an http, https or socks5 URL; write [^\n]*\n$/,
  );
  assert.doesNotMatch(stderr, /s3cr3t/);
  const without = await workspace.run({ args, env: { ...env, KRUN_MANIFESTS: workspace.manifests, KUBECONFIG: "" } });
  assert.deepEqual([without.code, without.stdout], [0, "up\n"], without.stderr);
});

Deno.test("krun hands on variables that are no UTF-8, byte for byte, in both modes", async () => {
  await using workspace = await Workspace.create();
  for (const KRUN_REFRESH of ["always", "never"]) {
    // The environment as the program finds it: a shell would drop a variable whose name it does not like.
    const environment = await workspace.run({
      under: shell(`exec env "$(printf 'Y\\376')=name" "XV=$(printf 'a\\377b')" "$@"`),
      args: ["--", "/bin/sh", "-c", `tr '\\0' '\\n' < /proc/$$/environ | LC_ALL=C grep -a '^[XY]' | ${HEX}`],
      env: { KRUN_REFRESH },
    });
    assert.equal(environment.code, 0, environment.stderr);
    for (const part of [hex("XV=a", 0xff, "b\n"), hex("Y", 0xfe, "=name\n")]) {
      assert.ok(environment.stdout.includes(part), environment.stdout);
    }
  }
});

Deno.test("krun refuses a setting of its own that is no UTF-8, and names it", async () => {
  await using workspace = await Workspace.create();
  for (
    const [variable, name] of [["KUBECONFIG=/tmp/\\377", "KUBECONFIG"], ["K8S_CM_a\\377=./a", "K8S_CM_a\\\\udcff"]]
  ) {
    const { code, stdout, stderr } = await workspace.run({
      under: shell(`exec env "$(printf '${variable}')" "$@"`),
      args: ["--", "/bin/echo", "never"],
    });
    assert.equal(code, 125, stderr);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      new RegExp(`^krun: Cannot read setting "${name}": its (name|value) is no UTF-8; write it in UTF-8`),
    );
  }
});

Deno.test("krun reads KRUN_POD from standard input and from a descriptor", async () => {
  await using workspace = await Workspace.create();
  await Deno.writeTextFile(workspace.path("pod.yaml"), POD);
  const runs: Record<string, string> = {
    "/dev/stdin": 'exec "$@" < pod.yaml',
    "/dev/fd/0": 'cat pod.yaml | (exec "$@")',
    "/dev/fd/7": 'cat pod.yaml | (exec "$@" 7<&0)',
    "/proc/self/fd/7": 'exec "$@" 7< pod.yaml',
  };
  for (const [KRUN_POD, script] of Object.entries(runs)) {
    const { code, stdout, stderr } = await workspace.run({ under: shell(script), args: [], env: { KRUN_POD } });
    assert.equal(code, 0, `${KRUN_POD}: ${stderr}`);
    assert.equal(stdout, "from the pipe\n");
  }
});

Deno.test("krun reads a kubeconfig from a descriptor, as bash's <(...) gives one, and its files below /dev", async () => {
  await using workspace = await Workspace.create();
  const shm = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "krun-test-" });
  const seen: (string | null)[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    seen.push(request.headers.get("authorization"));
    return Response.json({ kind: "Status", message: "not here" }, { status: 404 });
  });
  try {
    await Deno.writeTextFile(`${shm}/token`, "in-memory\n");
    const named = <T>(name: string, field: string, value: T) => ({ name, [field]: value });
    const kubeconfig = {
      "current-context": "c",
      "contexts": [named("c", "context", { cluster: "c", user: "u" })],
      "clusters": [named("c", "cluster", { server: `http://127.0.0.1:${server.addr.port}` })],
      "users": [named("u", "user", { tokenFile: `${shm}/token` })],
    };
    await Deno.writeTextFile(workspace.path("kubeconfig"), JSON.stringify(kubeconfig));
    const { stdout, stderr } = await workspace.run({
      under: shell('cat kubeconfig | (exec "$@" 9<&0)'),
      args: ["--check", "--", "/bin/true"],
      env: { KRUN_MANIFESTS: "", KUBECONFIG: "/dev/fd/9", K8S_CM_app: "./app" },
    });
    assert.match(stdout, /^ {2}cluster +.*\/dev\/fd\/9/m, stderr);
    assert.match(stdout, /404, not here/);
    assert.deepEqual([...new Set(seen)], ["Bearer in-memory"]);
  } finally {
    await Deno.remove(shm, { recursive: true });
  }
});

Deno.test("krun that waits for a pipe nobody writes into ends by SIGTERM", async () => {
  // With a name Deno itself reads it; without, krun by libc.
  for (const unnamed of ["", "rm pipe; "]) {
    await using workspace = await Workspace.create();
    const under = shell(`mkfifo pipe; exec 7<> pipe; ${unnamed}exec "$@"`);
    await using krun = workspace.start({ under, args: [], env: { KRUN_POD: "/dev/fd/7" } });
    // It reads when the pipe is open once more.
    await waitFor("the read", () => {
      const fds = [...Deno.readDirSync(`/proc/${krun.pid}/fd`)].map(({ name }) => `/proc/${krun.pid}/fd/${name}`);
      return fds.filter((fd) => isLinkTo(fd, workspace.path("pipe"))).length > 1;
    });
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 143, krun.stderr);
  }
});

function isLinkTo(link: string, path: string): boolean {
  try {
    return Deno.readLinkSync(link).startsWith(path);
  } catch {
    return false; // Closed meanwhile.
  }
}

Deno.test("krun --check refuses an address for KRUN_STATUS that is taken, as the start does", async () => {
  await using workspace = await Workspace.create();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const taken = `127.0.0.1:${listener.addr.port}`;
  const args = ["--check=json", "--", "/bin/true"];
  const checked = await workspace.run({ args, env: { KRUN_STATUS: taken } });
  assert.equal(checked.code, 1, checked.stderr);
  const { problems } = JSON.parse(checked.stdout);
  assert.equal(problems.length, 1);
  const [problem] = problems;
  assert.ok(problem.startsWith(`Cannot listen on ${taken} for KRUN_STATUS: another program has that address`), problem);
  const free = await workspace.run({ args, env: { KRUN_STATUS: "127.0.0.1:0" } });
  assert.equal(free.code, 0, free.stdout);
});
