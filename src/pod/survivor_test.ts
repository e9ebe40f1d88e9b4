import assert from "node:assert/strict";
import { startRunner } from "../../tests/runner_process.ts";
import { waitFor } from "../../tests/wait.ts";
import { descendants, isAlive } from "../core/proc_stat.ts";
import { containerMark, newRunMark } from "./container_mark.ts";
import { loadLibc } from "./libc.ts";
import { readProcess, readProcesses } from "./process_table.ts";
import {
  findMarked,
  findSurvivor,
  findSurvivors,
  type ProgramIdentity,
  programIdentity,
  stopSurvivors,
} from "./survivor.ts";

const libc = loadLibc();

/** A program whose krun was killed. It has a child in its group, and one in a session of its own. Disposing it kills all. */
async function survivor(script = "") {
  const runner = startRunner({ program: ["sh", "-c", `${script} sleep 1000 & setsid sleep 1000 & echo ready; wait`] });
  await runner.sees("stdout", /ready/);
  const family = await waitFor("program and children", () => {
    const found = descendants(readProcesses(libc), runner.pid);
    return found.length === 3 && found.some((entry) => entry.session === entry.pid) ? found : undefined;
  });
  const program = family.find((entry) => entry.parent === runner.pid);
  const identity = programIdentity(program?.pid ?? 0);
  assert.ok(identity);
  runner.kill("SIGKILL");
  await waitFor("the end of krun", () => !alive(runner.pid));
  return {
    identity,
    pids: family.map((entry) => entry.pid),
    async [Symbol.asyncDispose]() {
      for (const { pid, startTicks } of family) {
        if (readProcess(libc, pid)?.startTicks === startTicks) libc.kill(pid, 9);
      }
      await runner.end;
    },
  };
}

function alive(pid: number): boolean {
  const found = readProcess(libc, pid);
  return found !== undefined && isAlive(found);
}

Deno.test("stopSurvivors() ends a program that outlived its krun, its group and the session below it", async () => {
  await using former = await survivor();
  assert.ok(former.pids.every(alive), "it outlives krun");
  assert.equal(findSurvivor(former.identity), former.identity.pid);
  const found: number[] = [];
  const onFound = (pids: readonly number[]) => void found.push(...pids);
  assert.deepEqual(await stopSurvivors({ programs: [former.identity] }, { graceMs: 10_000, onFound }), []);
  assert.deepEqual(former.pids.filter(alive), []);
  assert.equal(findSurvivor(former.identity), undefined);
  assert.deepEqual(found.sort(), former.pids.toSorted());
});

Deno.test("stopSurvivors() asks the last one to end when no other program is left, and not at all when there is no time", async (t) => {
  for (const stubborn of [false, true]) {
    await t.step(stubborn ? "no time" : "time", async () => {
      const told = await Deno.makeTempFile();
      const says = (name: string) => `trap 'echo ${name} >> ${told}; exit' TERM;`;
      await using proxy = await survivor(says("proxy"));
      await using program = await survivor(stubborn ? "trap '' TERM;" : says("program"));
      const programs = [proxy.identity, program.identity];
      const options = { graceMs: stubborn ? 100 : 10_000 };
      assert.deepEqual(await stopSurvivors({ programs, last: proxy.identity }, options), []);
      assert.deepEqual([...proxy.pids, ...program.pids].filter(alive), []);
      assert.equal(await Deno.readTextFile(told), stubborn ? "" : "program\nproxy\n");
      await Deno.remove(told);
    });
  }
});

Deno.test("findSurvivors() names what stopSurvivors() would end, and ends nothing", async () => {
  await using former = await survivor();
  assert.deepEqual(findSurvivors({ programs: [former.identity] }).sort(), former.pids.toSorted());
  assert.ok(former.pids.every(alive));
  assert.deepEqual(findSurvivors({ programs: [{ ...former.identity, startTime: 1 }] }), []);
});

Deno.test("stopSurvivors() kills a program that ignores SIGTERM after the grace", async () => {
  await using former = await survivor('trap "" TERM;');
  assert.deepEqual(await stopSurvivors({ programs: [former.identity] }, { graceMs: 100 }), []);
  assert.deepEqual(former.pids.filter(alive), []);
});

Deno.test("stopSurvivors() touches nothing when the pid belongs to another process by now", async (t) => {
  await using stranger = await survivor();
  const { identity } = stranger;
  const attacks: Record<string, ProgramIdentity> = {
    "another start time": { ...identity, startTime: identity.startTime - 1 },
    "another boot": { ...identity, bootId: "00000000-0000-0000-0000-000000000000" },
    "another pid": { ...identity, pid: Deno.pid },
  };
  for (const [name, attack] of Object.entries(attacks)) {
    await t.step(name, async () => {
      assert.equal(findSurvivor(attack), undefined);
      assert.deepEqual(await stopSurvivors({ programs: [attack] }, { graceMs: 0 }), []);
      assert.ok(stranger.pids.every(alive));
    });
  }
});

/** Arguments of prlimit(1) that have what it executes carry the mark of a run's first container. */
function marked(run: bigint): string[] {
  return [`--locks=${containerMark(run, 1)}:`];
}

/** A shell of a run that leaves a process in a session of its own to init, and says its id. All of it is killed when it is disposed. */
async function abandoned(run: bigint) {
  // What setsid(1) starts by -f has no parent once setsid has ended.
  const script = 'setsid -f sh -c "echo \\$\\$; exec sleep 1000" | { read pid; echo "$pid"; exec sleep 1000; }';
  const args = [...marked(run), "sh", "-c", script];
  const shell = new Deno.Command("prlimit", { args, stdin: "null", stdout: "piped" }).spawn();
  const output = shell.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await output.read()).value));
  return {
    pids: [pid, shell.pid],
    async [Symbol.asyncDispose]() {
      for (const each of findMarked(run)) libc.kill(each.pid, 9);
      await output.cancel();
      await shell.status;
    },
  };
}

Deno.test("stopSurvivors() ends whatever bears the mark, a daemon too, and nothing that bears another one", async () => {
  const run = newRunMark();
  await using former = await abandoned(run);
  await using stranger = await abandoned(newRunMark());
  assert.deepEqual(stranger.pids.map(alive), [true, true]);
  const marked = findMarked(run).map(({ pid }) => pid);
  assert.deepEqual(former.pids.filter((pid) => !marked.includes(pid)), []);
  assert.deepEqual(await stopSurvivors({ programs: [], run }, { graceMs: 10_000 }), []);
  assert.deepEqual(former.pids.filter(alive), []);
  assert.deepEqual(stranger.pids.map(alive), [true, true]);
});

Deno.test("stopSurvivors() spares the krun that calls it and the programs that started it", async () => {
  const run = newRunMark();
  const module = JSON.stringify(new URL("./survivor.ts", import.meta.url).href);
  const program = `import { stopSurvivors } from ${module};
    console.log(JSON.stringify(await stopSurvivors({ programs: [], run: ${run}n }, { graceMs: 5000 })));`;
  const deno = [Deno.execPath(), "eval", "--no-config", "--no-lock", "--quiet", program];
  const args = [...marked(run), "sh", "-c", 'sleep 1000 & "$@"; wait $!; echo "$?"', "sh", ...deno];
  const shell = new Deno.Command("prlimit", { args, stdin: "null", stdout: "piped", stderr: "inherit" }).spawn();
  const { stdout, code } = await shell.output();
  assert.equal(code, 0, "the shell that started it lives on");
  assert.equal(new TextDecoder().decode(stdout), "[]\n143\n", "its other child does not");
});

Deno.test("programIdentity() is undefined for no process and for a zombie", async () => {
  assert.equal(programIdentity(2 ** 22 + 1), undefined);
  // A shell that never waits for its child, since it has become sleep.
  const parent = new Deno.Command("sh", { args: ["-c", "true & exec sleep 1000"] }).spawn();
  const zombie = await waitFor("a zombie", () => {
    return readProcesses(libc).find((entry) => entry.parent === parent.pid && entry.state === "Z");
  });
  assert.equal(programIdentity(zombie.pid), undefined);
  parent.kill("SIGKILL");
  await parent.status;
});
