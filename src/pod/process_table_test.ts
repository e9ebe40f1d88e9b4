import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { readProcess, readProcesses } from "./process_table.ts";

const libc = loadLibc();

Deno.test("processes are seen also when no descriptor is left", () => {
  const { soft } = libc.openFilesLimit();
  const taken: Deno.FsFile[] = [];
  try {
    // Of the others that this process has open none may be beyond the limit.
    const highest = Math.max(...libc.procNames("/proc/self/fd").map(Number));
    libc.setOpenFilesLimit(BigInt(highest + 20));
    const takeAll = () => {
      while (taken.length < highest + 20) taken.push(Deno.openSync("/proc/self/stat"));
    };
    assert.throws(takeAll, /Too many open files/, "the control");
    for (let times = 0; times < 3; times++) {
      assert.equal(readProcess(libc, Deno.pid)?.pid, Deno.pid);
      assert.ok(readProcesses(libc).some(({ pid }) => pid === Deno.pid));
    }
  } finally {
    for (const file of taken) file.close();
    libc.setOpenFilesLimit(soft);
  }
});
