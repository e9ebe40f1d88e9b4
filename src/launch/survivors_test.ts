import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { TestBase } from "../../tests/test_base.ts";
import { waitFor } from "../../tests/wait.ts";
import { isAlive } from "../core/proc_stat.ts";
import { loadLibc } from "../pod/libc.ts";
import { readProcess } from "../pod/process_table.ts";
import { Survivors, survivorsIn } from "./survivors.ts";

const libc = loadLibc();
const STARTER = fileURLToPath(new URL("../../tests/programs/killed_starter.ts", import.meta.url));

function alive(pid: number): boolean {
  const found = readProcess(libc, pid);
  return found !== undefined && isAlive(found);
}

/** A program whose krun killed itself in that moment; disposing it kills it. */
async function survivor(test: TestBase, moment: "recorded" | "unrecorded") {
  const program = ["sh", "-c", 'echo $$ > "$1"; exec sleep 1000 < /dev/null > /dev/null 2>&1', "sh", test.at("pid")];
  const { signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-lock", "--no-config", STARTER, test.path, moment, ...program],
    stdin: "null",
  }).output();
  assert.equal(signal, "SIGKILL", new TextDecoder().decode(stderr));
  const pid = await waitFor("the program", () => {
    try {
      return Number(Deno.readTextFileSync(test.at("pid"))) || undefined;
    } catch {
      return undefined;
    }
  });
  assert.ok(alive(pid), "it outlives krun");
  return { pid, [Symbol.dispose]: () => void (alive(pid) && libc.kill(pid, 9)) };
}

for (const moment of ["recorded", "unrecorded"] as const) {
  Deno.test(`Survivors.stop() ends a program whose krun was killed after its start, ${moment}`, async () => {
    using test = new TestBase();
    using program = await survivor(test, moment);
    assert.deepEqual(survivorsIn(test.path), [program.pid], "it can be seen before the base is taken");
    const base = test.open();
    await new Survivors(base, test.log).stop(10_000);
    assert.ok(!alive(program.pid));
    assert.deepEqual(survivorsIn(test.path), []);
    const told = test.log.lines.find(({ event }) => event.includes("left running"));
    assert.equal(told?.fields.pids, String(program.pid));
    base.sweep();
    base.close({ keep: false });
    assert.deepEqual(test.left(), ["pid"]);
  });
}

Deno.test("survivorsIn() is empty for a folder that no krun has worked in", () => {
  using test = new TestBase();
  assert.deepEqual(survivorsIn(test.path), []);
  assert.deepEqual(survivorsIn("/no/such/folder"), []);
});

Deno.test("Survivors.stop() leaves the program of another base alone", async () => {
  using test = new TestBase();
  using program = await survivor(test, "unrecorded");
  using other = new TestBase();
  const base = other.open();
  await new Survivors(base, other.log).stop(0);
  base.close({ keep: false });
  assert.ok(alive(program.pid));
});

Deno.test("Survivors.stop() keeps the former run's mark until its programs are stopped", async () => {
  using test = new TestBase();
  const open = (use: (survivors: Survivors) => Promise<void> | void) => {
    const base = test.open();
    const survivors = new Survivors(base, test.log);
    return { base, survivors, used: use(survivors) };
  };
  const first = open((survivors) => survivors.stop(0));
  await first.used;
  first.base.close({ keep: true });
  open(() => {}).base.close({ keep: true });
  const third = test.open();
  assert.equal(third.read("run"), String(first.survivors.run));
  third.close({ keep: false });
});
