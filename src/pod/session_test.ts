import assert from "node:assert/strict";
import { ENV, isBlocked, openDescriptors, sees, SessionRig, TERMINAL, textOf, type } from "../../tests/session_rig.ts";
import { waitFor } from "../../tests/wait.ts";
import type { SessionProcess } from "../core/session_process.ts";
import { SIGKILL, SIGTERM } from "../core/signals.ts";
import { loadLibc } from "./libc.ts";
import { readProcess, readProcesses } from "./process_table.ts";

const libc = loadLibc();

/** All that a program writes, and how it ended. */
async function all(program: SessionProcess) {
  const [output, error] = await Promise.all([textOf(program.output), textOf(program.error)]);
  const end = await program.ended;
  program.close();
  return { output, error, end };
}

Deno.test("Sessions.start() with pipes keeps output, error and status apart, and stops a program's reading by end()", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("cat; echo problem >&2; exit 7");
  assert.equal(program.terminalPath, undefined);
  assert.equal(await type(program, "one\n"), true);
  assert.equal(await sees(program.output, /\n/), "one\n");
  assert.equal(await type(program, "two\n"), true);
  program.input.end();
  assert.deepEqual(await all(program), { output: "two\n", error: "problem\n", end: { kind: "exited", code: 7 } });
  assert.equal(await type(program, "three"), false);
});

Deno.test("Sessions.start() makes the program leader of a session, with no terminal to be had, and nothing else open", async () => {
  await using rig = new SessionRig();
  // One of those that krun may have been started with, for its program.
  const F_DUPFD = 0, LEAST = 50;
  const given = libc.call("fcntl", 0, F_DUPFD, LEAST);
  const program = rig.sh("cat /proc/$$/stat; ls /proc/self/fd; cat /proc/self/fdinfo/[012]; : < /dev/tty");
  program.input.end();
  const { output, error } = await all(program);
  const [stat = "", ...lines] = output.split("\n");
  const [, , , , group, session] = stat.split(" ").map(Number);
  assert.deepEqual([group, session], [program.pid, program.pid]);
  const fds = lines.filter((line) => /^\d+$/.test(line)).map(Number);
  // 3 is the folder that ls reads.
  assert.deepEqual(fds.filter((fd) => fd > 3), []);
  assert.ok(inherited().includes(given), "the control");
  libc.call("close", given);
  const flags = lines.filter((line) => line.startsWith("flags:")).map((line) => parseInt(line.slice(6), 8));
  assert.equal(flags.length, 3);
  for (const flag of flags) assert.equal(flag & 0o4000, 0, "the program's own ends wait");
  assert.match(error, /\/dev\/tty/);
});

/** What a child of Deno's own has open: whatever this process was itself started with. */
function inherited(): number[] {
  const { stdout } = new Deno.Command("ls", { args: ["/proc/self/fd"] }).outputSync();
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean).map(Number);
}

Deno.test("write() is true when all was taken, and false when nobody reads any more", async () => {
  await using rig = new SessionRig();
  const program = rig.start(["head", "-c", "1"]);
  assert.equal(await type(program, "x"), true);
  await program.ended;
  assert.equal(await program.input.write(new Uint8Array(1)), false);
  const other = rig.sh("exec <&-; echo closed; exec sleep 1000");
  await sees(other.output, /closed/);
  assert.equal(await other.input.write(new Uint8Array(1 << 20)), false);
  await other.hangUp({ graceMs: 1000 });
  program.close();
});

Deno.test("write() waits for a slow reader, and ends when the session is hung up", async () => {
  await using rig = new SessionRig();
  const program = rig.start(["sleep", "1000"]);
  let isDone = false;
  const writing = program.input.write(new Uint8Array(3 << 20)).finally(() => isDone = true);
  await waitFor("the pipe to be full", () => pipeOf(program.pid) >= 65_536);
  assert.equal(isDone, false);
  await program.hangUp({ graceMs: 1000 });
  assert.equal(await writing, false);
});

/** How many bytes lie in a process's standard input. */
function pipeOf(pid: number): number {
  const FIONREAD = 0x541b;
  const fd = libc.open(`/proc/${pid}/fd/0`, 0o4000);
  const count = new Uint8Array(4);
  libc.call("ioctl", fd, FIONREAD, count);
  libc.call("close", fd);
  return new DataView(count.buffer).getInt32(0, true);
}

Deno.test("end() while a write is under way comes after what is written", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("read go < /proc/self/fd/0; wc -c");
  const writing = program.input.write(new TextEncoder().encode("go\n" + "x".repeat(2_000_000)));
  program.input.end();
  assert.equal(await writing, true);
  assert.equal((await all(program)).output.trim(), "2000000");
});

Deno.test("Nothing is read of a program that nobody asked for: it waits with its pipe full", async () => {
  await using rig = new SessionRig();
  const program = rig.start(["dd", "if=/dev/zero", "bs=4096", "count=1000", "status=none"]);
  await isBlocked(program.pid, 65_536);
  assert.equal(Number(/wchar: (\d+)/.exec(libc.procText(`/proc/${program.pid}/io`) ?? "")?.[1]), 65_536);
  let count = 0;
  for (let bytes; (bytes = await program.output.read());) count += bytes.length;
  assert.equal(count, 4_096_000);
  assert.deepEqual(await program.ended, { kind: "exited", code: 0 });
  program.close();
});

Deno.test("The output of pipes lasts as long as somebody holds them, after the program's own end too", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("(read go; echo late) <&3 & exit 3", {
    argv: ["sh", "-c", "exec 3<&0; (read go <&3; echo late) & exit 3"],
  });
  assert.deepEqual(await program.ended, { kind: "exited", code: 3 });
  assert.equal(await type(program, "go\n"), true);
  assert.equal(await textOf(program.output), "late\n");
  program.close();
});

Deno.test("kill() reaches the whole process group", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("sleep 1000 & echo $!; wait");
  const child = Number(await sees(program.output, /\n/));
  program.kill(SIGTERM);
  assert.deepEqual(await program.ended, { kind: "signaled", signal: SIGTERM });
  await waitFor(
    "the child to end",
    () => readProcess(libc, child) === undefined || readProcess(libc, child)?.state === "Z",
  );
  program.close();
});

Deno.test("Sessions.start() with a terminal gives size, modes, path, and a foreground group", async () => {
  await using rig = new SessionRig();
  const terminal = { ...TERMINAL, modes: new Map([[1, 2], [53, 0], [42, 1]]), variable: "SSH_TTY" };
  const program = rig.sh('stty -a; tty; echo "$SSH_TTY"; ls -l /proc/self/fd/2; cat /proc/$$/stat', { terminal });
  assert.equal(program.error, undefined);
  const { output, end } = await all(program);
  assert.deepEqual(end, { kind: "exited", code: 0 });
  assert.match(output, /rows 24; columns 80/);
  assert.match(output, /intr = \^B/);
  assert.match(output, / -echo /);
  assert.match(output, / iutf8/);
  assert.equal(output.split("\r\n").filter((line) => line === program.terminalPath).length, 2);
  // Foreground group, with the program in it.
  const [, , , , , session, , foreground] = output.split("\r\n").at(-2)!.split(" ").map(Number);
  assert.deepEqual([session, foreground], [program.pid, program.pid]);
});

Deno.test("resize() changes the terminal, and tells the foreground group", async () => {
  await using rig = new SessionRig();
  const program = rig.sh('trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done', {
    terminal: TERMINAL,
  });
  await sees(program.output, /ready/);
  program.resize({ rows: 50, columns: 132, widthPixels: 70_000, heightPixels: 0 });
  assert.match(await textOf(program.output), /50 132\r\n/);
  program.close();
  program.resize(TERMINAL);
});

Deno.test("Ctrl-C in a terminal ends the program in its foreground; end() ends nothing", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("echo ready; exec sleep 1000", { terminal: TERMINAL });
  await sees(program.output, /ready/);
  program.input.end();
  assert.equal(await type(program, "\x03"), true);
  assert.deepEqual(await program.ended, { kind: "signaled", signal: 2 });
  await textOf(program.output);
  program.close();
});

Deno.test("The output of a terminal is complete at the program's end, however much it is", async () => {
  await using rig = new SessionRig();
  for (let round = 0; round < 20; round++) {
    const program = rig.start(["seq", "1", "20000"], { terminal: TERMINAL });
    const lines = (await textOf(program.output)).trim().split("\r\n");
    assert.deepEqual([lines.length, lines.at(-1)], [20_000, "20000"]);
    assert.deepEqual(await program.ended, { kind: "exited", code: 0 });
    program.close();
  }
});

Deno.test("Who keeps a terminal open does not hold its session once the program has ended", async () => {
  await using rig = new SessionRig();
  const quiet = rig.sh('trap "" HUP; sleep 1000 & echo last', { terminal: TERMINAL });
  assert.equal(await textOf(quiet.output), "last\r\n");
  quiet.close();
  const loud = rig.sh('trap "" HUP; yes & echo $!', { terminal: TERMINAL });
  const pid = parseInt(await textOf(loud.output));
  assert.deepEqual(await loud.ended, { kind: "exited", code: 0 });
  // The negative control: it was still there, and writing; D where its file's pages are still being read.
  assert.match(readProcess(libc, pid)?.state ?? "gone", /[SRD]/);
  loud.close();
});

Deno.test("hangUp() ends what is in the session, waits for who takes his time, and kills who takes more", async () => {
  await using rig = new SessionRig();
  const before = openDescriptors();
  // Which says more than a pipe holds before it goes.
  const bye = 'trap "head -c 300000 /dev/zero >&2 || exit 1; exit 5" HUP; echo ready; while :; do sleep 0.02; done';
  const polite = rig.sh(bye);
  await sees(polite.output, /ready/);
  const reading = polite.error!.read();
  await polite.hangUp({ graceMs: 60_000 });
  assert.equal(await reading, undefined);
  assert.deepEqual(await polite.ended, { kind: "exited", code: 5 });
  const deaf = rig.sh("trap : HUP; echo ready; while :; do sleep 0.02; done");
  await sees(deaf.output, /ready/);
  await deaf.hangUp({ graceMs: 100 });
  assert.deepEqual(await deaf.ended, { kind: "signaled", signal: SIGKILL });
  assert.deepEqual(openDescriptors(), before);
});

Deno.test("hangUp() spares who ignores SIGHUP or has left the session; the end of krun does not", async () => {
  for (const terminal of [undefined, TERMINAL]) {
    const rig = new SessionRig();
    const script = `
      trap "" HUP; sleep ${OWN_SLEEP + 1} & trap - HUP
      setsid sleep ${OWN_SLEEP + 2} &
      sleep ${OWN_SLEEP + 3} &
      sh -c 'trap : HUP; echo ready; while :; do sleep 0.02; done' &
      wait`;
    const program = rig.sh(script, { terminal });
    await sees(program.output, /ready/);
    await waitFor("all to run", () => sleeping().length === 3);
    await program.hangUp({ graceMs: 50 });
    assert.deepEqual(sleeping(), [1, 2]);
    assert.deepEqual(await program.ended, { kind: "signaled", signal: 1 });
    // A second one is the first.
    await program.hangUp({ graceMs: 50 });
    await rig[Symbol.asyncDispose]();
    assert.deepEqual(sleeping(), []);
  }
});

/** Seconds of a sleep(1) that nobody else on this machine has. */
const OWN_SLEEP = 10_000_000 + Deno.pid * 10;

/** Those of them that run, by their last digit: they may have left this process's tree. */
function sleeping(): number[] {
  const seconds = readProcesses(libc).map(({ pid }) => (libc.procText(`/proc/${pid}/cmdline`) ?? "").split("\0"))
    .filter(([name]) => name === "sleep").map(([, seconds]) => Number(seconds) - OWN_SLEEP);
  return seconds.filter((digit) => digit > 0 && digit < 10).sort();
}

Deno.test("hangUp() after the program's end ends what it left in the session, and wakes a stopped one", async () => {
  await using rig = new SessionRig();
  const program = rig.sh("sleep 1000 & echo $!; kill -STOP $!");
  const child = Number(await sees(program.output, /\n/));
  await program.ended;
  assert.equal(readProcess(libc, child)?.session, program.pid);
  await program.hangUp({ graceMs: 60_000 });
  assert.notEqual(readProcess(libc, child)?.state, "T");
  await waitFor("the child to be gone", () => readProcess(libc, child) === undefined);
});

Deno.test("hangUp() resolves reads and writes that wait", async () => {
  await using rig = new SessionRig();
  for (const terminal of [undefined, TERMINAL]) {
    const program = rig.start(["sleep", "1000"], { terminal });
    const reading = program.output.read();
    await program.hangUp({ graceMs: 1000 });
    assert.equal(await reading, undefined);
    assert.equal(await program.output.read(), undefined);
    assert.equal(await program.input.write(new Uint8Array(1)), false);
  }
});

Deno.test("A session outlives the container that it looks at, which ends with all that it left", async () => {
  await using rig = new SessionRig();
  const program = rig.start(["sleep", "1000"]);
  const app = rig.processes.start({
    argv: ["sh", "-c", "setsid sleep 1000 & exit 0"],
    env: ENV,
    stdio: "null",
    container: "app",
  });
  await app.ended;
  const daemons = () =>
    readProcesses(libc).filter(({ parent, pid, state }) => parent === Deno.pid && pid !== program.pid && state !== "Z");
  await waitFor("the daemon", () => daemons().length === 1);
  await rig.processes.endContainer("app");
  assert.deepEqual(daemons(), []);
  assert.equal(readProcess(libc, program.pid)?.state, "S");
  await program.hangUp({ graceMs: 1000 });
});

Deno.test("Sessions.start() that fails leaves nothing open", async () => {
  await using rig = new SessionRig();
  const warm = rig.start(["true"], { terminal: TERMINAL });
  await textOf(warm.output);
  warm.close();
  const before = openDescriptors();
  for (const terminal of [undefined, TERMINAL]) {
    assert.throws(() => rig.start(["krun-no-such-program"], { terminal }), { code: "ProgramNotFound" });
    assert.throws(() => rig.start(["/etc/passwd"], { terminal }), { code: "ProgramNotExecutable" });
    assert.throws(() => rig.start(["true"], { terminal, cwd: "/nowhere" }), { code: "PodInvalid" });
    assert.throws(() => rig.start(["a\0b"], { terminal }), { code: "PodInvalid" });
    assert.throws(() => rig.start(["true"], { terminal, env: { ...ENV, "": "x" } }), { code: "PodInvalid" });
  }
  assert.deepEqual(openDescriptors(), before);
});

Deno.test("Sessions.start() without a descriptor left says so, whichever it was, and closes the others again", async () => {
  await using rig = new SessionRig();
  const limit = libc.openFilesLimit().soft;
  for (const terminal of [undefined, TERMINAL]) {
    // Every number below the limit is taken but the last few.
    const highest = libc.open("/dev/null", 0);
    const spare = Array.from({ length: 8 }, () => libc.open("/dev/null", 0));
    const before = openDescriptors();
    for (let left = 0; left < (terminal ? 2 : 6); left++) {
      libc.setOpenFilesLimit(BigInt(Math.max(highest, ...spare) + 1));
      const free = spare.slice(0, left);
      for (const fd of free) libc.call("close", fd);
      try {
        assert.throws(() => rig.start(["true"], { terminal }), {
          code: "Internal",
          message: /: krun has no file descriptor left$/,
        });
      } finally {
        libc.setOpenFilesLimit(limit);
        for (const fd of free) assert.equal(libc.open("/dev/null", 0), fd);
      }
      assert.deepEqual(openDescriptors(), before);
    }
    for (const fd of [highest, ...spare]) libc.call("close", fd);
  }
});

Deno.test("A stream with much to say leaves the event loop its turns", async () => {
  await using rig = new SessionRig();
  const program = rig.start(["head", "-c", "300000000", "/dev/zero"]);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  let count = 0;
  for (let bytes; (bytes = await program.output.read());) count += bytes.length;
  clearInterval(timer);
  assert.equal(count, 300_000_000);
  assert.ok(turns > 10, `${turns} turns`);
  program.close();
});
