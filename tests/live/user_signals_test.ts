/** What a session's user can do to a krun that is root and acts as that user. */
import assert from "node:assert/strict";
import { join } from "node:path";
import "../load_libc.ts";
import { accessByMode } from "../../src/pod/access_by_mode.ts";
import { type ChildCall, must, startChild } from "../../src/pod/child.ts";
import { AT_FDCWD, bytesOf, loadLibc, O_RDONLY, PR_SET_DUMPABLE } from "../../src/pod/libc.ts";
import { Processes } from "../../src/pod/process.ts";
import { checkProgram } from "../../src/pod/program_check.ts";
import { asUser, ownUser, type User } from "../../src/pod/user.ts";
import { userFiles } from "../../src/pod/user_files.ts";
import { ProgramSockets } from "../../src/pod/user_sockets.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";

const libc = loadLibc();
const BOB = 54321;
const user: User = { uid: BOB, gid: BOB, groups: [2345] };
const program = (name: string) => new URL(`../programs/${name}`, import.meta.url).pathname;
const AT_EACCESS = 0x200, X_OK = 1, W_OK = 2;

async function withFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "krun-user-signals-" });
  try {
    await Deno.chown(folder, BOB, BOB);
    await Deno.chmod(folder, 0o755);
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The thread that the tests run on, which kill(2) takes as it takes a process; krun's is the first one. */
function ownThread(): string {
  return libc.procLink("/proc/thread-self")!.split("/").at(-1)!;
}

/** Does something again and again while bob tries to signal this thread. Gives how many tries were allowed. */
async function allowedDuring(act: () => void, { until }: { until(batches: readonly number[]): boolean }) {
  const args = ["run", "--no-prompt", "--no-config", "-A", program("signaller.ts"), `${BOB}`, ownThread()];
  const signaller = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" }).spawn();
  const batches: number[] = [];
  const reading = (async () => {
    let text = "";
    for await (const chunk of signaller.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (text + chunk).split("\n");
      text = lines.pop()!;
      batches.push(...lines.map(Number));
    }
  })();
  await waitFor("tries", () => {
    for (let times = 0; times < 100; times++) act();
    return until(batches);
  }, { pauseMs: 0 });
  await signaller.stdin.close();
  await reading;
  assert.equal((await signaller.status).code, 0);
  return batches.reduce((sum, allowed) => sum + allowed, 0);
}

Deno.test("a session's user may not signal krun while krun acts as that user, or starts that user's programs", async (t) => {
  await using processes = new Processes({ log: new RecordingLog() });
  await withFolder(async (folder) => {
    const files = userFiles(libc, { user, cwd: folder });
    const sockets = new ProgramSockets(libc, { user, cwd: folder });
    const spec = { argv: ["true"], env: {}, ...user } as const;
    const acts = {
      "files": () => {
        files.open("file", { write: true, create: true }).close();
        files.stat("file");
      },
      "sockets and programs": () => {
        sockets.listenUnix(join(folder, "socket")).close();
        assert.equal(sockets.mayExecute("/bin/sh"), true);
        checkProgram(spec);
      },
      "starts of programs": () => void processes.start(spec),
    };
    for (const [name, act] of Object.entries(acts)) {
      await t.step(name, async () => {
        assert.equal(await allowedDuring(act, { until: (batches) => batches.length >= 20 }), 0);
      });
    }
    await t.step("the control: by its real ids it may", async () => {
      const act = () => {
        libc.call("setresuid", BOB, BOB, 0);
        for (let calls = 0; calls < 5; calls++) libc.attempt("statx", AT_FDCWD, folder, 0, 1, new Uint8Array(256));
        libc.call("setresuid", 0, 0, 0);
      };
      const until = (batches: readonly number[]) => batches.some((allowed) => allowed > 0);
      assert.ok(await allowedDuring(act, { until }) > 0);
    });
  });
});

/** Bob waits for a child of this process that is his, and says what he can do to it and to this thread; then the child may go on. */
const LOOK = `
  until [ "$child" ]; do
    child=$(grep -lzP "PPid:\\t${Deno.pid}\\n(?s:.*)Uid:\\t${BOB}\\t" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3 | grep -vx $$ | head -n 1)
  done
  for name in maps mem environ fd/0; do head -c 1 /proc/$child/$name >/dev/null 2>&1 && echo $name; done
  kill -0 $child && echo signal it
  kill -0 $1 2>/dev/null && echo signal krun
  : >"$2"
`;

Deno.test("nobody may trace what shares krun's memory until it is another user's program", async (t) => {
  const ids = [must("setresgid", BOB, BOB, BOB), must("setresuid", BOB, BOB, BOB)];
  const during = async (more: ChildCall[]) => {
    let seen = "";
    await withFolder(async (folder) => {
      const fifo = join(folder, "fifo");
      await new Deno.Command("mkfifo", { args: ["-m", "666", fifo] }).output();
      const args = [`--reuid=${BOB}`, `--regid=${BOB}`, "--clear-groups", "sh", "-c", LOOK, "sh", ownThread(), fifo];
      const bob = new Deno.Command("setpriv", { args, stdout: "piped" }).spawn();
      const calls = [...ids, ...more, must("openat", AT_FDCWD, fifo, O_RDONLY, 0)];
      const [mask, pid] = [bytesOf(new BigUint64Array(1)), bytesOf(new Int32Array(1))];
      let child = 0;
      const start = () => void (child = startChild(libc, { calls, mask, path: "/bin/true", argv: 0n, env: 0n, pid }));
      assert.equal(asUser(libc, user, start), 0);
      assert.equal(libc.call("wait4", child, 0, 0, 0), child);
      seen = new TextDecoder().decode((await bob.output()).stdout);
    });
    return seen;
  };
  await t.step("its memory and its files are closed", async () => assert.equal(await during([]), "signal it\n"));
  await t.step("the control: dumpable, it is open to its user", async () => {
    assert.equal(await during([must("prctl", PR_SET_DUMPABLE, 1)]), "maps\nenviron\nfd/0\nsignal it\n");
  });
});

Deno.test("krun's real and saved ids stay its own", () => {
  const own = [libc.userIds()[0]!, libc.groupIds()[0]!];
  const ids = () => [libc.userIds(), libc.groupIds()];
  const before = [ids(), ownUser(libc)];
  let during: number[][] = [];
  assert.equal(asUser(libc, user, () => void (during = ids())), 0);
  assert.deepEqual(during, own.map((id) => [id, BOB, id]));
  assert.deepEqual([ids(), ownUser(libc)], before);
});

Deno.test("whoever is connected to is told the session's user", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "socket");
    const server = new Deno.Command("python3", { args: [program("peer_user.py"), path], stdout: "piped" }).output();
    const sockets = new ProgramSockets(libc, { user, cwd: folder });
    await waitFor("the server", async () => ((await sockets.connectUnix(path)).close(), true));
    assert.equal(new TextDecoder().decode((await server).stdout), `${BOB} ${BOB}\n`);
  });
});

Deno.test("access() judges by the effective user, and accessByMode() as the kernel does", async (t) => {
  await withFolder(async (folder) => {
    const shut = join(folder, "shut");
    await Deno.mkdir(shut, { mode: 0o700 });
    await Deno.writeTextFile(join(shut, "file"), "");
    const paths = [join(folder, "none"), join(shut, "file"), shut, folder];
    for (const owner of [0, BOB]) {
      for (const group of [0, BOB, 2345]) {
        for (const mode of [0, 0o100, 0o010, 0o001, 0o300, 0o030, 0o003, 0o677, 0o767, 0o776]) {
          const path = join(folder, `${owner}-${group}-${mode}`);
          await Deno.writeTextFile(path, "");
          await Deno.chown(path, owner, group);
          await Deno.chmod(path, mode);
          paths.push(path);
        }
      }
    }
    for (const each of [user, { ...user, uid: 0 }]) {
      await t.step(`user ${each.uid}`, () => {
        const errno = asUser(libc, each, () => {
          for (const path of paths) {
            for (const right of [0, X_OK, W_OK, X_OK | W_OK]) {
              const kernels = libc.attempt("faccessat2", AT_FDCWD, path, right, AT_EACCESS);
              assert.equal(accessByMode(libc, path, right), kernels, `${path} ${right}`);
            }
          }
          // The control: of the real user the kernel says that it may.
          assert.equal(libc.attempt("faccessat", AT_FDCWD, join(shut, "file"), 0), 0);
          assert.equal(libc.access(join(shut, "file"), "exists"), each.uid === 0 ? 0 : 13);
        });
        assert.equal(errno, 0);
      });
    }
  });
});
