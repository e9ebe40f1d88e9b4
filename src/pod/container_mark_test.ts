import assert from "node:assert/strict";
import { containerMark, isRunMark, markOf, newRunMark, runOfMark, withMark } from "./container_mark.ts";
import { loadLibc } from "./libc.ts";

const libc = loadLibc();

/** Starts a program that ends with its standard input. */
function reader(...argv: [string, ...string[]]) {
  const [program, ...args] = argv;
  const child = new Deno.Command(program, { args, stdin: "piped" }).spawn();
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await child.status;
    },
  };
}

Deno.test("withMark() marks what is started meanwhile, and krun itself no longer", async () => {
  const mark = containerMark(newRunMark(), 1);
  const before = markOf(libc, Deno.pid);
  await using inside = withMark(libc, mark, () => reader("cat"));
  await using outside = reader("cat");
  assert.equal(markOf(libc, inside.pid), mark);
  assert.deepEqual([markOf(libc, Deno.pid), markOf(libc, outside.pid)], [before, before]);
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
    assert.equal(withMark(libc, mark, () => markOf(libc, Deno.pid)), mark);
  }
});

Deno.test("withMark() gives back the limit when its body throws", () => {
  const before = markOf(libc, Deno.pid);
  const fail = () => {
    throw new RangeError("of the body");
  };
  assert.throws(() => withMark(libc, newRunMark(), fail), RangeError);
  assert.equal(markOf(libc, Deno.pid), before);
});

Deno.test("isRunMark() is no to what anybody else sets", () => {
  for (const limit of [0n, 1024n, newRunMark(), 1n << 61n, (1n << 64n) - 1n]) {
    assert.ok(!isRunMark(limit), `${limit}`);
  }
});
