/** Signals in the first moments of krun: before it runs a program, before it is even loaded. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { FORWARDED, SIGCONT, SIGINT, signalNumber, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1 } from "../src/core/signals.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { handlesSignal, readProcess, readProcesses } from "../src/pod/process_table.ts";
import { krunArgv, KrunProcess } from "./krun_process.ts";
import { waitFor } from "./wait.ts";
import { tree, Workspace } from "./workspace.ts";

const libc = loadLibc();
const SIGUSR2 = signalNumber("USR2")!;

/** What neither ends a start nor suspends it. */
const HARMLESS = FORWARDED.filter((signal) => ![SIGTERM, SIGINT, SIGQUIT, SIGTSTP].includes(signal));

const SHELL = ["--", "/bin/sh", "-c"];

/** A krun that is loaded only when `go` is called. */
class SlowKrun extends KrunProcess {
  readonly #file: string;

  constructor(
    workspace: Workspace,
    args: readonly string[],
    { env = {}, under = [] }: { env?: Record<string, string>; under?: readonly string[] } = {},
  ) {
    const file = join(workspace.root, "go");
    const map = join(workspace.root, "import_map.json");
    const here = (path: string) => new URL(path, import.meta.url).href;
    const imports = { [here("../src/launch/main_program.ts")]: here("programs/slow_main_program.ts") };
    Deno.writeTextFileSync(map, JSON.stringify({ imports }));
    const [deno = "", run = "", ...rest] = krunArgv();
    const { HOME = "/", DENO_DIR } = Deno.env.toObject();
    super({
      args,
      under,
      argv: [deno, run, `--import-map=${pathToFileURL(map)}`, "--no-lock", ...rest],
      cwd: workspace.folder,
      env: { ...workspace.env(), K8S_SECRET_db: "./db", HOME, ...(DENO_DIR && { DENO_DIR }), GO: file, ...env },
    });
    this.#file = file;
  }

  go(): void {
    Deno.writeTextFileSync(this.#file, "");
  }
}

Deno.test("A signal that comes before krun is loaded does not end it, and is not for the program that it starts later", async () => {
  await using workspace = await Workspace.create();
  await using krun = new SlowKrun(workspace, [...SHELL, "cat db/password; exit 7"]);
  await krun.sees("stderr", /loading/);
  for (const signal of HARMLESS) assert.equal(libc.kill(krun.pid, signal), 0);
  krun.go();
  const { code, signal, stdout, stderr } = await krun.end;
  assert.deepEqual([code, signal, stdout], [7, null, "s3cr3t"], stderr);
  assert.doesNotMatch(stderr, /Debugger|inspector/);
});

Deno.test("A signal that ends krun is obeyed also when it came before krun was loaded", async (t) => {
  for (const signal of [SIGTERM, SIGINT, SIGQUIT]) {
    await t.step(String(signal), async () => {
      await using workspace = await Workspace.create();
      await using krun = new SlowKrun(workspace, [...SHELL, "echo started"]);
      await krun.sees("stderr", /loading/);
      libc.kill(krun.pid, signal);
      krun.go();
      const { code, stdout, stderr } = await krun.end;
      assert.deepEqual([code, stdout], [128 + signal, ""], stderr);
      assert.deepEqual(tree(workspace.folder), []);
    });
  }
});

Deno.test("SIGTSTP stops a krun without a program, and nobody else of its process group", async () => {
  await using workspace = await Workspace.create();
  // A shell with job control gives krun and the inner shell a group of their own, which can be stopped.
  const under = ["bash", "-c", `set -m; { "$@"; echo status=$?; } & wait; wait`, "bash"];
  await using shell = new SlowKrun(workspace, [...SHELL, "cat db/password; exit 7"], { under });
  await shell.sees("stderr", /loading/);
  const byParent = (parent: number) => readProcesses(libc).find((entry) => entry.parent === parent);
  const inner = byParent(shell.pid);
  const krun = byParent(inner?.pid ?? 0);
  assert.ok(inner && krun && inner.group === krun.group);
  libc.kill(krun.pid, SIGTSTP);
  shell.go();
  await waitFor("the stop", () => readProcess(libc, krun.pid)?.state === "T");
  // It sleeps, or is about to on a busy machine.
  assert.match(readProcess(libc, inner.pid)?.state ?? "gone", /^[SR]$/);
  libc.kill(krun.pid, SIGCONT);
  await shell.sees("stdout", /s3cr3tstatus=7/);
});

Deno.test("krun --check obeys signals at once, those from before it was loaded included", async (t) => {
  for (const moment of ["before", "after"]) {
    await t.step(moment, async () => {
      await using workspace = await Workspace.create();
      // It never answers, so that the check cannot end.
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const KUBECONFIG = workspace.path("kubeconfig");
      await Deno.writeTextFile(KUBECONFIG, kubeconfig(listener.addr.port));
      await using krun = new SlowKrun(workspace, ["--check"], { env: { KUBECONFIG, KRUN_MANIFESTS: "" } });
      await krun.sees("stderr", /loading/);
      if (moment === "before") libc.kill(krun.pid, SIGINT);
      krun.go();
      if (moment === "after") {
        await waitFor("the check to give the signals back", () => !handlesSignal(libc, krun.pid, SIGINT));
        libc.kill(krun.pid, SIGUSR1);
        libc.kill(krun.pid, SIGINT);
      }
      const { signal, stderr } = await krun.end;
      assert.equal(signal, "SIGINT", stderr);
      assert.doesNotMatch(stderr, /Debugger|inspector/);
    });
  }
});

function kubeconfig(port: number): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: `https://127.0.0.1:${port}` } }],
    users: [{ name: "u", user: { token: "t" } }],
  });
}

Deno.test("A signal that is sent again and again from the first instant on ends krun at most before it does anything", async (t) => {
  for (const signal of [SIGUSR1, SIGUSR2]) {
    await t.step(String(signal), async () => {
      await using workspace = await Workspace.create();
      // It never answers: krun gets no further than its first request.
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const KUBECONFIG = workspace.path("kubeconfig");
      await Deno.writeTextFile(KUBECONFIG, kubeconfig(listener.addr.port));
      const before = tree(workspace.folder);
      const start = () =>
        new KrunProcess({
          args: [...SHELL, "echo started"],
          cwd: workspace.folder,
          env: { KUBECONFIG, MESH_BASE_DIR: workspace.folder, WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db" },
        });
      for (const patience of ["none", "until it is caught"]) {
        await using krun = start();
        if (patience !== "none") await waitFor("krun to catch it", () => handlesSignal(libc, krun.pid, SIGUSR2));
        let ended = false;
        const end = krun.end.finally(() => ended = true);
        for (let round = 0; round < 100 && !ended; round++) {
          libc.kill(krun.pid, signal);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        assert.ok(!ended || patience === "none", `ended after it was caught:\n${krun.stderr}`);
        if (!ended) krun.kill("SIGTERM");
        const { code, stdout, stderr } = await end;
        assert.ok(code === 143 || code === 128 + signal, `${code}: ${stderr}`);
        assert.equal(stdout, "");
        assert.doesNotMatch(stderr, /Debugger|inspector/);
        assert.deepEqual(tree(workspace.folder), before);
      }
    });
  }
});
