/**
 * scp's legacy protocol with OpenSSH's own `scp -O`, on the files of another user, where the program's PATH has no scp; and what clients
 * send that mean no good. As root.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { bytesOfText } from "../../src/core/byte_text.ts";
import { waitFor } from "../wait.ts";
import { exists, tree } from "../workspace.ts";
import { audited, runClient, SshRig, type SshRigOptions } from "./ssh_rig.ts";

/** nobody: OpenSSH's own scp wants a user that /etc/passwd knows. */
const BOB = 65534;

/** One that it does not know. */
const UNKNOWN = 1234567;

/** A server whose program is bob's and has no scp, and a folder of each side. */
class Scene implements AsyncDisposable {
  private constructor(readonly rig: SshRig, readonly root: string) {}

  static async start(
    { PATH, user = BOB, ...options }: SshRigOptions & { readonly PATH?: string; readonly user?: number } = {},
  ): Promise<Scene> {
    const root = await Deno.makeTempDir({ prefix: "krun-scp-" });
    await Deno.chmod(root, 0o755);
    for (const name of ["bob", "client", "bin"]) await Deno.mkdir(join(root, name));
    await Deno.chown(join(root, "bob"), user, user);
    await Deno.symlink("/bin/sleep", join(root, "bin", "sleep"));
    const env = { KRUN_RUN_AS: `${user}:${user}`, KRUN_LOG: "debug", PATH: PATH ?? join(root, "bin") };
    const rig = await SshRig.start({ ...options, env, cwd: join(root, "bob") });
    return new Scene(rig, root);
  }

  bob(...parts: string[]): string {
    return join(this.root, "bob", ...parts);
  }

  client(...parts: string[]): string {
    return join(this.root, "client", ...parts);
  }

  /** Runs scp(1), which has to succeed, by the legacy protocol. */
  async scp(...args: string[]): Promise<void> {
    const { code, stderr } = await this.rig.scp(["-O", ...args]);
    assert.deepEqual([code, stderr], [0, ""]);
  }

  /** Runs it, and gives what it says when it fails. */
  async refused(...args: string[]): Promise<string> {
    const { code, stderr } = await this.rig.scp(["-O", ...args]);
    assert.equal(code, 1, stderr);
    return stderr;
  }

  /** Files that krun has open below this test's folder. */
  openFiles(): string[] {
    const folder = `/proc/${this.rig.krun.pid}/fd`;
    return [...Deno.readDirSync(folder)].flatMap(({ name }) => {
      try {
        return [Deno.readLinkSync(join(folder, name))];
      } catch {
        // Closed meanwhile.
        return [];
      }
    }).filter((path) => path.startsWith(this.root) && !path.includes("/base"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
    await Deno.remove(this.root, { recursive: true });
  }
}

async function checksum(path: string): Promise<string> {
  const { code, stdout, stderr } = await runClient(["sha256sum", path]);
  assert.equal(code, 0, stderr);
  return stdout.split(" ")[0]!;
}

/** Names and contents of all files below a folder, as one checksum. */
async function checksums(folder: string): Promise<string> {
  const program = 'cd "$0" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum';
  return (await runClient(["sh", "-c", program, folder])).stdout;
}

Deno.test("scp -O works where the image has no scp", async (t) => {
  await using scene = await Scene.start();
  const { rig } = scene;

  await t.step(
    "a file goes both ways, as the program's user, with its mode and times where they are kept",
    async () => {
      await Deno.writeFile(scene.client("a b"), crypto.getRandomValues(new Uint8Array(60_000)), { mode: 0o640 });
      await Deno.utime(scene.client("a b"), 1_600_000_000, 1_600_000_000);
      await scene.scp("-p", scene.client("a b"), "$HOST:");
      const stat = await Deno.stat(scene.bob("a b"));
      assert.deepEqual([stat.uid, stat.mode! & 0o7777, stat.mtime?.getTime()], [BOB, 0o640, 1_600_000_000_000]);
      await scene.scp("-p", "$HOST:a\\ b", scene.client("back"));
      assert.equal(await checksum(scene.client("back")), await checksum(scene.client("a b")));
      const back = await Deno.stat(scene.client("back"));
      assert.deepEqual([back.mode! & 0o7777, back.mtime?.getTime()], [0o640, 1_600_000_000_000]);
      await audited(rig, /info scp file closed .*user=ann .*path="\.\/a b" .*writtenBytes=60000/);
      await audited(rig, /info ssh session over .*ran=scp status=0/);
    },
  );

  await t.step("2,000 small files go both ways", async () => {
    for (let folder = 0; folder < 20; folder++) {
      await Deno.mkdir(scene.client("many", `${folder}`), { recursive: true });
      for (let file = 0; file < 100; file++) {
        await Deno.writeTextFile(scene.client("many", `${folder}`, `${file}`), `${folder} ${file}\n`.repeat(file));
      }
    }
    await scene.scp("-r", scene.client("many"), "$HOST:");
    await scene.scp("-r", "$HOST:many", scene.client("again"));
    const sums = await checksums(scene.client("many"));
    assert.equal(tree(scene.client("many")).filter((name) => !name.endsWith("/")).length, 2000);
    assert.equal(await checksums(scene.bob("many")), sums);
    assert.equal(await checksums(scene.client("again")), sums);
  });

  await t.step("patterns are expanded, and the client agrees with what they mean", async () => {
    await Deno.mkdir(scene.client("some"));
    await scene.scp("$HOST:many/1?/[5-7]", scene.client("some"));
    assert.deepEqual(tree(scene.client("some")), ["5", "6", "7"]);
    const home = await scene.refused("$HOST:~root/none*", scene.client("some"));
    assert.match(home, /^scp: \/root\/none\*: Permission denied$/m);
  });

  await t.step("names that are no UTF-8 stay what they are", async () => {
    // printf(1) makes what no argument of Deno's can hold.
    const make = 'cd "$0" && mkdir odd && printf x > "odd/$(printf "a\\377b")"';
    assert.equal((await runClient(["sh", "-c", make, scene.client()])).code, 0);
    await scene.scp("-r", scene.client("odd"), "$HOST:odd");
    await scene.scp("-r", "$HOST:odd", scene.client("odd-again"));
    for (const folder of [scene.bob("odd"), scene.client("odd-again")]) {
      assert.equal((await runClient(["sh", "-c", 'cd "$0" && ls -b', folder])).stdout, "a\\377b\n");
    }
    const named = 'shift; exec "$0" "$@" "ann@127.0.0.1:odd/$(printf "a\\377b")" "$TARGET"';
    const argv = ["sh", "-c", named, "scp", "", ...rig.clientArgs(), "-O"];
    assert.equal((await runClient(argv, { env: { TARGET: scene.client("named") } })).code, 0);
    assert.equal(await Deno.readTextFile(scene.client("named")), "x");
  });

  await t.step("300 MB go there, and a third of them back, and krun's memory stays", async () => {
    // Every mebibyte begins with its number; the rest is a hole, which reads as any other bytes.
    using file = await Deno.open(scene.client("large"), { write: true, create: true });
    for (let at = 0; at < 300; at++) {
      await file.seek(at * 2 ** 20, Deno.SeekMode.Start);
      await file.write(new TextEncoder().encode(`mebibyte ${at}\n`));
    }
    const status = `/proc/${rig.krun.pid}/status`;
    const highest = async () => Number(/^VmHWM:\s+(\d+)/m.exec(await Deno.readTextFile(status))?.[1]) * 1024;
    const before = await highest();
    await scene.scp(scene.client("large"), "$HOST:");
    assert.equal(await checksum(scene.bob("large")), await checksum(scene.client("large")));
    await Deno.truncate(scene.bob("large"), 100 * 2 ** 20);
    await scene.scp("$HOST:large", scene.client("large-again"));
    assert.equal(await checksum(scene.client("large-again")), await checksum(scene.bob("large")));
    const grown = await highest() - before;
    assert.ok(grown < 100e6, `${grown} bytes more`);
  });

  await t.step("the user's rights, and no others", async () => {
    await Deno.writeTextFile(join(scene.root, "secret"), "secret", { mode: 0o600 });
    await Deno.symlink(join(scene.root, "secret"), scene.bob("by-link"));
    await Deno.symlink("/proc/self/environ", scene.bob("environ"));
    await Deno.writeTextFile(join(scene.root, "roots"), "root's", { mode: 0o644 });
    const got = scene.client("got");
    for (const path of [`${scene.root}/secret`, "by-link", "environ", `/proc/${rig.krun.pid}/environ`]) {
      assert.match(await scene.refused(`$HOST:${path}`, got), /Permission denied|Operation not permitted/);
    }
    for (const target of ["roots", "secret", "made"]) {
      assert.match(await scene.refused(scene.client("back"), `$HOST:${scene.root}/${target}`), /Permission denied/);
    }
    assert.equal(exists(got), false);
    assert.equal(await Deno.readTextFile(join(scene.root, "roots")), "root's");
    assert.equal(exists(join(scene.root, "made")), false);
    // The control: what bob may read.
    await scene.scp(`$HOST:${scene.root}/roots`, got);
  });

  await t.step("what leads out of the target, or makes no sense, is refused", async () => {
    await Deno.mkdir(scene.bob("target"));
    await Deno.chown(scene.bob("target"), BOB, BOB);
    const before = tree(scene.bob());
    const lines = [
      "C0644 1 ../x\nx\0",
      "D0755 0 ..\nC0644 1 x\nx\0",
      "C0644 1 /tmp/x\nx\0",
      "C0644 99999999999999999999 x\n",
    ];
    for (const input of [...lines, "C0644 -1 x\n", "x".repeat(100_000)]) {
      const { code, stdout } = await rig.ssh([`scp -r -t ${scene.bob("target")}`], { input });
      assert.equal(code, 1, input);
      assert.equal(stdout.slice(0, 2), "\0\x02");
      assert.match(stdout.slice(2), /^scp: protocol error: [^\n]+\n$/);
    }
    assert.deepEqual(tree(scene.bob()), before);
    // Promised and not sent; sent and not promised.
    for (const input of ["C0644 9007199254740991 x\nabc", "C0644 3 x\nabcdef\0"]) {
      const { code } = await rig.ssh([`scp -t ${scene.bob("target")}`], { input });
      assert.deepEqual([code, await Deno.readTextFile(scene.bob("target", "x"))], [1, "abc"]);
    }
    await audited(rig, /warn ssh client breaks the rules of scp .*user=ann/);
    await waitFor("nothing open", () => scene.openFiles().length === 0);
  });

  await t.step("a client that is killed in the middle leaves nothing open", async () => {
    await Deno.truncate(scene.bob("large"), 2 ** 40);
    await Deno.truncate(scene.client("large"), 2 ** 40);
    const ways = [["ann@127.0.0.1:large", "/dev/null"], [scene.client("large"), "ann@127.0.0.1:copy"]];
    for (const way of ways) {
      const args = ["-O", ...rig.clientArgs(), ...way];
      const child = new Deno.Command("scp", { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
      await waitFor("a file under way", () => scene.openFiles().length > 0);
      child.kill("SIGKILL");
      await child.status;
      await waitFor("nothing open", () => scene.openFiles().length === 0);
    }
    await Deno.remove(scene.bob("copy"));
  });

  await t.step("what is no client's command is the shell's", async () => {
    const { code, stderr } = await rig.ssh([`scp -t ${scene.bob()}; exit 7`], { input: "C0644 1 ../x\nx\0" });
    assert.equal(code, 7);
    assert.match(stderr, /scp: (?:command )?not found/);
  });
});

Deno.test("the image's own scp is used where it has one", async () => {
  await using scene = await Scene.start({ PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin" });
  await Deno.writeTextFile(scene.client("a"), "hello");
  await scene.scp(scene.client("a"), "$HOST:");
  assert.equal(await Deno.readTextFile(scene.bob("a")), "hello");
  await audited(scene.rig, /info ssh session over .*ran="scp -t \."/);
  assert.doesNotMatch(scene.rig.krun.stderr, /scp file opened/);
});

Deno.test("krun's own scp is used where the user has no account, which the image's own does not serve", async () => {
  const PATH = Deno.env.get("PATH") ?? "/usr/bin:/bin";
  await using scene = await Scene.start({ PATH, user: UNKNOWN });
  await Deno.writeTextFile(scene.client("a"), "hello");
  await scene.scp(scene.client("a"), "$HOST:b");
  await scene.scp("$HOST:b", scene.client("back"));
  assert.deepEqual([(await Deno.stat(scene.bob("b"))).uid, await Deno.readTextFile(scene.client("back"))], [
    UNKNOWN,
    "hello",
  ]);
  await audited(scene.rig, /info ssh session .*runs="scp -t b" .*builtIn=scp/);
});

Deno.test("with a forced command it is that which counts: whoever may only give cannot take, nor give elsewhere", async () => {
  await using scene = await Scene.start({ sshAuth: 'restrict,command="scp -t drop" $KEY' });
  await Deno.mkdir(scene.bob("drop"));
  await Deno.chown(scene.bob("drop"), BOB, BOB);
  await Deno.writeTextFile(scene.client("a"), "hello");
  await scene.scp(scene.client("a"), `$HOST:${scene.bob("elsewhere")}`);
  assert.deepEqual(tree(scene.bob()).filter((name) => !name.startsWith("base")), ["drop/", "drop/a"]);
  await scene.refused("$HOST:drop/a", scene.client("taken"));
  assert.equal(exists(scene.client("taken")), false);
  const { code } = await scene.rig.ssh(["id"], { input: bytesOfText("C0644 1 ../x\nx\0") });
  assert.equal(code, 1);
  assert.equal(exists(scene.bob("x")), false);
});
