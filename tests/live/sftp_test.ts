/** SFTP with OpenSSH's own sftp(1) and scp(1), on the files of another user; as root. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import "../load_libc.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { runProgram, SftpRig, testSftp } from "./sftp_rig.ts";

const libc = loadLibc();
const BOB = { uid: 54321, gid: 54321, groups: [54321, 2345] };

/** A server of bob's files, a folder of his, and a folder of the client's. */
class Scene implements AsyncDisposable {
  private constructor(readonly rig: SftpRig, readonly root: string) {}

  static async start(): Promise<Scene> {
    const root = await Deno.makeTempDir({ prefix: "krun-sftp-test-" });
    await Deno.chmod(root, 0o755);
    for (const name of ["bob", "client", "roots"]) await Deno.mkdir(join(root, name));
    await Deno.chown(join(root, "bob"), BOB.uid, BOB.gid);
    await Deno.chmod(join(root, "roots"), 0o700);
    const rig = await SftpRig.start({ user: BOB, cwd: join(root, "bob"), userName: "bob" });
    return new Scene(rig, root);
  }

  bob(...parts: string[]): string {
    return join(this.root, "bob", ...parts);
  }

  client(...parts: string[]): string {
    return join(this.root, "client", ...parts);
  }

  /** Files that the server has open below this test's folder. */
  openFiles(): string[] {
    return libc.procNames("/proc/self/fd").map((fd) => libc.procLink(`/proc/self/fd/${fd}`) ?? "")
      .filter((path) => path.startsWith(this.root));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
    await Deno.remove(this.root, { recursive: true });
  }
}

/** Checksums of all files below a folder, by their names. */
async function checksums(folder: string): Promise<Map<string, string>> {
  const sums = new Map<string, string>();
  for (const name of tree(folder).filter((entry) => !entry.endsWith("/"))) {
    const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(join(folder, name)));
    sums.set(name, new Uint8Array(digest).toHex());
  }
  return sums;
}

async function checksum(path: string): Promise<string> {
  return (await runProgram(["sha256sum", path])).stdout.split(" ")[0]!;
}

testSftp("sftp(1) does every operation as the session's user", async () => {
  await using scene = await Scene.start();
  const { rig } = scene;
  await Deno.writeTextFile(scene.client("local"), "hello\n");
  await Deno.utime(scene.client("local"), 1_600_000_000, 1_600_000_000);
  await Deno.chmod(scene.client("local"), 0o640);
  for (const [path, start] of [[scene.bob("d", "part"), "hel"], [scene.client("rest"), "h"]] as const) {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, start);
  }
  for (const path of [scene.bob("d"), scene.bob("d", "part")]) await Deno.chown(path, BOB.uid, BOB.gid);
  const odd = scene.client("odd");
  const { code, stdout, stderr } = await rig.sftp([
    `lcd ${scene.client()}`,
    ...[
      "pwd",
      "mkdir e",
      "rmdir e",
      "cd d",
      "put -p local a",
      "put -f local synced",
      "get -p a back",
      "reput local part",
      "reget part rest",
    ],
    ...["rename a b", "ln b h", "ln -s b l", "chmod 0604 b", "cp b copy", "mkdir gone", "rmdir gone", "put local gone"],
    ...["rm gone", "ls -l", "df -h", "cd ..", "pwd", "put local 'sp ace'", `get 'sp ace' ${odd}`, "ls -1 d"],
  ]);
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stderr, "");
  assert.deepEqual(tree(scene.bob()), ["d/", "d/b", "d/copy", "d/h", "d/l -> b", "d/part", "d/synced", "sp ace"]);
  const state = await Deno.lstat(scene.bob("d", "b"));
  assert.deepEqual([state.uid, state.gid, state.mode! & 0o7777, state.nlink, state.mtime?.getTime()], [
    ...[BOB.uid, BOB.gid, 0o604, 2, 1_600_000_000_000],
  ]);
  for (const path of [scene.bob("d", "copy"), scene.bob("d", "part"), scene.client("rest")]) {
    assert.equal(await Deno.readTextFile(path), "hello\n");
  }
  assert.equal((await Deno.lstat(scene.bob("d"))).uid, BOB.uid);
  assert.equal((await Deno.lstat(scene.client("back"))).mtime?.getTime(), 1_600_000_000_000);
  assert.match(stdout, new RegExp(`Remote working directory: ${scene.bob()}\n`));
  assert.match(stdout, /-rw----r-- .* 54321 +54321 +6 .* b\n/);
  // expand-path@openssh.com
  const home = await rig.scp(scene.client("local"), ":~/d/../home");
  assert.equal(home.code, 0, home.stderr);
  assert.equal(await Deno.readTextFile(scene.bob("home")), "hello\n");
  await waitFor("both ends", () => rig.ends.length === 2);
  assert.deepEqual(rig.ends, [{ kind: "ended" }, { kind: "ended" }]);
  assert.deepEqual(scene.openFiles(), []);
});

testSftp("sftp(1) replaces by rename, changes links themselves, and carries names that are no UTF-8", async () => {
  await using scene = await Scene.start();
  await Deno.writeTextFile(scene.client("local"), "new");
  await Deno.writeTextFile(scene.bob("old"), "old");
  await Deno.chown(scene.bob("old"), BOB.uid, BOB.gid);
  const { code, stderr } = await scene.rig.sftp([
    `put ${scene.client("local")} x`,
    "rename x old",
    "ln -s old link",
    "chmod -h 600 old",
  ]);
  assert.equal(code, 0, stderr);
  assert.equal(await Deno.readTextFile(scene.bob("old")), "new");
  // -L: without posix-rename nothing is replaced.
  const replaced = await scene.rig.sftp([`put ${scene.client("local")} y`, "rename -l y old"]);
  assert.equal(replaced.code, 1);
  assert.deepEqual(tree(scene.bob()), ["link -> old", "old", "y"]);
  // printf(1) makes what no argument of Deno's can hold.
  const make = 'cd "$0" && mkdir odd && printf x > "odd/$(printf "a\\377b")"';
  assert.equal((await runProgram(["sh", "-c", make, scene.client()])).code, 0);
  const up = await scene.rig.scp("-r", scene.client("odd"), `:${scene.bob("odd")}`);
  const down = await scene.rig.scp("-r", `:${scene.bob("odd")}`, scene.client("again"));
  assert.deepEqual([up.code, down.code], [0, 0], up.stderr + down.stderr);
  for (const folder of [scene.bob("odd"), scene.client("again")]) {
    const { stdout } = await runProgram(["sh", "-c", 'cd "$0" && ls -b', folder]);
    assert.equal(stdout, "a\\377b\n");
  }
});

testSftp("a session has the rights of its user, and no others", async (t) => {
  await using scene = await Scene.start();
  const { rig } = scene;
  const roots = join(scene.root, "roots");
  await Deno.writeTextFile(join(roots, "in"), "secret");
  await Deno.writeTextFile(join(scene.root, "root-only"), "secret");
  await Deno.chmod(join(scene.root, "root-only"), 0o600);
  await Deno.writeTextFile(join(scene.root, "of-group"), "for the group");
  await Deno.chown(join(scene.root, "of-group"), 0, 2345);
  await Deno.chmod(join(scene.root, "of-group"), 0o640);
  await Deno.symlink("/proc/self/environ", scene.bob("environ"));
  await Deno.symlink(join(scene.root, "root-only"), scene.bob("by-link"));
  await Deno.writeTextFile(scene.client("local"), "x");
  const got = scene.client("got");
  const refused = [
    ...[`get ${scene.root}/root-only ${got}`, `get ${roots}/in ${got}`, `get by-link ${got}`, `ls ${roots}`],
    ...["/proc/self/environ", `/proc/${Deno.pid}/environ`, "/proc/self/mem", "environ"].map((path) =>
      `get ${path} ${got}`
    ),
    ...["/dev/stdin", "/dev/fd/0", "/dev/tty", "/proc/self/root/etc/hostname"].map((path) => `get ${path} ${got}`),
    ...[`put ${scene.client("local")} ${scene.root}/made`, `put ${scene.client("local")} ${scene.root}/of-group`],
    ...[`mkdir ${scene.root}/made`, `rm ${scene.root}/root-only`, `rename ${scene.root}/root-only x`, `rmdir ${roots}`],
    ...[`chmod 777 ${scene.root}/of-group`, `ln ${scene.root}/root-only hard`, `ln -s x ${scene.root}/made`],
    ...["ls /proc", "ls /proc/self/fd"],
  ];
  await Deno.writeTextFile(scene.bob("mine"), "x");
  await Deno.chown(scene.bob("mine"), BOB.uid, BOB.gid);
  const before = tree(scene.root);
  for (const line of [...refused, "chown 0 mine", "chgrp 0 mine"]) {
    await t.step(line.replaceAll(scene.root, ""), async () => {
      const { code, stdout, stderr } = await rig.sftp([line]);
      assert.equal(code, 1, stdout + stderr);
    });
  }
  assert.deepEqual(tree(scene.root), before);
  await t.step("the controls: what the user and one of its groups may", async () => {
    const { code, stderr } = await rig.sftp([
      `get ${scene.root}/of-group ${got}`,
      "chgrp 2345 mine",
      "get /etc/hostname " + scene.client("h"),
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(await Deno.readTextFile(got), "for the group");
    assert.equal((await Deno.lstat(scene.bob("mine"))).gid, 2345);
  });
  assert.deepEqual(libc.userIds(), [0, 0, 0]);
});

testSftp("a named pipe holds up neither the session nor krun", async () => {
  await using scene = await Scene.start();
  assert.equal((await runProgram(["mkfifo", "-m", "666", scene.bob("pipe")])).code, 0);
  const { code, stdout, stderr } = await scene.rig.sftp([
    ...[`-get pipe ${scene.client("x")}`, `-put /etc/hostname pipe`, "pwd"],
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Remote working directory/);
});

testSftp("scp(1) carries 10,000 small files there and back", async () => {
  await using scene = await Scene.start();
  for (let folder = 0; folder < 100; folder++) {
    await Deno.mkdir(scene.client("many", `${folder}`), { recursive: true });
    for (let file = 0; file < 100; file++) {
      await Deno.writeTextFile(scene.client("many", `${folder}`, `${file}`), `${folder} ${file}\n`.repeat(file));
    }
  }
  const up = await scene.rig.scp("-r", scene.client("many"), `:${scene.bob("many")}`);
  assert.equal(up.code, 0, up.stderr);
  const down = await scene.rig.scp("-r", `:${scene.bob("many")}`, scene.client("again"));
  assert.equal(down.code, 0, down.stderr);
  const sums = await checksums(scene.client("many"));
  assert.equal(sums.size, 10_000);
  assert.deepEqual(await checksums(scene.bob("many")), sums);
  assert.deepEqual(await checksums(scene.client("again")), sums);
  assert.deepEqual(scene.openFiles(), []);
});

/** Bytes of the large file; `SFTP_TEST_MB` for a quick run. */
const LARGE_MB = Number(Deno.env.get("SFTP_TEST_MB") ?? 2048);

testSftp("scp(1) carries a file of 2 GiB there and back, and krun's memory stays", async () => {
  await using scene = await Scene.start();
  // Every mebibyte begins with its number; the rest is a hole, which reads as any other bytes.
  using file = await Deno.open(scene.client("large"), { write: true, create: true });
  for (let at = 0; at < LARGE_MB; at++) {
    await file.seek(at * 2 ** 20, Deno.SeekMode.Start);
    await file.write(new TextEncoder().encode(`mebibyte ${at}\n`));
  }
  await file.truncate(LARGE_MB * 2 ** 20);
  const sum = await checksum(scene.client("large"));
  let highest = 0;
  const look = setInterval(() => highest = Math.max(highest, Deno.memoryUsage().rss), 50);
  const before = Deno.memoryUsage().rss;
  try {
    const up = await scene.rig.scp(scene.client("large"), `:${scene.bob("large")}`);
    assert.equal(up.code, 0, up.stderr);
    assert.equal(await checksum(scene.bob("large")), sum);
    await Deno.remove(scene.client("large"));
    const down = await scene.rig.scp(`:${scene.bob("large")}`, scene.client("large"));
    assert.equal(down.code, 0, down.stderr);
    assert.equal(await checksum(scene.client("large")), sum);
  } finally {
    clearInterval(look);
  }
  assert.ok(highest - before < 150e6, `${before} bytes before, ${highest} at most`);
});

testSftp("a client that is killed in the middle leaves nothing open", async () => {
  await using scene = await Scene.start();
  await Deno.truncate(scene.bob("big")).catch(() => Deno.writeFile(scene.bob("big"), new Uint8Array(0)));
  await Deno.truncate(scene.bob("big"), 50 * 2 ** 30);
  await Deno.chmod(scene.bob("big"), 0o644);
  const pipes = [
    ["scp", ...scene.rig.options("-P"), `krun@127.0.0.1:${scene.bob("big")}`, "/dev/null"],
    ["scp", ...scene.rig.options("-P"), scene.bob("big"), `krun@127.0.0.1:${scene.bob("copy")}`],
  ];
  for (const [index, [program, ...args]] of pipes.entries()) {
    const child = new Deno.Command(program!, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    await waitFor(
      "bytes under way",
      () => scene.rig.events.some(({ event }) => event === "sftp file opened") && scene.openFiles().length > 0,
    );
    child.kill("SIGKILL");
    await child.status;
    await waitFor("nothing open", () => scene.openFiles().length === 0);
    await waitFor("the end", () => scene.rig.ends.length === index + 1);
    scene.rig.events.length = 0;
  }
});
