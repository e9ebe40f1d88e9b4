import assert from "node:assert/strict";
import { join } from "node:path";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import type { ErrorCode, KrunError } from "../core/errors.ts";
import { exitStatus } from "../core/exit_status.ts";
import { descendants, parseProcStat } from "../core/proc_stat.ts";
import { SIGHUP, SIGRTMAX, SIGTTIN, SIGTTOU } from "../core/signals.ts";
import { markOf } from "./container_mark.ts";
import { loadLibc } from "./libc.ts";
import { Processes, type ProcessSpec, type RunningProcess } from "./process.ts";
import { readProcess, readProcesses } from "./process_table.ts";

const libc = loadLibc();
const PATH = Deno.env.get("PATH") ?? "/usr/bin:/bin";

/** A folder that is removed with the test. */
function folder() {
  const path = Deno.makeTempDirSync({ prefix: "krun-process-" });
  return {
    path,
    write(name: string, content: string | Uint8Array, mode = 0o755): string {
      const file = join(path, name);
      if (typeof content === "string") Deno.writeTextFileSync(file, content, { mode });
      else Deno.writeFileSync(file, content, { mode });
      return file;
    },
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

function sh(script: string, ...args: string[]): Pick<ProcessSpec, "argv" | "env" | "stdio"> {
  return { argv: ["sh", "-c", script, "sh", ...args], env: { PATH }, stdio: "null" };
}

function open() {
  return new Processes({ log: new RecordingLog() });
}

Deno.test("Processes.start() reports each of the 256 exit statuses", async () => {
  await using processes = open();
  for (let code = 0; code < 256; code++) {
    const end = await processes.start(sh(`exit ${code}`)).ended;
    assert.deepEqual(end, { kind: "exited", code });
    assert.equal(exitStatus(end), code);
  }
});

/** Signals whose default is not the end of the process: CHLD, CONT, URG, WINCH; STOP, TSTP, TTIN, TTOU; glibc's own. */
const HARMLESS: readonly number[] = [17, 18, 23, 28, 19, 20, 21, 22, 32, 33];

Deno.test("Processes.start() reports each signal that ends a program, real-time signals too, as 128 and its number", async () => {
  await using processes = open();
  for (let signal = 1; signal <= SIGRTMAX; signal++) {
    if (HARMLESS.includes(signal)) continue;
    const end = await processes.start(sh(`ulimit -c 0; kill -${signal} $$; exit 1`)).ended;
    assert.deepEqual(end, { kind: "signaled", signal });
    assert.equal(exitStatus(end), 128 + signal);
  }
});

Deno.test("Processes.start() keeps many ends apart, beside children that Deno waits for itself", async () => {
  await using processes = open();
  const ours = Array.from({ length: 20 }, (_, code) => processes.start(sh(`exit ${code}`)).ended);
  const denos = Array.from(
    { length: 20 },
    (_, code) => new Deno.Command("sh", { args: ["-c", `exit ${code}`] }).output(),
  );
  assert.deepEqual(await Promise.all(ours), Array.from({ length: 20 }, (_, code) => ({ kind: "exited", code })));
  assert.deepEqual((await Promise.all(denos)).map(({ code }) => code), Array.from({ length: 20 }, (_, code) => code));
});

Deno.test("Processes.start() gives exactly the environment, the arguments and the working directory", async () => {
  using here = folder();
  await using processes = open();
  const out = here.write("out", "");
  const script = `{ pwd; printf '%s|' "$@"; env | grep -v -E '^(PWD|SHLVL|OLDPWD|_)='; } > "$0"`;
  const env = { PATH, EMPTY: "", TEXT: "a=b\nÄ", DOLLAR: "$HOME" };
  await processes.start({ argv: ["sh", "-c", script, out, "", "zwei ö", "*"], env, cwd: here.path }).ended;
  const [cwd, args, ...rest] = Deno.readTextFileSync(out).split(/\n|(?<=\*\|)/);
  assert.equal(cwd, Deno.realPathSync(here.path));
  assert.equal(args, "|zwei ö|*|");
  assert.deepEqual(rest.filter(Boolean).sort(), [`PATH=${PATH}`, "EMPTY=", "TEXT=a=b", "Ä", "DOLLAR=$HOME"].sort());
});

Deno.test("Processes.start() makes the program the leader of its own group, in krun's session", async () => {
  using here = folder();
  await using processes = open();
  const out = here.write("out", "");
  const program = processes.start(sh('cat /proc/$$/stat > "$1"', out));
  await program.ended;
  const stat = parseProcStat(Deno.readTextFileSync(out));
  assert.equal(stat?.group, program.pid);
  assert.equal(stat?.session, readProcess(libc, Deno.pid)?.session);
});

Deno.test("Processes.start() opens nothing in the program but 0, 1 and 2, and ignores no signal", async () => {
  using here = folder();
  await using processes = open();
  const out = here.write("out", "");
  using _open = Deno.openSync(out);
  // Descriptor 3 is the folder that ls reads.
  await processes.start(sh('ls -l /proc/self/fd > "$1"; grep -E "Sig(Ign|Cgt|Blk)" /proc/self/status >> "$1"', out))
    .ended;
  const text = Deno.readTextFileSync(out);
  const seen = new Map([...text.matchAll(/ (\d+) -> (\S+)/g)].map(([, fd, to]) => [Number(fd), to]));
  assert.deepEqual([0, 1, 2].map((fd) => seen.get(fd)), ["/dev/null", out, "/dev/null"]);
  assert.deepEqual([...seen.keys()].filter((fd) => fd > 3 && !inheritedFds().includes(fd)), []);
  assert.equal(/SigBlk:\t(\w+)/.exec(text)?.[1], "0000000000000000");
  assert.equal(/SigIgn:\t(\w+)/.exec(text)?.[1], "0000000000000000");
});

/** Descriptors that this process was itself started with, as seen in a child of Deno's own. */
function inheritedFds(): number[] {
  const { stdout } = new Deno.Command("ls", { args: ["/proc/self/fd"] }).outputSync();
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean).map(Number);
}

Deno.test("Processes.start() looks a name up in the PATH of the program's environment, not in krun's", async () => {
  using here = folder();
  await using processes = open();
  here.write("krun-test-program", "#!/bin/sh\nexit 21\n");
  const found = processes.start({ argv: ["krun-test-program"], env: { PATH: `/nonexistent:${here.path}` } });
  assert.deepEqual(await found.ended, { kind: "exited", code: 21 });
  const dot = processes.start({ argv: ["krun-test-program"], env: { PATH: "" }, cwd: here.path });
  assert.deepEqual(await dot.ended, { kind: "exited", code: 21 });
  assert.throws(() => processes.start({ argv: ["krun-test-program"], env: { PATH } }), { code: "ProgramNotFound" });
});

Deno.test("Processes.start() passes over folders and files that are not executable on its way through PATH", async () => {
  using here = folder();
  await using processes = open();
  Deno.mkdirSync(join(here.path, "a/prog"), { recursive: true });
  for (const name of ["b", "c"]) Deno.mkdirSync(join(here.path, name));
  here.write("b/prog", "#!/bin/sh\nexit 1\n", 0o644);
  const env = { PATH: ["a", "b", "c"].map((name) => join(here.path, name)).join(":") };
  assert.throws(() => processes.start({ argv: ["prog"], env }), {
    code: "ProgramNotExecutable",
    message: /it is a folder/,
  });
  here.write("c/prog", "#!/bin/sh\nexit 3\n");
  assert.deepEqual(await processes.start({ argv: ["prog"], env }).ended, { kind: "exited", code: 3 });
});

Deno.test("Processes.start() takes a relative path from the program's working directory", async () => {
  using here = folder();
  await using processes = open();
  here.write("prog", "#!/bin/sh\nexit 4\n");
  const program = processes.start({ argv: ["./prog"], env: { PATH }, cwd: here.path });
  assert.deepEqual(await program.ended, { kind: "exited", code: 4 });
  assert.throws(() => processes.start({ argv: ["./prog"], env: { PATH } }), { code: "ProgramNotFound" });
});

/** An ELF file with a program header that asks for a loader. */
function elf({ machine, loader }: { machine: number; loader?: string }): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  for (const [at, value] of [[16, 2], [18, machine], [52, 64], [54, 56], [56, loader ? 1 : 0]] as const) {
    view.setUint16(at, value, true);
  }
  view.setUint32(20, 1, true);
  view.setUint32(32, 64, true);
  const text = new TextEncoder().encode(`${loader ?? ""}\0`);
  view.setUint32(64, 3, true);
  view.setUint32(64 + 8, 120, true);
  view.setUint32(64 + 32, text.length, true);
  bytes.set(text, 120);
  return bytes;
}

const OWN_MACHINE = Deno.build.arch === "x86_64" ? 62 : 183;

interface Refusal {
  readonly name: string;
  readonly content?: string | Uint8Array;
  readonly mode?: number;
  readonly code: ErrorCode;
  readonly says: RegExp;
}

const REFUSALS: readonly Refusal[] = [
  { name: "does-not-exist", code: "ProgramNotFound", says: /no such file$/ },
  { name: "no-mode", content: "#!/bin/sh\n", mode: 0o644, code: "ProgramNotExecutable", says: /its mode is 0644/ },
  { name: "text", content: "exit 0\n", code: "ProgramNotExecutable", says: /text without an interpreter line/ },
  { name: "empty", content: "", code: "ProgramNotExecutable", says: /it is empty/ },
  {
    name: "lost",
    content: "#!/no/sh\n",
    code: "ProgramNotFound",
    says: /interpreter in its first line, "\/no\/sh", does not/,
  },
  {
    name: "dos",
    content: "#!/bin/sh\r\n",
    code: "ProgramNotFound",
    says: /"\/bin\/sh", is followed by a carriage return/,
  },
  {
    name: "foreign",
    content: elf({ machine: OWN_MACHINE === 62 ? 183 : 62 }),
    code: "ProgramNotExecutable",
    says: /it is built for (aarch64|x86_64), this machine is/,
  },
  {
    name: "musl",
    content: elf({ machine: OWN_MACHINE, loader: "/lib/ld-of-nowhere.so.1" }),
    code: "ProgramNotFound",
    says: /it asks for the loader "\/lib\/ld-of-nowhere.so.1", which does not exist/,
  },
  { name: "damaged", content: elf({ machine: OWN_MACHINE }), code: "ProgramNotExecutable", says: /it is damaged/ },
];

Deno.test("Processes.start() refuses a program with the reason", async (t) => {
  using here = folder();
  await using processes = open();
  for (const { name, content, mode, code, says } of REFUSALS) {
    await t.step(name, () => {
      if (content !== undefined) here.write(name, content, mode);
      assert.throws(() => processes.start({ argv: [join(here.path, name)], env: { PATH } }), { code, message: says });
    });
  }
  await t.step("a folder", () => {
    const start = () => processes.start({ argv: [here.path], env: { PATH } });
    assert.throws(start, { code: "ProgramNotExecutable", message: /it is a folder/ });
  });
  await t.step("a path through a file", () => {
    const start = () => processes.start({ argv: [join(here.write("file", ""), "x")], env: { PATH } });
    assert.throws(start, { code: "ProgramNotFound", message: /a part of its path is not a folder/ });
  });
  await t.step("open for writing", () => {
    using file = Deno.openSync(here.write("busy", elf({ machine: OWN_MACHINE })), { write: true });
    assert.throws(() => processes.start({ argv: [join(here.path, "busy")], env: { PATH } }), {
      code: "ProgramNotExecutable",
      message: /open for writing/,
    });
    file.syncSync();
  });
  await t.step("too much environment", () => {
    const start = () => processes.start({ argv: ["true"], env: { PATH, BIG: "x".repeat(4 << 20) } });
    assert.throws(start, { code: "ProgramNotExecutable", message: /longer than the kernel allows/ });
  });
  await t.step("a working directory that is not there, or a file", () => {
    const start = (cwd: string) => processes.start({ argv: ["true"], env: { PATH }, cwd });
    assert.throws(() => start(join(here.path, "gone")), { code: "PodInvalid", message: /it does not exist/ });
    assert.throws(() => start(join(here.path, "empty")), { code: "PodInvalid", message: /it is not a folder/ });
  });
});

Deno.test("Processes.start() refuses NUL bytes and nameless variables, and does not print a value", async () => {
  await using processes = open();
  const refusal = (spec: Partial<ProcessSpec>): KrunError => {
    try {
      processes.start({ argv: ["true"], env: { PATH }, ...spec });
    } catch (error) {
      return error as KrunError;
    }
    throw new Error("it started");
  };
  const value = refusal({ env: { PATH, KEY: "hunter2\0" } });
  assert.equal(value.code, "PodInvalid");
  assert.match(value.message, /"KEY"/);
  assert.doesNotMatch(value.message, /hunter2/);
  for (
    const spec of [{ env: { "A=B": "" } }, { env: { "": "x" } }, { argv: ["true", "\0"] as const }, { cwd: "/\0" }]
  ) {
    assert.equal(refusal(spec).code, "PodInvalid");
  }
});

Deno.test("RunningProcess.kill() reaches the whole group, and nothing happens when the group is gone", async () => {
  await using processes = open();
  const program = processes.start(sh("sleep 1000 & wait"));
  await waitFor("its child", () => readProcesses(libc).filter((entry) => entry.group === program.pid).length === 2);
  program.kill(15);
  assert.deepEqual(await program.ended, { kind: "signaled", signal: 15 });
  await waitFor("the end of the group", () => readProcesses(libc).every((entry) => entry.group !== program.pid));
  program.kill(9);
});

/** A program that leaves a daemon behind: a session of its own, its parent gone. Resolves to the daemon's pid. */
async function daemon(
  processes: Processes,
  { script, file, container }: { script: string; file: string; container?: string },
): Promise<number> {
  const spec = sh(`env -i setsid sh -c '${script}' daemon "$1" & exec true`, file);
  const program = processes.start({ ...spec, ...(container && { container }) });
  await program.ended;
  return Number(await waitFor("the daemon", () => Deno.readTextFileSync(file).trim()));
}

Deno.test("Processes adopts and reaps an orphan of another session", async () => {
  using here = folder();
  const file = here.write("pid", "");
  await using processes = open();
  const pid = await daemon(processes, { script: 'echo $$ > "$1"; read -r _ < "$1.go"; exit 3', file: fifo(file) });
  assert.equal(readProcess(libc, pid)?.parent, Deno.pid);
  Deno.writeTextFileSync(`${file}.go`, "\n");
  await waitFor("the orphan to be reaped", () => readProcess(libc, pid) === undefined);
});

/** Makes a named pipe beside a file. */
function fifo(file: string): string {
  assert.ok(new Deno.Command("mkfifo", { args: [`${file}.go`] }).outputSync().success);
  return file;
}

Deno.test("Processes.stopAll() ends programs and what they left behind, politely first", async () => {
  using here = folder();
  await using processes = open();
  const file = here.write("pid", "");
  const script = 'trap "echo polite > $1.end; exit" TERM; echo $$ > "$1"; while :; do sleep 0.05; done';
  const pid = await daemon(processes, { script, file });
  const program = processes.start(sh("sleep 1000"));
  await processes.stopAll({ graceMs: 20_000 });
  assert.deepEqual(await program.ended, { kind: "signaled", signal: 15 });
  assert.equal(Deno.readTextFileSync(`${file}.end`), "polite\n");
  assert.ok(!isRunning(pid));
});

Deno.test("Processes.stopAll() kills what ignores SIGTERM, and what is stopped", async () => {
  using here = folder();
  await using processes = open();
  const file = here.write("ready", "");
  const deaf = processes.start(sh('trap "" TERM; echo > "$1"; while :; do sleep 0.05; done', file));
  const stopped = processes.start(sh("kill -STOP $$; exit 5"));
  await waitFor("the trap", () => Deno.statSync(file).size > 0);
  await waitFor("the stop", () => readProcess(libc, stopped.pid)?.state === "T");
  await processes.stopAll({ graceMs: 200 });
  assert.deepEqual(await deaf.ended, { kind: "signaled", signal: 9 });
  assert.deepEqual(await stopped.ended, { kind: "signaled", signal: 15 });
});

function isRunning(pid: number): boolean {
  return readProcesses(libc).some((entry) => entry.pid === pid && entry.state !== "Z");
}

/** Says its pid, starts a process in a session of its own, and lives on. */
const WITH_CHILD = 'trap "" TERM HUP; echo $$ > "$1"; setsid sleep 1000 & while :; do sleep 0.05; done';

Deno.test("Processes.endContainer() ends what a container left behind, and nothing of another one", async () => {
  using here = folder();
  await using processes = open();
  const [one, two] = await Promise.all(["one", "two"].map((container) => {
    return daemon(processes, { script: WITH_CHILD, file: here.write(container, ""), container });
  })) as [number, number];
  const probe = processes.start({ ...sh("sleep 1000"), container: "one" });
  const other = processes.start({ ...sh("sleep 1000"), container: "two" });
  const childOf = (pid: number) => descendants(readProcesses(libc), pid).find((entry) => entry.group !== pid)?.pid;
  const [sleeper, survivor] = await waitFor("their children", () => {
    const children = [childOf(one), childOf(two)];
    return children.every((pid) => pid !== undefined) ? children as number[] : undefined;
  });
  await processes.endContainer("one");
  for (const pid of [one, sleeper!, probe.pid]) assert.ok(!isRunning(pid));
  for (const pid of [two, survivor!, other.pid]) assert.ok(isRunning(pid));
  await processes.endContainer("two");
  for (const pid of [two, survivor!, other.pid]) assert.ok(!isRunning(pid));
});

Deno.test("Processes.endContainer() ends what is left of the only container, also without a mark", async () => {
  using here = folder();
  await using processes = open();
  const unmarked = 'prlimit --pid $$ --locks=unlimited; echo $$ > "$1"; while :; do sleep 0.05; done';
  const pid = await daemon(processes, { script: unmarked, file: here.write("pid", ""), container: "one" });
  assert.equal(markOf(libc, pid), undefined);
  await processes.endContainer("one");
  assert.ok(!isRunning(pid));
});

Deno.test("RunningProcess.kill() gives SIGTTIN and SIGTTOU to a program that handles them, and stops none that does not", async () => {
  using here = folder();
  await using processes = open();
  const [heard, other] = [here.write("heard", ""), here.write("other", "")];
  const script =
    'trap "echo in >> $1" TTIN; trap "echo out >> $1" TTOU; (trap - TTIN TTOU; sleep 1000) & echo up > "$1"; ';
  const wait = "while :; do sleep 0.02; done";
  const handler = processes.start(sh(script + wait, heard));
  const plain = processes.start(sh(`trap "echo told >> $1" HUP; echo up > "$1"; ${wait}`, other));
  await waitFor("both", () => [heard, other].every((file) => Deno.readTextFileSync(file) === "up\n"));
  for (const [signal, word] of [[SIGTTIN, "in"], [SIGTTOU, "out"]] as const) {
    for (const program of [handler, plain]) program.kill(signal);
    await waitFor(word, () => Deno.readTextFileSync(heard).includes(word));
  }
  plain.kill(SIGHUP);
  await waitFor("its answer", () => Deno.readTextFileSync(other).includes("told"));
  const group = readProcesses(libc).filter((entry) => [handler.pid, plain.pid].includes(entry.group));
  assert.deepEqual(group.filter((entry) => entry.state === "T"), []);
  // The control: sent to the group, it stops what does not handle it. A shell that has just begun a child by vfork waits for that.
  libc.kill(-plain.pid, SIGTTIN);
  const plainGroup = () => readProcesses(libc).filter((entry) => entry.group === plain.pid);
  await waitFor("the stop", () => plainGroup().some(({ state }) => state === "T"));
});

Deno.test("Processes.stopAll() leaves alone what the embedding program started itself", async () => {
  const stranger = new Deno.Command("sh", { args: ["-c", "sleep 1000 & wait"] }).spawn();
  const family = () => [stranger.pid, ...descendants(readProcesses(libc), stranger.pid).map((entry) => entry.pid)];
  const [, child = 0] = await waitFor("its child", () => family().length === 2 ? family() : undefined);
  {
    await using processes = open();
    processes.start(sh("sleep 1000"));
  }
  assert.ok(isRunning(stranger.pid) && isRunning(child));
  for (const pid of [child, stranger.pid]) libc.kill(pid, 9);
  await stranger.status;
});

Deno.test("Processes ends everything when it is disposed of", async () => {
  let program: RunningProcess;
  {
    await using processes = open();
    program = processes.start(sh("sleep 1000"));
  }
  assert.deepEqual(await program.ended, { kind: "signaled", signal: 9 });
});

Deno.test("Processes.start() hands over a program's output line by line, to the last one, its children's too", async () => {
  await using processes = open();
  const lines: string[] = [];
  const script = 'echo one; echo two >&2; (sleep 0.1; echo late; printf end) & printf "half"; sleep 0.05; echo " line"';
  await processes.start({ ...sh(script), stdio: "stdin-null", onLine: (line) => lines.push(line) }).ended;
  await waitFor("the last line", () => lines.includes("end"));
  assert.deepEqual(lines, ["one", "two", "half line", "late", "end"]);
});

Deno.test("Processes.start() reads the output of many programs at once, and of one that says much, without a thread for each", async () => {
  await using processes = open();
  const counts = new Map<number, number>();
  const ends = Array.from({ length: 50 }, (_, index) => {
    const onLine = () => counts.set(index, (counts.get(index) ?? 0) + 1);
    return processes.start({ ...sh("read -r line; seq 1 1000"), stdio: "null", onLine }).ended;
  });
  const quiet = processes.start({ ...sh("sleep 1000"), stdio: "stdin-null", onLine: () => {} });
  await Promise.all(ends);
  // Whoever reads a file needs a thread of the same pool.
  await Deno.readTextFile(new URL(import.meta.url));
  await waitFor("every line", () => [...counts.values()].reduce((sum, count) => sum + count, 0) === 50_000);
  quiet.kill(9);
});

Deno.test("Processes.start() with signalAlone signals the program, not its children, but for SIGKILL", async () => {
  await using processes = open();
  const lines: string[] = [];
  const script =
    `trap 'echo stopped; exit 0' TERM; sh -c 'trap "echo child" TERM; echo up; while :; do sleep 0.05; done' & wait`;
  const program = processes.start({
    ...sh(script),
    stdio: "stdin-null",
    signalAlone: true,
    onLine: (line) => lines.push(line),
  });
  await waitFor("the child", () => lines.includes("up"));
  program.kill(15);
  assert.deepEqual(await program.ended, { kind: "exited", code: 0 });
  // A line can arrive after the end; the child's would be there before this one.
  await waitFor("the last line", () => lines.includes("stopped"));
  assert.deepEqual(lines, ["up", "stopped"]);
  program.kill(9);
});
