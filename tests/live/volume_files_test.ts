/**
 * Volumes on disk where only root can set the scene: full and read-only file systems, other users, mount points, and
 * processes that are killed.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import type { KrunError } from "../../src/core/errors.ts";
import type { Payload } from "../../src/core/payload.ts";
import { type VolumeOwnership, volumeOwnership } from "../../src/core/volume_ownership.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { openBase } from "../../src/pod/base_folder.ts";
import { claimEmptyDir, claimTarget } from "../../src/pod/mount_target.ts";
import { TestBase } from "../test_base.ts";
import { tree } from "../workspace.ts";

loadLibc();

const PROGRAMS = new URL("../programs/", import.meta.url).pathname;
const PLAIN = { setting: "K8S_CM_app", volume: "app", secret: false, ownership: { readers: [] } };
const SECRET = { ...PLAIN, setting: "K8S_SECRET_db", volume: "db", secret: true };

function payload(files: Readonly<Record<string, string>>, mode = 0o644): Payload {
  return new Map(
    Object.entries(files).map(([path, text]) => [path, { bytes: new TextEncoder().encode(text), mode }]),
  );
}

function run(program: string, ...args: string[]): Deno.CommandOutput {
  return new Deno.Command(program, { args, stdin: "null" }).outputSync();
}

/** Mounts a tmpfs until it is disposed. */
function tmpfs(path: string, options: string): Disposable {
  const { success, stderr } = run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path);
  assert.ok(success, new TextDecoder().decode(stderr));
  return { [Symbol.dispose]: () => void run("umount", "--lazy", path) };
}

/** Content of a file as a user sees it; `undefined`: that user may not read it. */
function readAs(user: string, path: string): string | undefined {
  const [uid, gid, ...groups] = user.split(":");
  const { success, stdout } = run(
    "setpriv",
    ...[`--reuid=${uid}`, `--regid=${gid}`, groups.length === 0 ? "--clear-groups" : `--groups=${groups}`],
    ...["cat", path],
  );
  return success ? new TextDecoder().decode(stdout) : undefined;
}

for (const secret of [false, true]) {
  Deno.test(`a target on a full tmpfs of 64 KiB says NoSpace and keeps the old version, secret: ${secret}`, () => {
    using test = new TestBase();
    Deno.mkdirSync(test.at("db"));
    using _mount = tmpfs(test.at("db"), "size=64k,mode=755");
    test.run((base) => {
      const target = claimTarget(base, test.at("db"), { ...PLAIN, secret });
      assert.equal(target.inMemory, true);
      target.publish(payload({ a: "1", b: "1" }));
      const before = tree(test.at("db"));
      for (const large of [{ a: "x".repeat(100_000) }, { a: "2", b: "2", c: "x".repeat(65_536) }]) {
        assert.throws(() => target.publish(payload(large)), (error: KrunError) => {
          assert.equal(error.code, "NoSpace");
          assert.match(error.message, /no space is left/);
          assert.doesNotMatch(error.message, /xxx/);
          return true;
        });
        assert.deepEqual(tree(test.at("db")), before);
        assert.equal(Deno.readTextFileSync(test.at("db/a")), "1");
      }
      target.publish(payload({ a: "2" }));
      assert.equal(Deno.readTextFileSync(test.at("db/a")), "2");
    });
    assert.deepEqual(test.left(), ["db/"]);
  });
}

Deno.test("a target on a file system without inodes left says NoSpace", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("db"));
  using _mount = tmpfs(test.at("db"), "nr_inodes=5");
  test.run((base) => {
    const target = claimTarget(base, test.at("db"), PLAIN);
    assert.throws(() => target.publish(payload({ a: "1", b: "2", c: "3", "d/e": "4" })), { code: "NoSpace" });
    assert.deepEqual(tree(test.at("db")), []);
  });
});

Deno.test("a base on a full file system says NoSpace, makes nothing, and works when there is room again", () => {
  using test = new TestBase();
  using _mount = tmpfs(test.path, "size=64k");
  Deno.writeFileSync(test.at("filler"), new Uint8Array(4096 * 14));
  const base = test.open();
  base.record("fact", "x");
  Deno.writeTextFileSync(test.at("more"), "");
  for (const size of [1000, 1]) {
    assert.throws(() => {
      for (let at = 0; at < 1000; at++) base.record(`f${at}`, "x".repeat(size));
    }, { code: "NoSpace" });
  }
  const before = test.left();
  assert.throws(() => claimTarget(base, test.at("db"), PLAIN), { code: "NoSpace" });
  assert.deepEqual(test.left(), before);
  Deno.removeSync(test.at("filler"));
  claimTarget(base, test.at("db2"), PLAIN).publish(payload({ a: "1" }));
  base.close({ keep: true });
  const next = test.open();
  next.sweep();
  assert.equal(next.read("fact"), "x");
  next.close({ keep: false });
  assert.deepEqual(test.left(), ["more"]);
});

Deno.test("a target on a read-only mount, in a mount namespace, says TargetUnwritable and touches nothing", () => {
  using test = new TestBase();
  const program = `
    import { openBase } from ${JSON.stringify(new URL("../../src/pod/base_folder.ts", import.meta.url).href)};
    import { claimTarget } from ${JSON.stringify(new URL("../../src/pod/mount_target.ts", import.meta.url).href)};
    const log = { error() {}, warn() {}, info() {}, debug() {} };
    const options = ${JSON.stringify(SECRET)};
    const outcome = (action) => { try { action(); return "done"; } catch (error) { return error.code + ": " + error.message; } };
    const [root] = Deno.args;
    console.log(outcome(() => openBase({ base: root + "/ro", log, pid: 1 })));
    const base = openBase({ base: root, log, pid: 1 });
    for (const path of ["/ro", "/ro/absent"]) console.log(outcome(() => claimTarget(base, root + path, options)));
    base.close({ keep: false });`;
  Deno.writeTextFileSync(test.at("program.ts"), program);
  Deno.mkdirSync(test.at("ro"));
  const { stdout, stderr } = run(
    ...["unshare", "--mount", "sh", "-c"] as const,
    'mount -t tmpfs -o ro tmpfs "$1/ro" && exec "$2" run -A --quiet "$1/program.ts" "$1"',
    ...["sh", test.path, Deno.execPath()],
  );
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  assert.equal(lines.length, 3, new TextDecoder().decode(stderr));
  for (const line of lines) assert.match(line, /^TargetUnwritable: .*the file system is read-only$/);
  assert.deepEqual(test.left(), ["program.ts", "ro/"]);
});

Deno.test("an empty mount point is used in place and left empty and mounted", () => {
  using test = new TestBase();
  for (const name of ["db", "work"]) Deno.mkdirSync(test.at(name));
  using _db = tmpfs(test.at("db"), "mode=750");
  using _work = tmpfs(test.at("work"), "mode=750");
  test.run((base) => {
    claimTarget(base, test.at("db"), SECRET).publish(payload({ a: "1" }));
    assert.deepEqual(tree(test.memory), [], "the mount is memory itself");
    claimEmptyDir(base, test.at("work"), { ...PLAIN, memory: true });
    Deno.writeTextFileSync(test.at("work/file"), "of the program");
  });
  assert.deepEqual(test.left(), ["db/", "work/"]);
  for (const name of ["db", "work"]) {
    assert.equal(Deno.statSync(test.at(name)).mode! & 0o7777, 0o750);
    assert.ok(run("mountpoint", "-q", test.at(name)).success);
  }
});

Deno.test("what somebody mounted inside an emptyDir is never emptied", () => {
  using test = new TestBase();
  const precious = test.outside("precious");
  Deno.writeTextFileSync(join(precious, "file"), "x");
  const base = test.open();
  const { folder } = claimEmptyDir(base, test.at("work"), { ...PLAIN, memory: false });
  Deno.mkdirSync(join(folder, "a/mount"), { recursive: true });
  assert.ok(run("mount", "--bind", precious, join(folder, "a/mount")).success);
  try {
    base.close({ keep: false });
    assert.deepEqual(tree(precious), ["file"]);
    assert.deepEqual(test.log.events, ["warn cannot remove what krun made"]);
  } finally {
    run("umount", join(folder, "a/mount"));
  }
  // The next run knows of it still.
  test.run((next) => next.sweep());
  assert.deepEqual(test.left(), []);
  assert.deepEqual(tree(precious), ["file"]);
});

/** Who may read a secret file of mode 0644: `uid:gid` and further groups. */
const READERS: readonly {
  readonly name: string;
  readonly ownership: VolumeOwnership;
  readonly may: string[];
  readonly not: string[];
}[] = [
  { name: "root", ownership: { readers: [] }, may: ["0:0"], not: ["1000:1000", "1001:0"] },
  {
    name: "one user",
    ownership: { fsUser: 1000, readers: [1000] },
    may: ["0:0", "1000:1000"],
    not: ["1001:1001", "1001:1000"],
  },
  { name: "a group", ownership: { fsGroup: 2000, readers: [] }, may: ["0:0", "1000:1000:2000"], not: ["1000:1000"] },
  {
    name: "two users with a group",
    ownership: { fsGroup: 2000, readers: [1000, 1337] },
    may: ["1000:1000:2000", "1337:1337:2000"],
    not: ["1001:1001"],
  },
  // The compromise: they have nothing in common that could shut others out.
  { name: "two users", ownership: { readers: [1000, 1337] }, may: ["1000:1000", "1337:1337"], not: [] },
];

for (const { name, ownership, may, not } of READERS) {
  for (const place of ["in memory", "on disk", "as one file", "as one file on disk"]) {
    Deno.test(`a secret ${place} of ${name} can be read by its readers and nobody else`, () => {
      using test = new TestBase();
      if (place.endsWith("on disk")) Deno.removeSync(test.memory);
      test.run((base) => {
        const single = place.startsWith("as one file") ? { single: "a/key" } : {};
        const target = claimTarget(base, test.at("db"), { ...SECRET, ownership, ...single });
        target.publish(payload({ "a/key": "secret" }));
        assert.equal(target.inMemory, !place.endsWith("on disk"));
        const path = test.at(...single.single ? ["db"] : ["db", "a", "key"]);
        for (const user of may) assert.equal(readAs(user, path), "secret", user);
        for (const user of not) assert.equal(readAs(user, path), undefined, user);
        // Not by the way in the memory file system or the state folder either.
        for (const user of not) assert.equal(readAs(user, Deno.realPathSync(path)), undefined, user);
      });
      if (place.endsWith("on disk")) Deno.mkdirSync(test.memory);
      assert.deepEqual(test.left(), []);
    });
  }
}

Deno.test("a plain volume can be read by everybody, which shows that the tests of secrets can fail", () => {
  using test = new TestBase();
  test.run((base) => {
    claimTarget(base, test.at("app"), PLAIN).publish(payload({ key: "text" }));
    assert.equal(readAs("1001:1001", test.at("app/key")), "text");
  });
});

Deno.test("files that others may not read belong to the one user, and to the fsGroup (2.3)", () => {
  const pods = [
    { spec: { securityContext: { runAsUser: 1000 } }, owner: "1000:0", mode: 0o400 },
    { spec: { securityContext: { fsGroup: 2000 } }, owner: "0:2000", mode: 0o440 },
    { spec: { securityContext: { runAsUser: 1000, fsGroup: 2000 } }, owner: "1000:2000", mode: 0o440 },
  ];
  for (const { spec, owner, mode } of pods) {
    using test = new TestBase();
    test.run((base) => {
      const ownership = volumeOwnership({ spec: { ...spec, containers: [{ name: "app" }] } });
      const target = claimTarget(base, test.at("db"), { ...SECRET, ownership });
      assert.equal(target.publish(payload({ "x/key": "text" }, 0o400)), true);
      assert.equal(target.publish(payload({ "x/key": "text" }, 0o400)), false, "owners are compared as they are set");
      const found = Deno.statSync(test.at("db/x/key"));
      assert.deepEqual([`${found.uid}:${found.gid}`, found.mode! & 0o7777], [owner, mode]);
      if (ownership.fsGroup === undefined) return;
      for (const path of ["db", "db/x"]) {
        const folder = Deno.statSync(test.at(path));
        assert.deepEqual([folder.gid, folder.mode! & 0o7777], [2000, 0o2755], path);
      }
      for (const link of ["db/..data", "db/x"]) assert.equal(Deno.lstatSync(test.at(link)).gid, 2000, link);
    });
  }
});

Deno.test("a state folder of another user is refused: its journal says what to remove", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("victim"));
  Deno.writeTextFileSync(test.at("victim/file"), "x");
  Deno.mkdirSync(test.at(".krun"), { mode: 0o700 });
  Deno.writeTextFileSync(test.at(".krun/journal"), `{"made":"folder","path":"${test.at("victim")}"}\n`);
  Deno.chownSync(test.at(".krun"), 1000, 1000);
  const before = test.left();
  assert.throws(() => test.open(), { code: "TargetInUse", message: /belongs to user 1000/ });
  assert.deepEqual(test.left(), before);
});

Deno.test("memory folders of another user stay when their base is gone, and a root krun's own for another user goes", () => {
  for (const [path, uid, stays] of [["", 1000, false], [".owner", 1000, true]] as const) {
    using test = new TestBase();
    const killed = test.open();
    const top = join(killed.memoryStore("db", { ownership: { readers: [] } })!, "..");
    killed.close({ keep: true });
    const owner = JSON.parse(Deno.readTextFileSync(join(top, ".owner")));
    Deno.writeTextFileSync(join(top, ".owner"), JSON.stringify({ ...owner, process: undefined }));
    Deno.chownSync(join(top, path), uid, uid);
    Deno.removeSync(test.path, { recursive: true });
    using other = new TestBase();
    const base = openBase({ base: other.path, log: other.log, pid: Deno.pid, memoryFolder: test.memory });
    base.tendMemory();
    base.close({ keep: false });
    assert.equal(tree(test.memory).length > 0, stays, path);
    Deno.mkdirSync(test.path);
  }
});

Deno.test("a writer that is killed at any moment leaves whole versions, and the next start removes all of it", async () => {
  for (let round = 0; round < 25; round++) {
    using test = new TestBase();
    await using writer = startWriter(test);
    if (round % 5 !== 0) await writer.ready; // some rounds hit the claims
    let last = 0;
    for (const until = performance.now() + Math.random() * 60; performance.now() < until;) {
      last = Math.max(last, checkVersions(test));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await writer.kill();
    checkVersions(test);
    test.run((base) => {
      base.sweep();
      assert.deepEqual(test.left(), [".krun/", ".krun/journal", ".krun/lock"]);
    });
    assert.deepEqual(test.left(), []);
    assert.deepEqual(test.log.events, []);
  }
});

/** What a reader sees of each volume is one version, whatever the writer is doing; its number. */
function checkVersions(test: TestBase): number {
  return Math.max(...["x/app", "db"].map((name) => {
    let root: string;
    let seen: Set<string>;
    try {
      root = Deno.realPathSync(test.at(name, "..data"));
      seen = new Set(
        tree(root).filter((path) => !path.endsWith("/")).map((path) => Deno.readTextFileSync(join(root, path))),
      );
    } catch (error) {
      // Not there yet, or replaced while it was read: the kubelet's readers may see that too.
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
    if (seen.size === 0) return 0; // removed while it was listed
    assert.equal(seen.size, 1, `${name}: ${[...seen]}`);
    return Number([...seen][0]);
  }));
}

interface Writer extends AsyncDisposable {
  /** Everything was published once. */
  readonly ready: Promise<void>;
  kill(): Promise<void>;
}

function startWriter(test: TestBase): Writer {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", join(PROGRAMS, "volume_writer.ts"), test.path, test.memory],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const kill = async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    await reader.cancel();
  };
  const ready = reader.read().then(({ done }) => assert.ok(!done, "the writer has ended"));
  ready.catch(() => {}); // a round that kills it earlier does not wait for it
  return { ready, kill, [Symbol.asyncDispose]: kill };
}

Deno.test("a base is given free by kill -9, and is BaseLocked with the pid until then", async () => {
  using test = new TestBase();
  await using writer = startWriter(test);
  await writer.ready;
  const pid = Deno.readTextFileSync(test.at(".krun/lock")).trim();
  assert.throws(() => test.open(), { code: "BaseLocked", message: new RegExp(`process id ${pid} `) });
  await writer.kill();
  test.run((base) => base.sweep());
  assert.deepEqual(test.left(), []);
});

Deno.test("two processes are never in one base at once, also while it is being removed", async () => {
  using test = new TestBase();
  const contenders = Array.from({ length: 4 }, () =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", join(PROGRAMS, "base_contender.ts"), test.path, "1500"],
      stdin: "null",
    }).output());
  let entered = 0;
  for (const { success, stdout, stderr } of await Promise.all(contenders)) {
    assert.ok(success, new TextDecoder().decode(stderr));
    entered += Number(new TextDecoder().decode(stdout));
  }
  assert.ok(entered > 50, `they got in ${entered} times`);
  assert.deepEqual(test.left(), []);
});

/** A copy of a program where every user may start it. */
function reachable(test: TestBase, program: string): string {
  const path = join(test.outside("bin"), "deno");
  Deno.copyFileSync(program, path);
  Deno.chmodSync(path, 0o755);
  return path;
}

for (const runtime of ["this", "deno-2.6"]) {
  Deno.test(`a krun that has given up writing outside and ffi still publishes, runtime ${runtime}, as root and not`, async () => {
    using test = new TestBase();
    const outside = test.outside("outside");
    for (const path of [test.path, test.memory, outside]) Deno.chmodSync(path, 0o777);
    const deno = reachable(test, runtime === "this" ? Deno.execPath() : await liveTool(runtime));
    const bundle = join(test.outside("program"), "publisher.js");
    const bundled = run(Deno.execPath(), "bundle", "--quiet", "-o", bundle, join(PROGRAMS, "scoped_publisher.ts"));
    assert.ok(bundled.success, new TextDecoder().decode(bundled.stderr));
    for (const uid of [0, 1000]) {
      const args = ["run", "--no-prompt", "--quiet", "--no-config", "--allow-read", "--allow-ffi", "--allow-write=/,."];
      const { stdout, stderr } = new Deno.Command(deno, {
        args: [...args, bundle, test.memory, outside],
        cwd: test.path,
        env: { DENO_DIR: join(outside, `cache${uid}`) },
        uid,
        gid: uid,
        stdin: "null",
      }).outputSync();
      const text = new TextDecoder().decode(stdout);
      assert.ok(text.startsWith("{"), new TextDecoder().decode(stderr));
      assert.deepEqual(JSON.parse(text), {
        before: "done", // the negative control
        read: ["1", "2"],
        inMemory: true,
        inside: "done",
        outside: "NotCapable",
        dlopen: "NotCapable",
        symlink: "NotCapable",
      });
      Deno.removeSync(join(outside, "before"));
      Deno.removeSync(test.at("file"));
    }
    assert.deepEqual(test.left(), []);
  });
}
