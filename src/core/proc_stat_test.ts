import assert from "node:assert/strict";
import fc from "fast-check";
import {
  descendants,
  isExiting,
  isKernelThread,
  isOrphanedGroup,
  parseProcStat,
  type ProcessStat,
  programFamily,
} from "./proc_stat.ts";

const LINE = "8123 (sh) S 1 8123 77 34816 8123 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 2 3\n";

Deno.test("parseProcStat() reads parent, group, session and start time", () => {
  const expect = { pid: 8123, state: "S", parent: 1, group: 8123, session: 77, startTicks: 987654 };
  assert.deepEqual(parseProcStat(LINE), expect);
});

Deno.test("parseProcStat() is not misled by a process's name, which the process chooses", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => {
    assert.deepEqual(parseProcStat(LINE.replace("(sh)", () => `(${name})`)), parseProcStat(LINE));
  }));
  assert.equal(parseProcStat(LINE.replace("sh", ") Z 1 1 1 1 1 1"))?.state, "S");
});

Deno.test("parseProcStat() gives undefined for what is not a line of stat", () => {
  for (const text of ["", "8123 (sh", "8123 (sh) S 1 2", "x (sh) S 1"]) {
    assert.equal(parseProcStat(text), undefined, text);
  }
  fc.assert(fc.property(fc.string(), (text) => void parseProcStat(text)));
});

Deno.test("isKernelThread() tells kthreadd from a process that calls itself so", () => {
  assert.ok(isKernelThread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n"));
  assert.ok(!isKernelThread(LINE));
  assert.ok(!isKernelThread(LINE.replace("(sh)", "(kthreadd) S 0 0 0 0 -1 2129984)")));
  fc.assert(fc.property(fc.string(), (text) => assert.ok(!isKernelThread(text))));
});

Deno.test("isExiting() tells a process in the midst of its end", () => {
  assert.ok(isExiting("9 (sh) R 1 9 9 0 -1 4194564 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n"));
  assert.ok(!isExiting(LINE));
  fc.assert(fc.property(fc.string(), (text) => assert.ok(!isExiting(text))));
});

function entry(pid: number, parent: number, rest: Partial<ProcessStat> = {}): ProcessStat {
  return { pid, parent, state: "S", group: pid, session: 1, startTicks: 0, ...rest };
}

const pids = (entries: readonly ProcessStat[]) => entries.map((one) => one.pid).sort((a, b) => a - b);

Deno.test("descendants() finds grandchildren in any order, not the root, not strangers, not zombies", () => {
  const table = [entry(7, 6), entry(6, 5), entry(5, 2), entry(9, 1), entry(2, 1), entry(8, 5, { state: "Z" })];
  assert.deepEqual(pids(descendants(table, 2)), [5, 6, 7]);
});

Deno.test("descendants() passes through a zombie to the child that it still has", () => {
  assert.deepEqual(pids(descendants([entry(5, 2, { state: "Z" }), entry(6, 5)], 2)), [6]);
});

Deno.test("programFamily() takes the group, the descendants and the sessions they lead", () => {
  const table = [
    entry(50, 1),
    entry(51, 1, { group: 50 }), // its parent is gone, the group has remained
    entry(52, 50, { group: 52, session: 52 }), // a child that made a session
    entry(53, 1, { group: 53, session: 52 }), // an orphan in that session
    entry(60, 1), // a neighbour in the session of all
  ];
  assert.deepEqual(pids(programFamily(table, 50)), [50, 51, 52, 53]);
});

Deno.test("isOrphanedGroup() is false while a shell of the same session stands above the group", () => {
  const shell = entry(10, 1, { session: 10 });
  const krun = entry(20, 10, { session: 10 });
  assert.equal(isOrphanedGroup([shell, krun], 20), false);
  const script = [entry(20, 10, { session: 10 }), entry(21, 20, { group: 20, session: 10 })];
  assert.equal(isOrphanedGroup([shell, ...script], 20), false);
});

Deno.test("isOrphanedGroup() is true for a session leader, PID 1, and when the shell is gone", () => {
  assert.equal(isOrphanedGroup([entry(10, 5, { session: 10 }), entry(5, 1)], 10), true);
  assert.equal(isOrphanedGroup([entry(1, 0)], 1), true);
  assert.equal(isOrphanedGroup([entry(20, 1, { session: 10 }), entry(1, 0)], 20), true);
});
