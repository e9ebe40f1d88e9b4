import assert from "node:assert/strict";
import { FORWARDED, signalName } from "../core/signals.ts";
import { startRunner } from "../../tests/runner_process.ts";
import { waitFor } from "../../tests/wait.ts";
import { loadLibc } from "./libc.ts";
import { obeySignals, receiveSignals } from "./signals.ts";

const libc = loadLibc();

/** A program without children that says "ready", then "got <number>." for each of the given signals, until it is killed. */
function listener(signals: readonly number[]): string[] {
  const traps = signals.map((signal) => `trap "echo got ${signal}." ${signal}`).join("\n");
  // It waits for a line from a named pipe that nobody writes to.
  const wait = "p=$(mktemp -u) && mkfifo $p && exec 3<>$p && rm $p && echo ready\nwhile :; do read -r _ <&3; done";
  return ["sh", "-c", `${traps}\n${wait}`];
}

Deno.test("receiveSignals() passes every signal that can be caught on to the program, once", async () => {
  await using runner = startRunner({ program: listener(FORWARDED) });
  await runner.sees("stdout", /ready/);
  for (const signal of FORWARDED) {
    assert.equal(libc.kill(runner.pid, signal), 0);
    await runner.sees("stdout", new RegExp(`got ${signal}\\.`));
  }
  const got = [...runner.stdout.matchAll(/got (\d+)\./g)].map(([, signal]) => Number(signal));
  assert.deepEqual(got.filter((signal) => signal !== 18), FORWARDED.filter((signal) => signal !== 18));
});

Deno.test("receiveSignals() loses none of many real-time signals, which the kernel queues", async () => {
  let count = 0;
  await using _signals = receiveSignals((signal) => void (count += signal === 34 ? 1 : 0));
  const script = `i=0; while [ $i -lt 300 ]; do kill -34 ${Deno.pid}; i=$((i+1)); done`;
  assert.ok((await new Deno.Command("sh", { args: ["-c", script] }).output()).success);
  await waitFor("300 signals", () => count === 300);
});

Deno.test("receiveSignals() gives back what it took, and can begin again", async () => {
  const before = signalsCaught();
  for (const expected of ["HUP", "USR1"]) {
    const got: string[] = [];
    await using _signals = receiveSignals((signal) => got.push(signalName(signal)));
    await new Deno.Command("sh", { args: ["-c", `kill -${expected} ${Deno.pid}`] }).output();
    await waitFor(expected, () => got.includes(expected));
    // A signal of krun to itself is not for the program: it never comes.
    Deno.kill(Deno.pid, "SIGWINCH");
    await new Deno.Command("sh", { args: ["-c", `kill -URG ${Deno.pid}`] }).output();
    await waitFor("URG", () => got.includes("URG"));
    assert.deepEqual(got, [expected, "URG"]);
  }
  // What Deno itself catches from the first listener on stays: HUP, INT, TERM, USR1.
  const after = signalsCaught();
  assert.equal(after & ~before & ~signalSet([1, 2, 10, 15]), 0n);
});

/** One signal of another process. It is this thread's before the other one has ended: more might wait for other threads. */
function send(signal: number): void {
  assert.ok(new Deno.Command("sh", { args: ["-c", `kill -${signal} ${Deno.pid}`] }).outputSync().success);
}

Deno.test("obeySignals() hands the receiver what came before, and nothing more", async () => {
  const got: number[] = [];
  const before = signalsCaught();
  await using _signals = receiveSignals((signal) => got.push(signal));
  send(40);
  await obeySignals();
  assert.deepEqual(got, [40]);
  assert.equal(signalsCaught() & signalSet([1, 2, 3, 15, 20]) & ~before, 0n);
  send(41);
  await obeySignals();
  assert.deepEqual(got, [40]);
});

function signalsCaught(): bigint {
  return BigInt(`0x${/SigCgt:\t(\w+)/.exec(libc.procText("/proc/self/status") ?? "")?.[1]}`);
}

function signalSet(signals: readonly number[]): bigint {
  return signals.reduce((set, signal) => set | 1n << BigInt(signal - 1), 0n);
}

Deno.test("receiveSignals() leaves a signal ignored that krun was started with ignored, and so does the program", async () => {
  const under = ["sh", "-c", 'trap "" HUP USR2; exec "$@"', "sh"];
  const [sh = "", flag = "", script = ""] = listener([15]);
  await using runner = startRunner({ under, program: [sh, flag, `grep SigIgn /proc/self/status\n${script}`] });
  await runner.sees("stdout", /ready/);
  assert.match(runner.stdout, /SigIgn:\t0000000000000801/);
  libc.kill(runner.pid, 1);
  libc.kill(runner.pid, 15);
  await runner.sees("stdout", /got 15/);
});

Deno.test("receiveSignals() keeps SIGUSR1 from opening a debugger, and the program gets it", async () => {
  await using runner = startRunner({ program: listener([10]) });
  await runner.sees("stdout", /ready/);
  // A program without protection, started later: when it answers, the half second has passed for both.
  await using control = plainDeno();
  await control.listening;
  for (let count = 0; count < 3; count++) {
    libc.kill(runner.pid, 10);
    await waitFor("the signal", () => runner.stdout.split("got 10.").length > count + 1);
  }
  assert.doesNotMatch(runner.stderr, /Debugger|inspector/);
  assert.deepEqual(listeningSockets(runner.pid), []);
});

/** The negative control: where Deno opens a debugger on SIGUSR1, wait until it did, or tried to. */
function plainDeno() {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      'Deno.addSignalListener("SIGUSR1", () => console.log("heard")); setInterval(() => {}, 1e6); console.log("up")',
    ],
    stdout: "piped",
    stderr: "piped",
    stdin: "null",
  }).spawn();
  let text = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const chunk of stream) text += new TextDecoder().decode(chunk);
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const [major = 0, minor = 0, patch = 0] = Deno.version.deno.split(".").map(Number);
  const opens = major > 2 || minor > 9 || (minor === 9 && patch >= 2);
  return {
    listening: waitFor("the debugger of an unprotected Deno", () => {
      if (text.includes("up")) child.kill("SIGUSR1");
      return (opens ? /Debugger listening|start inspector server/ : /heard/).test(text);
    }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reading;
    },
  };
}

/** The TCP sockets of a process that listen, as inode numbers. */
function listeningSockets(pid: number): string[] {
  const LISTEN = "0A";
  const tables = ["tcp", "tcp6"].map((name) => libc.procText(`/proc/${pid}/net/${name}`) ?? "").join("");
  const listening = tables.split("\n").map((line) => line.trim().split(/\s+/)).filter((field) => field[3] === LISTEN);
  const inodes = new Set(listening.map((field) => `socket:[${field[9]}]`));
  const targets = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return ""; // Closed since the listing.
    }
  });
  return targets.filter((target) => inodes.has(target));
}
