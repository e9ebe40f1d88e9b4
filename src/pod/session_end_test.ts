import assert from "node:assert/strict";
import { sees, SessionRig } from "../../tests/session_rig.ts";
import { loadLibc } from "./libc.ts";
import { readProcess } from "./process_table.ts";
import { SessionEnds } from "./session_end.ts";

const libc = loadLibc();
const OPTIONS = { graceMs: 0, hasTerminal: false, onTold() {} };

Deno.test("SessionEnds.end() touches nothing where the leader's pid is another process's by now", async () => {
  await using rig = new SessionRig();
  const ends = new SessionEnds({ libc, log: rig.log });
  const program = rig.sh("sleep 1000 & echo ready; wait");
  await sees(program.output, /ready/);
  const { pid } = program;
  const startTicks = readProcess(libc, pid)!.startTicks;
  await ends.end({ pid, startTicks: startTicks - 1 }, OPTIONS);
  assert.equal(readProcess(libc, pid)?.state, "S");
  // The control: it is ended where it is the one that was meant.
  await ends.end({ pid, startTicks }, OPTIONS);
  assert.deepEqual(await program.ended, { kind: "signaled", signal: 1 });
  program.close();
});

Deno.test("SessionEnds.end() calls onTold once, after SIGHUP, and ends several sessions at once", async () => {
  await using rig = new SessionRig();
  const ends = new SessionEnds({ libc, log: rig.log });
  const programs = Array.from({ length: 10 }, (_, index) => rig.sh(`trap "exit ${index}" HUP; echo ready; read line`));
  await Promise.all(programs.map(({ output }) => sees(output, /ready/)));
  const told: number[] = [];
  await Promise.all(programs.map(({ pid }, index) => {
    const { startTicks } = readProcess(libc, pid)!;
    return ends.end({ pid, startTicks }, { ...OPTIONS, graceMs: 60_000, onTold: () => told.push(index) });
  }));
  assert.deepEqual(told, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const statuses = await Promise.all(programs.map(({ ended }) => ended));
  assert.deepEqual(statuses, told.map((code) => ({ kind: "exited", code })));
  for (const program of programs) program.close();
});
