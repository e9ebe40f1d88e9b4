/** Files of another user by a krun that is root, or is not and has capabilities; without a permission of Deno's left. */
import assert from "node:assert/strict";
import { join } from "node:path";
import "../load_libc.ts";
import { userFiles } from "../../src/pod/user_files.ts";
import { FileFault } from "../../src/core/user_files.ts";
import { bytesOf, loadLibc } from "../../src/pod/libc.ts";
import { ownUser } from "../../src/pod/user.ts";
import { runProgram } from "./sftp_rig.ts";

const libc = loadLibc();
const BOB = 54321, KRUN = 54322;
const PROGRAM = new URL("../programs/confined_files.ts", import.meta.url).pathname;

/** A folder of bob's, with files that others may not read in it. */
async function withFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "krun-user-files-" });
  try {
    for (const [name, uid, mode] of [["roots", 0, 0o600], ["kruns", KRUN, 0o600], ["bobs", BOB, 0o600]] as const) {
      await Deno.writeTextFile(join(folder, name), `of ${name}`);
      await Deno.chown(join(folder, name), uid, uid);
      await Deno.chmod(join(folder, name), mode);
    }
    await Deno.mkdir(join(folder, "cache"));
    await Deno.chown(join(folder, "cache"), KRUN, KRUN);
    await Deno.chown(folder, BOB, BOB);
    await Deno.chmod(folder, 0o755);
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the program behind some words, and gives its lines. */
async function confined(folder: string, under: readonly string[]): Promise<string[]> {
  const run = ["run", "--no-prompt", "--no-config", "--allow-read", "--allow-ffi", `--allow-write=${folder}/none`];
  const argv = [...under, "env", `DENO_DIR=${folder}/cache`, Deno.execPath(), ...run, PROGRAM, `${BOB}`, folder];
  const { code, stdout, stderr } = await runProgram(argv, "roots\nkruns\nbobs\n/proc/self/environ\n");
  assert.equal(code, 0, stderr);
  return stdout.trim().split("\n");
}

Deno.test("a user's files are reached when every permission of Deno's was given back", async () => {
  await withFolder(async (folder) => {
    assert.deepEqual(await confined(folder, []), [
      ...["error 13", "error 13", "of bobs", "error 13", `by the user ${BOB} 0,0,0`],
    ]);
  });
});

Deno.test("a krun whose capabilities no change of user takes away gives a session none", async () => {
  await withFolder(async (folder) => {
    assert.deepEqual(await confined(folder, ["setpriv", "--securebits", "+no_setuid_fixup"]), [
      ...["error 13", "error 13", "of bobs", "error 13", `by the user ${BOB} 0,0,0`],
    ]);
  });
});

Deno.test("a krun that is not root gives a session none of its own capabilities, and has them back", async () => {
  await withFolder(async (folder) => {
    const capabilities = "+setuid,+setgid,+kill,+dac_override,+chown,+fowner";
    const user = [
      `--reuid=${KRUN}`,
      `--regid=${KRUN}`,
      "--clear-groups",
      "--inh-caps",
      capabilities,
      "--ambient-caps",
      capabilities,
    ];
    assert.deepEqual(await confined(folder, ["setpriv", ...user]), [
      ...["error 13", "error 13", "of bobs", "error 13", `by the user ${BOB} ${KRUN},${KRUN},${KRUN}`],
    ]);
    // The control: those capabilities do open the other files.
    const { stdout } = await runProgram(["setpriv", ...user, "cat", join(folder, "roots")]);
    assert.equal(stdout, "of roots");
  });
});

Deno.test("what a session makes has its group, also when krun's sockets have another", async () => {
  await withFolder((folder) => {
    const SOCKETS = 1337;
    const before = libc.groupIds();
    // As interception has it.
    assert.equal(libc.openSocketsAs(SOCKETS), 0);
    try {
      for (const user of [{ uid: BOB, gid: BOB, groups: [2345] }, { uid: 0, gid: 2345, groups: [] }]) {
        const files = userFiles(libc, { user, cwd: folder });
        for (const name of ["file", "folder", "link"]) {
          if (name === "file") files.open(name, { write: true, create: true }).close();
          else if (name === "folder") files.makeFolder(name, 0o755);
          else files.makeLink(name, "file");
          const { uid, gid } = files.linkStat(name);
          assert.deepEqual([uid, gid], [user.uid, user.gid], name);
          if (name === "folder") files.removeFolder(name);
          else files.remove(name);
        }
        assert.deepEqual(libc.groupIds(), [SOCKETS, SOCKETS, 0]);
      }
    } finally {
      libc.call("setresgid", ...before);
    }
  });
});

Deno.test("krun is itself after each call, also after one that fails, and its files in /proc are its own", async () => {
  await withFolder((folder) => {
    const files = userFiles(libc, { user: { uid: BOB, gid: BOB, groups: [7, 8] }, cwd: folder });
    const state = () => [libc.userIds(), libc.groupIds(), ownUser(libc).groups, libc.call("prctl", 3), capabilities()];
    const capabilities = () => {
      const sets = new Uint32Array(6);
      libc.call("capget", bytesOf(new Uint32Array([0x2008_0522, 0])), bytesOf(sets));
      return [...sets];
    };
    const before = state();
    for (const path of ["roots", "none", "bobs", "/proc/self/environ"]) {
      try {
        files.open(path, { read: true }).close();
      } catch (error) {
        assert.ok(error instanceof FileFault, String(error));
      }
      assert.deepEqual(state(), before, path);
    }
  });
});

Deno.test("writing to a program takes the bits setuid and setgid from it, as it does without krun", async () => {
  await withFolder(async (folder) => {
    const program = join(folder, "program");
    const files = userFiles(libc, { user: { uid: BOB, gid: BOB, groups: [2345] }, cwd: folder });
    const make = async () => {
      await Deno.writeTextFile(program, "code");
      await Deno.chown(program, 0, 2345);
      await Deno.chmod(program, 0o4775);
    };
    await make();
    const file = files.open("program", { write: true });
    file.write(new TextEncoder().encode("mine"), 0);
    file.close();
    assert.equal(await Deno.readTextFile(program), "mine");
    assert.equal((await Deno.lstat(program)).mode! & 0o7777, 0o775);
    // The control: root's own write leaves them.
    await make();
    using own = await Deno.open(program, { write: true });
    await own.write(new TextEncoder().encode("root"));
    assert.equal((await Deno.lstat(program)).mode! & 0o7777, 0o4775);
  });
});
