// krun's processes where root is needed: other users, PID namespaces, mounts.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { loadLibc } from "../../src/pod/libc.ts";
import { Processes } from "../../src/pod/process.ts";
import { readProcess, readProcesses } from "../../src/pod/process_table.ts";
import { asUser, ownUser, type User } from "../../src/pod/user.ts";
import { RecordingLog } from "../recording_log.ts";
import { type RunnerOptions, startRunner } from "../runner_process.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const libc = loadLibc();

async function run(options: RunnerOptions) {
  await using runner = startRunner(options);
  return await runner.end;
}

function commandLine(pid: number): string {
  return libc.procText(`/proc/${pid}/cmdline`) ?? "";
}

const STATUS = ["grep", "-E", "^(Uid|Gid|Groups|Cap|Sig)", "/proc/self/status"];

Deno.test("A program runs as another user in every respect: all ids, the whole list of groups, no capability", async (t) => {
  for (const once of [[], ["--once"]]) {
    await t.step(once.join() || "as a child", async () => {
      const options = [...once, "--uid=1234", "--gid=2345", "--groups=7,8,9000"];
      const { stdout, stderr } = await run({ options, program: STATUS });
      assert.match(stdout, /Uid:\t1234\t1234\t1234\t1234\nGid:\t2345\t2345\t2345\t2345\nGroups:\t7 8 9000 \n/, stderr);
      assert.match(stdout, /CapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\n/);
      assert.match(stdout, /CapAmb:\t0+\n/);
    });
    await t.step(`${once.join() || "as a child"}: there is no way back`, async () => {
      const back = ["setpriv", "--reuid=0", "id", "-u"];
      const { code, stdout, stderr } = await run({ options: [...once, "--uid=1234"], program: back });
      assert.equal(stdout, "");
      assert.match(stderr, /setresuid failed: Operation not permitted/);
      assert.notEqual(code, 0);
    });
  }
});

Deno.test("A user id alone takes krun's group and no other", async () => {
  const { stdout } = await run({ under: ["setpriv", "--groups=5,6"], options: ["--uid=1234"], program: STATUS });
  assert.match(stdout, /Uid:\t1234\t1234\t1234\t1234\nGid:\t0\t0\t0\t0\nGroups:\t \n/);
});

Deno.test("Without a user the program has krun's own, groups included", async () => {
  const { stdout } = await run({ under: ["setpriv", "--groups=5,6"], program: STATUS });
  assert.match(stdout, /Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t5 6 \n/);
});

Deno.test("krun itself stays what it was after it started another user's program", async () => {
  const options = ["--uid=1234", "--gid=2345", "--groups=7"];
  await using runner = startRunner({ options, program: ["sh", "-c", "echo ready; sleep 1000"] });
  await runner.sees("stdout", /ready/);
  const threads = [...Deno.readDirSync(`/proc/${runner.pid}/task`)];
  assert.ok(threads.length > 1);
  for (const { name } of threads) {
    const status = libc.procText(`/proc/${runner.pid}/task/${name}/status`) ?? "";
    assert.match(status, /Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n/);
    assert.doesNotMatch(status, /Groups:.*\b7\b/);
    assert.match(status, /CapEff:\t0*1\w+/);
  }
});

Deno.test("Ambient capabilities of krun do not reach another user's program", async () => {
  const under = ["setpriv", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"];
  const own = await run({ under, program: STATUS });
  assert.match(own.stdout, /CapAmb:\t0*1000\n/, "krun has one");
  const other = await run({ under, options: ["--uid=1234"], program: STATUS });
  assert.match(other.stdout, /CapPrm:\t0+\nCapEff:\t0+\n[^]*CapAmb:\t0+\n/);
});

Deno.test("Where a change of user takes away no capabilities, another user's program has none either", async () => {
  const under = ["setpriv", "--securebits", "+no_setuid_fixup"];
  for (const once of [[], ["--once"]]) {
    const { stdout, stderr } = await run({ under, options: [...once, "--uid=1234"], program: STATUS });
    assert.match(stdout, /Uid:\t1234\t1234\t1234\t1234\n[^]*CapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\n/, stderr);
  }
});

Deno.test("Programs start where no child may share krun's memory, and what does not start is told all the same", async () => {
  const under = ["python3", fileURLToPath(new URL("../programs/no_shared_memory.py", import.meta.url))];
  const options = ["--uid=1234", "--gid=2345", "--cwd=/usr"];
  const { stdout, stderr } = await run({ under, options, program: ["sh", "-c", "id -u; id -g; pwd"] });
  const [uid, gid, cwd] = stdout.split("\n");
  assert.deepEqual([uid, gid, cwd], ["1234", "2345", "/usr"], stderr);
  const missing = await run({ under, program: ["/nothing/here"] });
  assert.match(missing.stderr, /Cannot start program "\/nothing\/here": no such file/);
  const CLONE = Deno.build.arch === "x86_64" ? 56 : 220;
  // The control: there a child that shares its parent's memory and is no thread is refused.
  const clone =
    `import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(${CLONE}, 0x100 | 17, 0, 0, 0, 0), ctypes.get_errno())`;
  const [python = "", ...args] = [...under, "python3", "-c", clone];
  const refused = await new Deno.Command(python, { args }).output();
  assert.equal(new TextDecoder().decode(refused.stdout), "-1 22\n");
});

Deno.test("asUser() changes this thread for the time of the call, and not longer, also after an error", () => {
  const before = ownUser(libc);
  const user = { uid: 1234, gid: 2345, groups: [7] };
  const seen: User[] = [];
  assert.equal(asUser(libc, user, () => void seen.push(ownUser(libc))), 0);
  assert.deepEqual(seen, [user]);
  const fail = () => {
    throw new Error("of the body");
  };
  assert.throws(() => asUser(libc, user, fail), /of the body/);
  assert.deepEqual(ownUser(libc), before);
});

/** Root without the right to change users. An ordinary user may not be able to enter the folder of the Deno executable. */
const WITHOUT_SETUID = ["setpriv", "--inh-caps=-all", "--bounding-set=-setuid,-setgid"];

Deno.test("A krun that may not change users refuses, and says who it is", async (t) => {
  for (const once of [[], ["--once"]]) {
    await t.step(once.join() || "as a child", async () => {
      const { code, stderr } = await run({
        under: WITHOUT_SETUID,
        options: [...once, "--uid=1234"],
        program: ["true"],
      });
      assert.equal(code, 125);
      assert.match(
        stderr,
        /RunAsDenied: Cannot start program "true" as user 1234, .*krun runs as user 0 without the right/,
      );
    });
  }
  await t.step("what it could not end", async () => {
    const under = ["setpriv", "--inh-caps=-all", "--bounding-set=-kill"];
    const { code, stderr } = await run({ under, options: ["--uid=1234"], program: ["true"] });
    assert.equal(code, 125);
    assert.match(stderr, /RunAsDenied: .* or to end its programs/);
    // Which there is nobody to do once krun is the program.
    assert.equal((await run({ under, options: ["--once", "--uid=1234"], program: ["true"] })).code, 0);
  });
  await t.step("a user that a user namespace does not have", async () => {
    const under = ["unshare", "--user", "--map-root-user"];
    const { code, stderr } = await run({ under, options: ["--uid=1234"], program: ["true"] });
    assert.equal(code, 125);
    assert.match(stderr, /RunAsDenied/);
  });
  await t.step("its own user is no change", async () => {
    const options = [
      "--uid=0",
      "--gid=0",
      `--groups=${libc.procText("/proc/self/status")?.match(/Groups:\t(.*) ?\n/)?.[1]?.trim().replaceAll(" ", ",")}`,
    ];
    assert.equal((await run({ under: WITHOUT_SETUID, options, program: ["true"] })).code, 0);
  });
});

Deno.test("The program may be one that only its user may execute, and not one that only root may", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.chownSync(folder, 1234, 1234);
    for (const [name, owner] of [["theirs", 1234], ["roots", 0]] as const) {
      Deno.writeTextFileSync(`${folder}/${name}`, "#!/bin/sh\nexit 3\n");
      Deno.chmodSync(`${folder}/${name}`, 0o500);
      Deno.chownSync(`${folder}/${name}`, owner, owner);
    }
    const options = ["--uid=1234", "--gid=1234", `--cwd=${folder}`];
    assert.equal((await run({ options, program: ["./theirs"] })).code, 3);
    const { code, stderr } = await run({ options, program: ["./roots"] });
    assert.equal(code, 126);
    assert.match(stderr, /its user may not execute it/);
    Deno.chmodSync(folder, 0o700);
    Deno.chownSync(folder, 0, 0);
    assert.match((await run({ options, program: ["true"] })).stderr, /PodInvalid: .*its user may not enter it/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("A program on a noexec file system is refused with that reason", async () => {
  const script = 'mount -t tmpfs -o noexec tmpfs /mnt && cp /bin/true /mnt/ && exec "$@"';
  const under = ["unshare", "--mount", "sh", "-c", script, "sh"];
  const { code, stderr } = await run({ under, program: ["/mnt/true"] });
  assert.equal(code, 126);
  assert.match(stderr, /ProgramNotExecutable: .*mounted with noexec/);
});

Deno.test("Odd signal masks and ignored signals of krun's parent are the program's too", async () => {
  const under = ["env", "--block-signal=USR2,40", "--ignore-signal=HUP,PIPE", "--default-signal=INT"];
  const { stdout } = await run({ under, program: STATUS });
  // Bits 11 and 39; bit 0. SIGPIPE is back at its default: Deno's own setting hides what it was.
  assert.match(stdout, /SigBlk:\t0*8000000800\nSigIgn:\t0*1\nSigCgt:\t0+(400)?\n/);
});

const PID_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** Leaves a daemon whose parent is gone, in a session of its own; it ends after the file at $1 is gone. */
const DAEMON = 'setsid sh -c \'while [ -e "$1" ]; do sleep 0.02; done\' daemon "$1" & ';

/** Children of a process that are zombies. */
function zombies(parent: number): number[] {
  return readProcesses(libc).filter((entry) => entry.parent === parent && entry.state === "Z").map((entry) =>
    entry.pid
  );
}

/** The child that `unshare --fork` made: PID 1 of the namespace, as this machine sees it. */
function pidOne(unshare: number): Promise<number> {
  return waitFor("PID 1", () => readProcesses(libc).find((entry) => entry.parent === unshare)?.pid);
}

Deno.test("Orphans are reaped by krun as PID 1; the negative control is a PID 1 that reaps nothing", async (t) => {
  // The inner shell ends at once and leaves the daemons without a parent.
  const program = ["sh", "-c", 'sh -c "$0" sh "$1"; echo ready; exec sleep 1000', DAEMON.repeat(10)];
  const flag = Deno.makeTempFileSync();
  await t.step("krun", async () => {
    await using runner = startRunner({ under: PID_NAMESPACE, program: [...program, flag] });
    await runner.sees("stdout", /ready/);
    const one = await pidOne(runner.pid);
    const adopted = () => readProcesses(libc).filter((entry) => entry.parent === one);
    await waitFor("all to be children of krun", () => adopted().length === 11);
    Deno.removeSync(flag);
    await waitFor("only the program to be left", () => adopted().length === 1);
  });
  Deno.writeTextFileSync(flag, "");
  await t.step("sleep", async () => {
    const [sh = "", ...args] = program;
    const child = new Deno.Command("unshare", { args: [...PID_NAMESPACE.slice(1), sh, ...args, flag], stdout: "null" })
      .spawn();
    const one = await pidOne(child.pid);
    await waitFor("the daemons", () => readProcesses(libc).filter((entry) => entry.parent === one).length === 10);
    Deno.removeSync(flag);
    await waitFor("zombies", () => zombies(one).length === 10);
    libc.kill(one, 9);
    await child.status;
  });
});

Deno.test("Orphans are krun's where it is not PID 1, and not those of a parent that does not ask for them", async () => {
  const flag = Deno.makeTempFileSync();
  const program = ["sh", "-c", 'sh -c "$0" sh "$1"; echo ready; exec sleep 1000', DAEMON, flag];
  const daemon = () => readProcesses(libc).find((entry) => commandLine(entry.pid).endsWith(`daemon\0${flag}\0`));
  {
    await using runner = startRunner({ program });
    await runner.sees("stdout", /ready/);
    const { pid } = await waitFor("the daemon", daemon);
    await waitFor("its adoption", () => readProcess(libc, pid)?.parent === runner.pid);
    Deno.removeSync(flag);
    await waitFor("the orphan to be reaped", () => readProcess(libc, pid) === undefined);
  }
  Deno.writeTextFileSync(flag, "");
  const [sh = "", ...args] = program;
  const plain = new Deno.Command(sh, { args, stdout: "null" }).spawn();
  const { pid } = await waitFor("the daemon", daemon);
  await waitFor("init to take it", () => ![plain.pid, undefined].includes(readProcess(libc, pid)?.parent));
  Deno.removeSync(flag);
  plain.kill("SIGKILL");
  await plain.status;
});

Deno.test("As PID 1 krun takes SIGTERM, which the kernel keeps from a PID 1 without a handler", async () => {
  const program = ["sh", "-c", 'trap "exit 17" TERM; echo ready; while :; do sleep 0.02; done'];
  await using runner = startRunner({ under: PID_NAMESPACE, program });
  await runner.sees("stdout", /ready/);
  libc.kill(await pidOne(runner.pid), 15);
  assert.equal((await runner.end).code, 17);
});

Deno.test("Nothing outlives an orderly end, daemons in sessions of their own included", async () => {
  const flag = Deno.makeTempFileSync();
  const { code } = await run({ program: ["sh", "-c", `${DAEMON} exit 4`, "sh", flag] });
  assert.equal(code, 4);
  const left = readProcesses(libc).filter((entry) => commandLine(entry.pid).includes(flag));
  assert.deepEqual(left, []);
  Deno.removeSync(flag);
});

/** Forks into a new session and ends, every 2 ms, so that a list of processes is out of date once it is read. */
const RESTLESS = `
import os, sys, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork(): os._exit(4)
    os.setsid()
    time.sleep(0.002)
print("still here")
`;

Deno.test("A process that never stays the same one does not outlive krun either", async () => {
  for (let round = 0; round < 3; round++) {
    const { code, stdout } = await run({ program: ["python3", "-c", RESTLESS] });
    // Its end is the end of the last one that holds the standard output.
    assert.deepEqual([code, stdout], [4, ""]);
  }
});

Deno.test("A process that joins krun's own group does not outlive krun either", async () => {
  await using workspace = await Workspace.create();
  const joins = "import os, sys, time\nif os.fork(): os._exit(4)\nos.setpgid(0, os.getpgid(int(sys.argv[1])))\n" +
    "time.sleep(20)\nprint('still here')";
  const { code, stdout } = await workspace.run({ args: ["sh", "-c", 'python3 -c "$0" $PPID', joins] });
  assert.deepEqual([code, stdout], [4, ""]);
});

Deno.test("Signals that krun's parent has blocked reach krun: the end of its program, and the wish to stop", async (t) => {
  const blocking = (signal: number) => {
    const script = `import os, signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, [${signal}])\n` +
      "os.execv(sys.argv[1], sys.argv[1:])";
    return ["python3", "-c", script];
  };
  await t.step("SIGCHLD", async () => {
    assert.equal((await run({ under: blocking(17), program: ["sh", "-c", "exit 7"] })).code, 7);
  });
  await t.step("SIGTERM", async () => {
    const program = ["sh", "-c", 'trap "exit 17" TERM; echo ready; while :; do sleep 0.02; done'];
    await using runner = startRunner({ under: blocking(15), program });
    await runner.sees("stdout", /ready/);
    libc.kill(runner.pid, 15);
    assert.equal((await runner.end).code, 17);
  });
});

Deno.test("All of it works with limited permissions, after ffi was given up", async () => {
  const flag = Deno.makeTempFileSync();
  const permissions = ["--allow-read", "--allow-env", "--allow-ffi", "--allow-write=/tmp"];
  const program = ["sh", "-c", `${DAEMON} trap "exit 6" 40; echo ready; while :; do sleep 0.02; done`, "sh", flag];
  await using runner = startRunner({ permissions, options: ["--revoke", "--uid=1234", "--gid=1234"], program });
  await runner.sees("stdout", /ready/);
  libc.kill(runner.pid, 40);
  const { code, stderr } = await runner.end;
  assert.equal(code, 6, stderr);
  const left = readProcesses(libc).filter((entry) => commandLine(entry.pid).includes(flag));
  assert.deepEqual(left, []);
  Deno.removeSync(flag);
});
Deno.test("Processes.start() lets a program of another user open its standard output anew, and no third one", async () => {
  await using processes = new Processes({ log: new RecordingLog() });
  const lines: string[] = [];
  const start = (script: string, uid: number) =>
    processes.start({
      argv: ["sh", "-c", script],
      env: { PATH: "/usr/bin:/bin" },
      uid,
      gid: 1337,
      stdio: "stdin-null",
      onLine: (line) => lines.push(line),
    }).ended;
  assert.deepEqual(await start("echo again > /dev/stdout", 1337), { kind: "exited", code: 0 });
  await waitFor("the line", () => lines.length === 1);
  // The negative control: a pipe that is root's.
  await start('setpriv --reuid 1338 --regid 1338 --clear-groups sh -c "echo no > /dev/stdout"', 0);
  await waitFor("the refusal", () => lines.length === 2);
  assert.match(lines.join("\n"), /^again\n.*Permission denied$/);
});
