import assert from "node:assert/strict";
import { settle } from "../../tests/fake_clock.ts";
import { waitFor } from "../../tests/wait.ts";
import { loadLibc } from "./libc.ts";
import { openOutput } from "./output_pipe.ts";

const libc = loadLibc();

/** A pipe and its lines. */
function open() {
  const lines: string[] = [];
  return { lines, pipe: openOutput(libc, { owner: undefined, onLine: (line) => lines.push(line) }) };
}

type Trial = ReturnType<typeof open>;

/** Writes bytes that fit into a pipe. */
function write({ pipe }: Trial, bytes: readonly number[] | string): void {
  const all = typeof bytes === "string" ? new TextEncoder().encode(bytes) : new Uint8Array(bytes);
  assert.equal(libc.call("write", pipe.writeFd, all, all.length), all.length);
}

/** All lines, once this process writes no more. */
async function end({ pipe, lines }: Trial): Promise<string[]> {
  pipe.given();
  await pipe.ended;
  return lines;
}

/** A shell whose standard output is the pipe; `$0` is a file. Its first line has come. */
async function shell({ pipe, lines }: Trial, script: string, file = ""): Promise<Deno.ChildProcess> {
  // Whoever opens that path of a pipe gets one more end for writing.
  const args = ["-c", `exec > /proc/${Deno.pid}/fd/${pipe.writeFd}; echo opened; ${script}`, file];
  const child = new Deno.Command("/bin/sh", { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  await waitFor("the shell", () => lines.length > 0);
  return child;
}

Deno.test("openOutput() gives each line when it is written, and the last one without its end when all is over", async () => {
  const trial = open();
  write(trial, "one\ntwo\nthr");
  await waitFor("two lines", () => trial.lines.length === 2);
  write(trial, "ee\n\nrest");
  assert.deepEqual(await end(trial), ["one", "two", "three", "", "rest"]);
});

Deno.test("openOutput() of nothing at all is no line", async () => {
  assert.deepEqual(await end(open()), []);
});

Deno.test("openOutput() takes bytes that are no text, and loses none of the lines around them", async () => {
  const trial = open();
  write(trial, "before\n");
  write(trial, [0xff, 0x00, 0xc3, 0x28, 0x0a]);
  write(trial, [0xe2, 0x82]);
  write(trial, [0xac, 0x0a]);
  write(trial, "after\n");
  assert.deepEqual(await end(trial), ["before", "\ufffd\0\ufffd(", "\u20ac", "after"]);
});

Deno.test("openOutput() cuts a line that is longer than anybody reads, and goes on with the next one", async () => {
  const trial = open();
  const child = await shell(trial, `head -c 150000 /dev/zero | tr '\\0' x; echo; echo next`);
  const lines = await end(trial);
  await child.status;
  assert.deepEqual(lines.map((line) => line.length), ["opened".length, 65_536, 65_536, 150_000 - 2 * 65_536, 4]);
  assert.equal(lines.at(-1), "next");
});

Deno.test("openOutput() ends with the last writer, be it a child that outlives the program", async () => {
  const flag = await Deno.makeTempFile();
  const trial = open();
  const child = await shell(
    trial,
    `(while [ -e "$0" ]; do sleep 0.02; done; echo late; printf end) & echo early`,
    flag,
  );
  let isEnded = false;
  void trial.pipe.ended.then(() => isEnded = true);
  trial.pipe.given();
  await child.status;
  await waitFor("the program's last line", () => trial.lines.length === 2);
  await settle();
  assert.equal(isEnded, false);
  await Deno.remove(flag);
  await trial.pipe.ended;
  assert.deepEqual(trial.lines, ["opened", "early", "late", "end"]);
});

/** The thread that waits for descriptors (readable.ts) hears of a close a moment after it. */
const waitsOn = { sanitizeOps: false };

Deno.test("openOutput() ends by close() although somebody may still write", waitsOn, async () => {
  const trial = open();
  const child = await shell(trial, "exec sleep 1000");
  trial.pipe.given();
  trial.pipe.close();
  await trial.pipe.ended;
  assert.deepEqual(trial.lines, ["opened"]);
  child.kill("SIGKILL");
  await child.status;
});

Deno.test("openOutput() leaves no descriptor behind, however it ends", waitsOn, async () => {
  const count = () => [...Deno.readDirSync("/proc/self/fd")].length;
  await end(open());
  const before = count();
  for (let round = 0; round < 5; round++) {
    await end(open());
    const closed = open();
    closed.pipe.close();
    await end(closed);
  }
  assert.equal(count(), before);
});
