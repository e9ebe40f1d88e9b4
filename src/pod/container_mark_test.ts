import assert from "node:assert/strict";
import { SIGKILL } from "../core/signals.ts";
import { containerMark, isRunMark, markCall, markOf, newRunMark, runOfMark } from "./container_mark.ts";
import { loadLibc } from "./libc.ts";
import { spawn } from "./spawn.ts";

const libc = loadLibc();

/** Starts a program with a mark, and gives what is seen of its mark before it is killed and reaped. */
function seenMark(mark: bigint): bigint | undefined {
  const pid = spawn(libc, { path: "/bin/sleep", argv: ["sleep", "1000"], env: {} }, { before: [markCall(libc, mark)] });
  assert.ok(pid > 0, `${pid}`);
  const seen = markOf(libc, pid);
  libc.kill(pid, SIGKILL);
  assert.equal(libc.call("wait4", pid, 0, 0, 0), pid);
  return seen;
}

Deno.test("markCall() marks what is started with it, and krun itself never", () => {
  const before = markOf(libc, Deno.pid);
  const mark = containerMark(newRunMark(), 1);
  assert.equal(seenMark(mark), mark);
  assert.equal(markOf(libc, Deno.pid), before);
});

Deno.test("markOf() gives undefined for a process that is gone", () => {
  assert.equal(markOf(libc, 0x7fffffff), undefined);
});

Deno.test("containerMark() gives numbers that differ, tell their run, and that the kernel takes", () => {
  const runs = Array.from({ length: 100 }, newRunMark);
  assert.equal(new Set(runs).size, runs.length);
  const marks = runs.flatMap((run) => [1, 2, 1000].map((number) => containerMark(run, number)));
  assert.equal(new Set(marks).size, marks.length);
  for (const mark of marks) {
    assert.ok(mark >= 1n << 62n && mark < 1n << 63n);
    assert.ok(runs.includes(runOfMark(mark)));
    assert.ok(isRunMark(mark));
  }
  for (const mark of marks.slice(0, 9)) assert.equal(seenMark(mark), mark);
});

Deno.test("isRunMark() is no to what anybody else sets", () => {
  for (const limit of [0n, 1024n, newRunMark(), 1n << 61n, (1n << 64n) - 1n]) {
    assert.ok(!isRunMark(limit), `${limit}`);
  }
});
