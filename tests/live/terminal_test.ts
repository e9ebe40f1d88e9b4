// krun's processes at a real terminal, under a real shell with job control.
import assert from "node:assert/strict";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { runnerArgv } from "../runner_process.ts";
import { waitFor } from "../wait.ts";
import { CTRL_C, CTRL_Z, ENTER, TerminalSession } from "./terminal.ts";

const libc = loadLibc();

/** An interactive shell in which `krun` is the runner, and `loud` the runner with its log on the terminal. */
async function shell(): Promise<TerminalSession> {
  const words = runnerArgv({ program: [] }).map((word) => `'${word}'`).join(" ");
  const session = new TerminalSession(["bash", "--norc", "--noprofile", "--noediting", "-i"], { PS1: "PROMPT> " });
  await session.sees(/PROMPT> /);
  await session.type(`krun() { ${words} "$@" 2>/dev/null; }; loud() { ${words} "$@"; }${ENTER}`);
  await session.sees(/PROMPT> /);
  await session.type(`set -o monitor; tty${ENTER}`);
  await session.sees(/\/dev\/pts\/\d+/);
  await session.sees(/PROMPT> /);
  return session;
}

/** A runner and its program carry the same last argument; the program is the child. */
function pair(marker: string) {
  const all = readProcesses(libc).filter((entry) =>
    libc.procText(`/proc/${entry.pid}/cmdline`)?.endsWith(`\0${marker}\0`)
  );
  const program = all.find((entry) => all.some((other) => other.pid === entry.parent));
  return { program, krun: all.find((entry) => entry.pid === program?.parent) };
}

async function waitForPair(marker: string, wanted: RegExp): Promise<void> {
  await waitFor(`krun and ${marker} in state ${wanted}`, () => {
    const { program, krun } = pair(marker);
    return program && krun && wanted.test(program.state) && wanted.test(krun.state);
  });
}

Deno.test("Ctrl-C reaches the program once, and the shell gets the program's status", async () => {
  await using bash = await shell();
  const script =
    'trap "echo int" INT; trap "echo two" USR2; trap "exit 5" TERM; echo u""p; while :; do read -t 1 x; done';
  await bash.type(`krun bash -c '${script}' ctrl-c; echo status=$?${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(CTRL_C);
  await bash.sees(/\^C?int\r|int\r/);
  const { krun } = pair("ctrl-c");
  assert.ok(krun);
  libc.kill(krun.pid, 12);
  await bash.sees(/two\r/);
  libc.kill(krun.pid, 15);
  await bash.sees(/status=5\r/);
  assert.equal(bash.screen.match(/int\r/g)?.length, 1);
  await bash.sees(/PROMPT> /);
});

Deno.test("Ctrl-Z stops program and krun, fg continues both, and the program can read the terminal", async () => {
  await using bash = await shell();
  await bash.type(`krun sh -c 'echo u""p; read line; echo "got $line"' ctrl-z; echo status=$?${ENTER}`);
  await bash.sees(/\bup\r/);
  for (let round = 0; round < 3; round++) {
    await bash.type(CTRL_Z);
    await bash.sees(/Stopped/);
    await bash.sees(/PROMPT> /);
    await waitForPair("ctrl-z", /T/);
    await bash.type(`fg${ENTER}`);
    await waitForPair("ctrl-z", /S/);
  }
  await bash.type(`hello${ENTER}`);
  await bash.sees(/got hello\r/);
  await bash.sees(/PROMPT> /);
  await bash.type(`echo ba""ck${ENTER}`);
  await bash.sees(/\bback\r/);
});

Deno.test("After Ctrl-Z and fg the program gets SIGCONT once", async () => {
  await using bash = await shell();
  const script = 'trap "echo go""ne on" CONT; trap "echo tw""o" USR2; echo u""p; while :; do read -t 1 x; done';
  await bash.type(`krun bash -c '${script}' once${ENTER}`);
  await bash.sees(/\bup\r/);
  for (let round = 1; round <= 5; round++) {
    await bash.type(CTRL_Z);
    await bash.sees(/Stopped/);
    await bash.sees(/PROMPT> /);
    await waitForPair("once", /T/);
    await bash.type(`fg${ENTER}`);
    await bash.sees(/gone on\r/);
    // krun passes signals on in their order: had it one more SIGCONT, that would come first.
    libc.kill(pair("once").krun?.pid ?? 0, 12);
    await bash.sees(/two\r/);
    assert.equal(bash.screen.match(/gone on\r/g)?.length, round);
  }
  // The control: sent to krun by somebody else, it reaches the program.
  libc.kill(pair("once").krun?.pid ?? 0, 18);
  await bash.sees(/gone on\r/);
  await bash.type(CTRL_C);
});

Deno.test("SIGTTIN and SIGTTOU of another process are the program's, and stop neither it nor krun", async () => {
  await using bash = await shell();
  const script = 'trap "echo mo""re" TTIN; trap "echo le""ss" TTOU; echo u""p; while :; do read -t 1 x; done';
  await bash.type(`krun bash -c '${script}' workers${ENTER}`);
  await bash.sees(/\bup\r/);
  for (const [signal, answer] of [[21, /more\r/], [22, /less\r/]] as const) {
    libc.kill(pair("workers").krun?.pid ?? 0, signal);
    await bash.sees(answer);
    await waitForPair("workers", /S/);
  }
  await bash.type(CTRL_C);
  await bash.sees(/PROMPT> /);
});

Deno.test("krun writes its log from the background, also where the terminal stops background writers", async () => {
  await using bash = await shell();
  await bash.type(`stty tostop${ENTER}`);
  await bash.sees(/PROMPT> /);
  await bash.type(`loud sh -c 'exit 3' </dev/null >/dev/null & wait $!; echo status=$?${ENTER}`);
  await bash.sees(/runner: program ended[^]*status=3\r/);
  // The control: another writer in the background is stopped.
  await bash.type(`sh -c 'echo written; exit 4' & wait $!; echo status=$?${ENTER}`);
  await bash.sees(/status=150\r/);
  await bash.type(`kill -9 %%${ENTER}`);
});

Deno.test("Ctrl-Z stops the whole job when krun stands in a pipeline", async () => {
  await using bash = await shell();
  await bash.type(`krun sh -c 'echo u""p; read line </dev/tty; echo "got $line"' pipeline | cat${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(CTRL_Z);
  await bash.sees(/Stopped/);
  await waitForPair("pipeline", /T/);
  await bash.type(`fg${ENTER}`);
  await waitForPair("pipeline", /S/);
  await bash.type(`hello${ENTER}`);
  await bash.sees(/got hello\r/);
  await bash.sees(/PROMPT> /);
});

Deno.test("In a pipeline the others keep the terminal, and Ctrl-C still reaches the program", async () => {
  await using bash = await shell();
  // As a pager reads the keys while it is fed.
  const pager = '(read line; echo "$line"; read line </dev/tty; echo "page $line"; cat)';
  await bash.type(`krun sh -c 'echo u""p; exec sleep 1000' | ${pager}${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(`down${ENTER}`);
  await bash.sees(/page down\r/);
  await bash.type(CTRL_C);
  await bash.sees(/PROMPT> /);

  const script = 'trap "echo in""t; exit 5" INT; echo u""p; while :; do sleep 1000 & wait; done';
  await bash.type(`krun bash -c '${script}' piped | (trap "" INT; cat); echo status=\${PIPESTATUS[0]}${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(CTRL_C);
  await bash.sees(/int\r[^]*status=5\r/);
});

Deno.test("bg lets the program run without the terminal; reading stops it, and fg gives it the terminal", async () => {
  await using bash = await shell();
  const script =
    'trap "echo gone on" CONT; sleep 1000 & echo u""p; while kill -0 $! 2>/dev/null; do wait; done; read x; echo got $x';
  await bash.type(`krun bash -c '${script}' bg${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(CTRL_Z);
  await bash.sees(/Stopped/);
  await bash.type(`bg${ENTER}`);
  await bash.sees(/gone on\r/);
  await waitForPair("bg", /S/);
  const { program } = pair("bg");
  const sleeper = readProcesses(libc).find((entry) => entry.parent === program?.pid);
  libc.kill(sleeper?.pid ?? 0, 15);
  // It reads now, in the background.
  await waitForPair("bg", /T/);
  await bash.type(`fg${ENTER}`);
  await waitForPair("bg", /S/);
  await bash.type(`hello${ENTER}`);
  await bash.sees(/got hello\r/);
});

Deno.test("A program started in the background gets the terminal with fg, though the shell sends no signal", async () => {
  await using bash = await shell();
  const script = 'trap "read line; echo got \\$line; exit" USR1; sleep 1000 & echo u""p; wait';
  await bash.type(`krun bash -c '${script}' background &${ENTER}`);
  await bash.sees(/\bup\r/);
  await bash.type(`fg${ENTER}`);
  await bash.sees(/krun bash -c[^\r]*\r/);
  const { krun } = pair("background");
  // The shell has made krun the foreground; the program's group is not, until it reads.
  await waitFor("krun in the foreground", () => foregroundOf(krun?.pid ?? 0) === krun?.group);
  libc.kill(krun?.pid ?? 0, 10);
  await waitFor(
    "the program in the foreground",
    () => foregroundOf(krun?.pid ?? 0) === pair("background").program?.group,
  );
  await bash.type(`hello${ENTER}`);
  await bash.sees(/got hello\r/);
});

/** The foreground group of a process's terminal (tpgid of /proc/<pid>/stat). */
function foregroundOf(pid: number): number {
  return Number(libc.procText(`/proc/${pid}/stat`)?.split(") ")[1]?.split(" ")[5]);
}

Deno.test("A new window size is seen by the program", async () => {
  await using bash = await shell();
  // Said by bash itself, once stty has ended: a SIGINT while it waits for another program does not end it.
  const script = 'tty; trap "echo \\$(stty size)" WINCH; echo u""p; while :; do read -t 1 x; done';
  await bash.type(`krun bash -c '${script}' window${ENTER}`);
  const [tty] = await bash.sees(/\/dev\/pts\/\d+/);
  await bash.sees(/\bup\r/);
  // Both numbers at once, which stty does not: bash loses a signal that comes while it runs the trap for the one before.
  const resize = "import fcntl, struct, sys, termios\n" +
    "fcntl.ioctl(open(sys.argv[1]), termios.TIOCSWINSZ, struct.pack('HHHH', 33, 101, 0, 0))";
  await new Deno.Command("python3", { args: ["-c", resize, tty] }).output();
  await bash.sees(/33 101\r/);
  await bash.type(CTRL_C);
  await bash.sees(/PROMPT> /);
});

Deno.test("The terminal's modes are put back when a signal ended the program, and only then", async () => {
  await using bash = await shell();
  const modes = "stty -a | tr ' ;' '\\n\\n' | grep -x -e '-\\?icanon'";
  await bash.type(`krun sh -c 'stty -icanon; kill -9 $$'; ${modes}; echo do""ne${ENTER}`);
  await bash.sees(/\r\nicanon\r[^]*done\r/);
  // The negative control: a program that means to change the modes.
  await bash.type(`krun sh -c 'stty -icanon'; ${modes}; echo do""ne${ENTER}`);
  await bash.sees(/\r\n-icanon\r[^]*done\r/);
});

Deno.test("Ctrl-Z does not freeze a program under a krun without a shell above it, and Ctrl-C ends it", async () => {
  const script = 'trap "echo gone on" CONT; trap "exit 9" INT; echo up; while :; do read -t 1 x; done';
  await using session = new TerminalSession(runnerArgv({ program: ["bash", "-c", script] }));
  await session.sees(/\bup\r/);
  await session.type(CTRL_Z);
  await session.sees(/gone on\r/);
  await session.type(CTRL_C);
  assert.equal(await session.ended(), 9);
});
