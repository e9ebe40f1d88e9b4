/** Something goes wrong in krun that nobody foresaw: its program and its files do not stay behind. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { krunArgv, KrunProcess } from "./krun_process.ts";
import { tree, Workspace } from "./workspace.ts";

/** The words that start tests/programs/unforeseen.ts as krun is started. */
function argv(): string[] {
  const words = krunArgv();
  const program = fileURLToPath(new URL("programs/unforeseen.ts", import.meta.url));
  return words.length === 1 ? words : [...words.slice(0, -1), program];
}

interface StartOptions {
  readonly script: string;
  readonly when: string;
  readonly env?: Readonly<Record<string, string>>;
}

function start(workspace: Workspace, { script, when, env = {} }: StartOptions): KrunProcess {
  const { HOME = "/", DENO_DIR } = Deno.env.toObject();
  return new KrunProcess({
    args: ["--", "/bin/sh", "-c", script],
    argv: argv(),
    cwd: workspace.folder,
    env: {
      ...workspace.env(),
      K8S_SECRET_db: "./db",
      KRUN_GRACE_PERIOD: "10",
      WHEN: when,
      HOME,
      ...(DENO_DIR && { DENO_DIR }),
      ...env,
    },
  });
}

/** Says its pid and that of a daemon which it leaves, and waits for SIGTERM. Both end by themselves, should krun fail to end them. */
const PROGRAM = [
  "trap 'echo told; exit 0' TERM",
  `setsid sh -c 'sh -c "$0" & exit' 'trap "" TERM; echo $$ > daemon; sleep 20' </dev/null`,
  "until test -s daemon; do sleep 0.02; done",
  "cat daemon; rm daemon; echo $$; mkdir up",
  "for i in $(seq 1000); do sleep 0.02; done",
].join("\n");

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

for (const [when, what] of [["running", "a rejection meets nobody"], ["thrown", "a callback throws"]] as const) {
  Deno.test(`krun stops its program, removes its files and says what happened when ${what}`, async () => {
    await using workspace = await Workspace.create();
    await using krun = start(workspace, { script: PROGRAM, when });
    const { code, stdout, stderr } = await krun.end;
    assert.equal(code, 125, stderr);
    assert.match(stderr, /^krun: Internal: RangeError: unforeseen/m);
    assert.equal(stderr.match(/unforeseen$/gm)?.length, 1, "said once");
    assert.doesNotMatch(stderr, /Uncaught/);
    const [daemon, program, told] = stdout.split("\n");
    assert.equal(told, "told", "the program was asked politely");
    assert.deepEqual([daemon, program].filter((pid) => isRunning(Number(pid))), []);
    assert.deepEqual(tree(workspace.folder), ["up/"]);
  });
}

Deno.test("krun says what happened when a rejection meets nobody during a start", async () => {
  await using workspace = await Workspace.create();
  // It answers nothing, so that the start goes on.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const server = `http://127.0.0.1:${listener.addr.port}`;
  const kubeconfig = {
    clusters: [{ name: "c", cluster: { server } }],
    users: [{ name: "u", user: { token: "t" } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  const KUBECONFIG = workspace.path("..", "kubeconfig");
  await Deno.writeTextFile(KUBECONFIG, JSON.stringify(kubeconfig));
  const env = { KUBECONFIG, KRUN_MANIFESTS: "" };
  await using krun = start(workspace, { script: "echo started", when: "running", env });
  using _connection = await listener.accept();
  await Deno.mkdir(workspace.path("up"));
  const { code, stdout, stderr } = await krun.end;
  assert.deepEqual([code, stdout], [125, ""], stderr);
  assert.match(stderr, /^krun: Internal: RangeError: unforeseen/m);
  assert.deepEqual(tree(workspace.folder), ["up/"]);
});

Deno.test("krun ends with its program's status when a rejection is told after everything is over", async () => {
  await using workspace = await Workspace.create();
  await using krun = start(workspace, { script: "cat db/password; exit 7", when: "over" });
  const { code, stdout, stderr } = await krun.end;
  assert.deepEqual([code, stdout], [7, "s3cr3t"], stderr);
  assert.doesNotMatch(stderr, /Uncaught|unforeseen/);
});

Deno.test("The control: without a rejection the same krun ends as its program does", async () => {
  await using workspace = await Workspace.create();
  await using krun = start(workspace, { script: "cat db/password; exit 7", when: "never" });
  const { code, stdout, stderr } = await krun.end;
  assert.deepEqual([code, stdout], [7, "s3cr3t"], stderr);
});
