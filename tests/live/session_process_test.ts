// Programs of the debug server's sessions where root is needed or much is: other users, many sessions, much data.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { SessionProcess, SessionSpec } from "../../src/core/session_process.ts";
import { SIGTERM, SIGUSR1 } from "../../src/core/signals.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcess, readProcesses } from "../../src/pod/process_table.ts";
import { startRunner } from "../runner_process.ts";
import type { RunnerOptions } from "../runner_process.ts";
import { isBlocked, openDescriptors, sees, SessionRig, TERMINAL, textOf, type } from "../session_rig.ts";
import { waitFor } from "../wait.ts";

const libc = loadLibc();

const EPERM = 1;

/** Whom no machine knows. */
const USER = { uid: 54_321, gid: 54_322, groups: [7, 8] }, OTHER = { uid: 1111, gid: 1111, groups: [] };

/** Raw: what is written is what is read. */
const RAW = { ...TERMINAL, modes: new Map([36, 38, 50, 51, 53, 59, 70].map((opcode) => [opcode, 0])) };

async function run(options: RunnerOptions) {
  await using runner = startRunner(options);
  return await runner.end;
}

/** What a program shows until its end. */
async function shown(program: SessionProcess): Promise<string> {
  const [output, error] = await Promise.all([textOf(program.output), textOf(program.error)]);
  await program.ended;
  program.close();
  return output.replaceAll("\r\n", "\n") + error;
}

Deno.test("A session's program is its user in every respect, and the owner of what it talks over", async (t) => {
  await using rig = new SessionRig(USER);
  const script = `
    grep -E "^(Uid|Gid|Groups|CapEff|CapPrm)" /proc/self/status
    stat -L -c "%u:%g" /proc/self/fd/1
    true < /dev/tty && echo "has a terminal"
    echo again > /dev/stdout`;
  for (const [name, terminal] of [["pipes", undefined], ["terminal", TERMINAL]] as const) {
    await t.step(name, async () => {
      const program = rig.sh(script, { terminal });
      const output = await shown(program);
      assert.match(output, /^Uid:(\t54321){4}\nGid:(\t54322){4}\nGroups:\t7 8 \nCapPrm:\t0+\nCapEff:\t0+\n54321:/);
      assert.match(output, /\nagain\n/);
      assert.equal(/has a terminal/.test(output), terminal !== undefined, output);
    });
  }
});

Deno.test("A signal is sent as the session's user: what has become root's gets none", async (t) => {
  await using rig = new SessionRig(USER);
  const folder = await Deno.makeTempDir({ prefix: "krun-signal-" });
  await Deno.chmod(folder, 0o755);
  const becomes = join(folder, "becomes");
  await Deno.copyFile("/usr/bin/setpriv", becomes);
  const argv = [becomes, "--reuid=0", "--regid=0", "--clear-groups", "sleep", "1000"] as const;
  const uidsOf = (pid: number) => /^Uid:\t(.*)$/m.exec(libc.procText(`/proc/${pid}/status`) ?? "")?.[1];
  await t.step("the kernel's own judgement: root's process goes on", async () => {
    // As sudo(8) has it: root by each of its ids.
    await Deno.chmod(becomes, 0o4755);
    const program = rig.start(argv);
    await waitFor(
      "root",
      () => uidsOf(program.pid) === "0\t0\t0\t0" && libc.procText(`/proc/${program.pid}/comm`) === "sleep\n",
    );
    program.kill(SIGUSR1);
    const [line] = rig.log.lines.filter(({ event }) => event === "signal could not be sent");
    assert.deepEqual(line?.fields, { pid: program.pid, signal: "USR1", errno: EPERM });
    libc.kill(program.pid, SIGTERM);
    assert.deepEqual(await program.ended, { kind: "signaled", signal: SIGTERM });
    program.close();
  });
  await t.step("the control: the user's own ends by it", async () => {
    const program = rig.start(["sleep", "1000"]);
    program.kill(SIGUSR1);
    assert.deepEqual(await program.ended, { kind: "signaled", signal: SIGUSR1 });
    program.close();
    assert.equal(rig.log.lines.filter(({ event }) => event === "signal could not be sent").length, 1);
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("A program that was reaped gets no signal, nor does what has its number", async () => {
  for (const user of [USER, undefined]) {
    await using rig = new SessionRig(user);
    // What is left of the group stands for whoever gets the number: by that it would be reached.
    const script =
      `sh -c 'trap "echo told" USR1; trap "echo over; exit" TERM; echo $$; while :; do sleep 0.05; done' & exit 0`;
    const program = rig.sh(script);
    await program.ended;
    const left = Number(new TextDecoder().decode(await program.output.read()));
    assert.equal(readProcess(libc, left)?.group, program.pid);
    program.kill(SIGUSR1);
    libc.kill(left, SIGTERM);
    assert.equal(await textOf(program.output), "over\n");
    program.close();
  }
});

Deno.test("Nobody but its user may open a session's terminal", async () => {
  await using rig = new SessionRig(USER);
  await using others = new SessionRig(OTHER);
  const program = rig.start(["sleep", "1000"], { terminal: TERMINAL });
  const path = program.terminalPath!;
  const { uid, gid, mode } = Deno.statSync(path);
  assert.deepEqual([uid, gid, mode! & 0o777], [USER.uid, USER.gid, 0o600]);
  for (const script of [': < "$1" && echo read', 'echo x > "$1" && echo written']) {
    assert.match(await shown(others.sh(script, { args: [path] })), /Permission denied/);
    // The control: its own user may.
    assert.match(await shown(rig.sh(script, { args: [path] })), /^(read|written)\n$/);
  }
  await program.hangUp({ graceMs: 1000 });
});

Deno.test("A terminal has group and mode that the mount of /dev/pts gives, and needs no right to change owners", async (t) => {
  const program = ["sh", "-c", 'stat -c "%u:%g %a" "$(tty)"'];
  await t.step("none", async () => {
    const under = ["setpriv", "--bounding-set=-chown,-fowner,-dac_override", "--inh-caps=-all"];
    const { stdout, stderr } = await run({ under, options: ["--session=terminal", "--uid=1234"], program });
    assert.equal(stdout, "1234:1234 600\r\n", stderr);
  });
  await t.step("group tty, mode 620", async () => {
    const mount =
      "mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx";
    const under = inNamespace(mount);
    const { stdout, stderr } = await run({ under, options: ["--session=terminal", "--uid=1234"], program });
    assert.equal(stdout, "1234:5 620\r\n", stderr);
  });
});

function inNamespace(mount: string): string[] {
  return ["unshare", "--mount", "sh", "-c", `${mount} && exec "$@"`, "sh"];
}

Deno.test("Where no terminal can be had the reason is told, and pipes work", async (t) => {
  const cases = {
    "there is no /dev/ptmx":
      "mount --rbind /dev /mnt && mount -t tmpfs tmpfs /dev && touch /dev/null && mount --bind /mnt/null /dev/null",
    "no devpts is mounted at /dev/pts": "while umount -l /dev/pts 2>/dev/null; do :; done",
    "/dev/ptmx is of no use (error number 25)": "mount --bind /dev/null /dev/ptmx",
    "the session's user may not open /dev/ptmx":
      "cp -a /dev/ptmx /dev/krun-ptmx && chmod 600 /dev/krun-ptmx && mount --bind /dev/krun-ptmx /dev/ptmx && rm /dev/krun-ptmx",
  };
  for (const [state, mount] of Object.entries(cases)) {
    await t.step(state, async () => {
      const under = inNamespace(mount);
      const options = ["--uid=1234"];
      const { code, stderr } = await run({ under, options: ["--session=terminal", ...options], program: ["true"] });
      assert.equal(code, 125, stderr);
      assert.ok(stderr.includes(`krun: Internal: Cannot open a terminal for program "true": ${state}; `), stderr);
      const { stdout } = await run({ under, options: ["--session=pipes", ...options], program: ["echo", "works"] });
      assert.equal(stdout, "works\n");
    });
  }
});

Deno.test("Sessions work with limited permissions after ffi was given up, as another user and as krun's own", async () => {
  const permissions = ["--allow-read", "--allow-env", "--allow-ffi", "--allow-write=/tmp"];
  for (const uid of [[], ["--uid=1234"]]) {
    const program = ["sh", "-c", "id -u; seq 1 100000; tty; stty size; exit 3"];
    const last = { pipes: /\nnot a tty\n$/, terminal: /\n\/dev\/pts\/\d+\r\n30 90\r\n$/ };
    for (const [kind, end] of Object.entries(last)) {
      const options = ["--revoke", ...uid, `--session=${kind}`];
      const { code, stdout, stderr } = await run({ permissions, options, program });
      assert.equal(code, 3, stderr);
      assert.match(stdout, end);
      assert.equal(stdout.split("\n").length, 100_000 + (kind === "pipes" ? 3 : 4));
      assert.match(stdout, uid.length > 0 ? /^1234\r?\n1\r?\n/ : /^0\r?\n1\r?\n/);
    }
  }
});

Deno.test("Sessions work without root, and refuse to be another user's", async () => {
  const under = ["unshare", "--user", "--map-user=1234", "--map-group=1234"];
  for (const kind of ["pipes", "terminal"]) {
    const options = [`--session=${kind}`];
    const { code, stdout, stderr } = await run({
      under,
      options,
      program: ["sh", "-c", "id -u; : > /dev/stdout; exit 3"],
    });
    assert.deepEqual([code, stdout.trim()], [3, "1234"], stderr);
    const refused = await run({ under, options: [...options, "--uid=4321"], program: ["true"] });
    assert.equal(refused.code, 125);
    assert.match(refused.stderr, /^krun: RunAsDenied: Cannot start program "true" as user 4321, /m);
  }
});

Deno.test("Signals are at their default in a session, and none is blocked, however krun was started", async () => {
  const under = ["env", "--block-signal=USR2,40", "--ignore-signal=HUP,INT,PIPE"];
  for (const session of ["--session=pipes", "--session=terminal"]) {
    const program = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    const { stdout, stderr } = await run({ under, options: [session], program });
    assert.match(stdout, /^SigBlk:\t0+\r?\nSigIgn:\t0+\r?\n/, stderr);
  }
});

Deno.test("A shell has job control: Ctrl-C, Ctrl-Z, fg and bg", async () => {
  await using rig = new SessionRig(USER);
  const env = { PATH: "/usr/bin:/bin", TERM: "dumb", PS1: "> ", HOME: "/tmp" };
  const terminal = { ...TERMINAL, modes: new Map([[53, 0]]) };
  const shell = rig.start(["bash", "--norc", "--noprofile", "--noediting", "-i"], { env, terminal });
  const foreground = async (name: string) => {
    const isThere = () =>
      readProcesses(libc).find((entry) => isForeground(entry.pid, shell.pid) && nameOf(entry.pid) === name);
    return (await waitFor(`${name} in the foreground`, isThere)).pid;
  };
  await sees(shell.output, /> $/);
  await type(shell, "sleep 1000\r");
  const first = await foreground("sleep");
  await type(shell, "\x03");
  await sees(shell.output, /> $/);
  assert.equal(readProcess(libc, first), undefined);
  await type(shell, "echo status $?\r");
  assert.match(await sees(shell.output, /> $/), /status 130/);
  await type(shell, "sleep 1000\r");
  const second = await foreground("sleep");
  await type(shell, "\x1a");
  await sees(shell.output, /Stopped[^]*> $/);
  assert.equal(readProcess(libc, second)?.state, "T");
  await type(shell, "fg\r");
  assert.equal(await foreground("sleep"), second);
  await type(shell, "\x1a");
  await sees(shell.output, /Stopped[^]*> $/);
  await type(shell, "bg; disown -h; exit 4\r");
  await textOf(shell.output);
  assert.deepEqual(await shell.ended, { kind: "exited", code: 4 });
  await shell.hangUp({ graceMs: 10_000 });
  await waitFor("the job to be reaped", () => readProcess(libc, second) === undefined);
});

function nameOf(pid: number): string | undefined {
  return libc.procText(`/proc/${pid}/cmdline`)?.split("\0")[0];
}

/** Whether a process is in the foreground group of its terminal, and in a session (proc_pid_stat(5), fields 5, 6 and 8). */
function isForeground(pid: number, session: number): boolean {
  const fields = libc.procText(`/proc/${pid}/stat`)?.split(" ") ?? [];
  return Number(fields[5]) === session && fields[4] === fields[7];
}

Deno.test("Two hundred sessions at once, hung up at once: nothing stays, and krun's threads are free all the time", async () => {
  await using rig = new SessionRig(USER);
  await rig.start(["true"]).hangUp({ graceMs: 0 });
  const children = () => readProcesses(libc).filter(({ parent }) => parent === Deno.pid).map(({ pid }) => pid);
  const [descriptors, before] = [openDescriptors(), children()];
  // Half of them say and take all that they can, and nobody reads or listens.
  const scripts = [
    "echo ready; sleep 1000 & cat; wait",
    "echo ready; yes & yes >&2",
    "echo ready; trap : HUP; sleep 1000; sleep 1000",
  ];
  const programs = Array.from(
    { length: 200 },
    (_, index) => rig.sh(scripts[index % 3]!, { terminal: index % 2 === 0 ? TERMINAL : undefined }),
  );
  await Promise.all(programs.map(({ output }) => sees(output, /ready/)));
  const waits = programs.filter((_, index) => index % 3 !== 1).map(({ output }) => output.read());
  const writes = programs.map(({ input }) => input.write(new Uint8Array(1 << 20)));
  // Each of these needs a thread of the pool.
  await Promise.all(Array.from({ length: 100 }, () => Deno.readTextFile("/proc/self/stat")));
  await Promise.all(programs.map((program) => program.hangUp({ graceMs: 100 })));
  await Promise.all([...waits, ...writes, ...programs.map(({ ended }) => ended)]);
  assert.deepEqual(openDescriptors(), descriptors);
  // Orphans are krun's to reap, which takes it half a second.
  await waitFor("orphans to be reaped", () => children().every((pid) => before.includes(pid)));
});

Deno.test("Much data goes both ways unharmed, through pipes and through a raw terminal", async (t) => {
  for (const [kind, terminal, size] of [["pipes", undefined, 256 << 20], ["terminal", RAW, 16 << 20]] as const) {
    await t.step(kind, async () => {
      await using rig = new SessionRig(USER);
      const program = rig.start(["head", "-c", String(size)], { terminal });
      const [sent, got] = [createHash("sha256"), createHash("sha256")];
      const reading = (async () => {
        let count = 0;
        for (let bytes; (bytes = await program.output.read());) {
          got.update(bytes);
          count += bytes.length;
        }
        return count;
      })();
      for (const chunk of noise(size)) {
        sent.update(chunk);
        assert.equal(await program.input.write(chunk), true);
      }
      assert.equal(await reading, size);
      assert.equal(got.digest("hex"), sent.digest("hex"));
      program.close();
    });
  }
});

/** Bytes that nobody could mix up unseen, in pieces of all sizes. */
function* noise(size: number): Generator<Uint8Array> {
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  for (let left = size, length = 1; left > 0; length = length * 7 % 65_521) {
    const piece = Math.min(left, length);
    bytes[piece % 1000] = length & 0xff;
    yield bytes.subarray(0, piece);
    left -= piece;
  }
}

Deno.test("A slow reader costs no memory: the program waits", async () => {
  await using rig = new SessionRig(USER);
  const spec: Partial<SessionSpec>[] = [{}, { terminal: TERMINAL }];
  const programs = spec.flatMap((more) => Array.from({ length: 20 }, () => rig.start(["yes"], more)));
  const memory = () => Deno.memoryUsage().rss;
  const slowly = async (times: number) => {
    for (let time = 0; time < times; time++) await Promise.all(programs.map(({ output }) => output.read()));
  };
  await slowly(20);
  const before = memory();
  await slowly(50);
  for (const { pid } of programs) await isBlocked(pid, 4096);
  assert.ok(memory() - before < 20 << 20, `${memory() - before} bytes more`);
  await Promise.all(programs.map((program) => program.hangUp({ graceMs: 10_000 })));
});
