/** When krun takes its base folder, what a start in it meets, and what goes when: the real krun. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadLibc } from "../src/pod/libc.ts";
import { type KrunOptions, KrunProcess, runKrun } from "./krun_process.ts";
import { isRunning } from "./running.ts";
import { waitFor } from "./wait.ts";
import { exists, tree, Workspace } from "./workspace.ts";

const libc = loadLibc();
const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

/** A krun without a cluster and without any setting but those given. */
function bare(workspace: Workspace, args: readonly string[], env: Readonly<Record<string, string>> = {}): KrunOptions {
  return { cwd: workspace.folder, args, env };
}

Deno.test("krun without a cluster runs programs in a folder that nobody may write in, two at once, and leaves nothing", async () => {
  await using workspace = await Workspace.create();
  await Deno.chmod(workspace.folder, 0o555);
  const args = sh("echo up; exec sleep 1000");
  await using first = new KrunProcess(bare(workspace, args));
  await using second = new KrunProcess(bare(workspace, args));
  for (const krun of [first, second]) await krun.sees("stdout", /up/);
  assert.deepEqual(tree(workspace.folder), []);
  for (const krun of [first, second]) krun.kill("SIGTERM");
  assert.deepEqual([(await first.end).code, (await second.end).code], [143, 143]);
  await Deno.chmod(workspace.folder, 0o755);
});

Deno.test("krun without a cluster takes the base that MESH_BASE_DIR names: the second exits 125, and nothing is left", async () => {
  await using workspace = await Workspace.create();
  const env = { MESH_BASE_DIR: join(workspace.root, "base") };
  {
    await using first = new KrunProcess(bare(workspace, sh("echo up; exec sleep 1000"), env));
    await first.sees("stdout", /up/);
    const { code, stderr } = await runKrun(bare(workspace, sh("echo never"), env));
    assert.equal(code, 125, stderr);
    assert.match(stderr, new RegExp(`^krun: .*process id ${first.pid}\\b.*MESH_BASE_DIR`, "m"));
    const check = await runKrun(bare(workspace, ["--check", ...sh("true")], env));
    assert.equal(check.code, 1, check.stdout);
    assert.match(check.stdout, new RegExp(`process id ${first.pid}\\b`));
  }
  assert.deepEqual([...Deno.readDirSync(workspace.root)].map(({ name }) => name).sort(), ["k8s", "work"]);
});

Deno.test("krun without a cluster stops what a kill -9 left in the base that MESH_BASE_DIR names", async () => {
  await using workspace = await Workspace.create();
  const env = { MESH_BASE_DIR: "." };
  const script = 'setsid -f sh -c "echo daemon \\$\\$; exec sleep 1000"; echo program $$; exec sleep 1000';
  let pids: number[];
  {
    await using krun = new KrunProcess(bare(workspace, sh(script), env));
    const daemon = await krun.sees("stdout", /daemon (\d+)/);
    const program = await krun.sees("stdout", /program (\d+)/);
    pids = [daemon, program].map(([, pid]) => Number(pid));
    await krun.murder();
  }
  using _killed = { [Symbol.dispose]: () => pids.filter(isRunning).forEach((pid) => libc.kill(pid, 9)) };
  assert.deepEqual(pids.map(isRunning), [true, true]);
  const { code, stdout, stderr } = await runKrun(bare(workspace, sh("echo anew"), env));
  assert.deepEqual([code, stdout], [0, "anew\n"], stderr);
  assert.deepEqual(pids.map(isRunning), [false, false], stderr);
  assert.deepEqual(tree(workspace.folder), []);
});

Deno.test("krun leaves the files of KRUN_REFRESH=never, and the next start in that base removes them, in memory too", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./db" };
  const once = await workspace.run({ args: sh("cat db/password"), env: { ...env, KRUN_REFRESH: "never" } });
  assert.deepEqual([once.code, once.stdout], [0, "s3cr3t"], once.stderr);
  assert.equal(workspace.read("db", "password"), "s3cr3t");
  const bytes = Deno.readLinkSync(workspace.path("db", "..data"));
  const inMemory = bytes.startsWith("/");
  assert.equal(exists(bytes), inMemory);
  await using running = workspace.start({
    args: sh("echo up; exec sleep 1000"),
    env: { K8S_SECRET_db: "./other", KRUN_REFRESH: "never" },
  });
  await running.sees("stdout", /up/);
  assert.deepEqual(
    [exists(workspace.path("db")), exists(bytes)],
    [false, false],
    "gone with the next start of its kind",
  );
  const next = await workspace.run({ args: sh("true"), env: { K8S_CM_app: "./conf" } });
  assert.equal(next.code, 0, next.stderr);
  assert.deepEqual(tree(workspace.folder), []);
  assert.ok(isRunning(running.pid), "it has no krun that could be asked: its files go, it stays");
});

/** What a folder in memory says of whose it is; nothing at first. */
function ownerOf(folder: string): string | undefined {
  try {
    return Deno.readTextFileSync(join(folder, ".owner"));
  } catch {
    return undefined;
  }
}

Deno.test("krun leaves nothing of a start with KRUN_REFRESH=never whose program cannot take over", async (t) => {
  await using workspace = await Workspace.create();
  await Deno.writeTextFile(workspace.path("text"), "no program", { mode: 0o644 });
  const before = tree(workspace.folder);
  // Other runs on this machine come and go there as well, and each soon says whose its folder is.
  const inMemory = () =>
    [...Deno.readDirSync("/dev/shm")].map(({ name }) => name)
      .filter((name) =>
        /^krun-[0-9a-f]{32}$/.test(name) && ownerOf(`/dev/shm/${name}`)?.includes(workspace.root) !== false
      );
  const cases = { none: [[], 125], missing: [["--", "./nope"], 127], "no program": [["--", "./text"], 126] } as const;
  const env = { K8S_SECRET_db: "./db", KRUN_REFRESH: "never" };
  for (const [name, [args, status]] of Object.entries(cases)) {
    await t.step(name, async () => {
      const others = inMemory();
      const { code, stderr } = await workspace.run({ args: [...args], env });
      assert.equal(code, status, stderr);
      assert.deepEqual(tree(workspace.folder), before);
      await waitFor("nothing in memory", () => inMemory().every((folder) => others.includes(folder)));
    });
  }
});

Deno.test("krun removes what a kill -9 left in a base that was moved meanwhile", async () => {
  await using workspace = await Workspace.create();
  const env = { K8S_SECRET_db: "./etc/db", K8S_CM_app: "./app.conf?key=app.conf" };
  {
    await using krun = workspace.start({ args: sh("echo pid $$; exec sleep 1000 > /dev/null"), env });
    const [, program] = await krun.sees("stdout", /pid (\d+)/);
    await krun.murder();
    libc.kill(Number(program), 9);
  }
  const moved = join(workspace.root, "moved");
  await Deno.rename(workspace.folder, moved);
  await Deno.mkdir(workspace.folder);
  const run = await workspace.run({ args: sh("cat etc/db/password"), env: { ...env, MESH_BASE_DIR: moved } });
  assert.equal(run.code, 1, "the program's own: it stands in the former folder");
  assert.deepEqual(tree(moved), []);
});

Deno.test("krun removes what lies in memory for a base that was deleted after a kill -9, when it next starts anywhere", async () => {
  await using deleted = await Workspace.create();
  await using other = await Workspace.create();
  const env = { K8S_SECRET_db: "./db" };
  let bytes: string;
  {
    await using krun = deleted.start({ args: sh("echo pid $$; exec sleep 1000 > /dev/null"), env });
    const [, program] = await krun.sees("stdout", /pid (\d+)/);
    bytes = Deno.readLinkSync(deleted.path("db", "..data"));
    const owner = join(bytes, "..", "..", ".owner");
    // krun says whose its folder is when the program runs; on a machine without memory file system there is none.
    if (bytes.startsWith("/")) await waitFor("the folder's owner", () => exists(owner));
    await krun.murder();
    libc.kill(Number(program), 9);
  }
  if (!bytes.startsWith("/")) return;
  assert.ok(exists(bytes));
  await Deno.remove(deleted.folder, { recursive: true });
  await using running = other.start({ args: sh("echo up; exec sleep 1000"), env });
  await running.sees("stdout", /up/);
  // By this krun, or by one of another run on this machine.
  await waitFor("the folder to be gone", () => !exists(bytes));
  assert.equal(other.read("db", "password"), "s3cr3t");
  assert.ok(exists(Deno.readLinkSync(other.path("db", "..data"))), "its own stays");
});

Deno.test("krun alone, with nothing to mount, says that there is nothing to do, as --check does", async () => {
  await using workspace = await Workspace.create();
  for (const args of [[], ["--check"]] as string[][]) {
    const { code, stdout, stderr } = await runKrun(bare(workspace, args));
    assert.equal(code, args.length === 0 ? 125 : 1, stderr);
    assert.match(stdout + stderr, /Cannot start: no program is named, and there is nothing to mount/);
  }
});

Deno.test("An absolute path in the base is used as it is, also through a link to the base", async () => {
  await using workspace = await Workspace.create();
  const link = join(workspace.root, "link");
  await Deno.symlink(workspace.folder, link);
  const physical = workspace.folder;
  for (const [base, path, PWD] of [[link, physical, "/"], [physical, link, link], [link, link, "/"]] as const) {
    const env = { MESH_BASE_DIR: base, PWD, K8S_SECRET_db: `${path}/db` };
    const { code, stdout, stderr } = await workspace.run({ args: sh(`cat "$0/db/password"`).concat(path), env });
    assert.deepEqual([code, stdout], [0, "s3cr3t"], stderr);
  }
  const elsewhere = { K8S_SECRET_db: `${workspace.root}/db`, PWD: workspace.root };
  const control = await workspace.run({ args: sh(`cat ".$0/db/password"`).concat(workspace.root), env: elsewhere });
  assert.deepEqual([control.code, control.stdout], [0, "s3cr3t"], "the control: another folder is below the base");
});
