import assert from "node:assert/strict";
import { startRunner } from "../../tests/runner_process.ts";
import { loadLibc } from "./libc.ts";
import { parseOpenFiles, withOpenFiles } from "./open_files.ts";

const libc = loadLibc();

Deno.test("parseOpenFiles() reads /proc/<pid>/limits, also without a limit", () => {
  const table = (soft: string, hard: string) =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${
      soft.padEnd(21)
    }${hard.padEnd(21)}files     \n`;
  assert.deepEqual(parseOpenFiles(table("1024", "524288")), { soft: 1024n, hard: 524288n });
  assert.deepEqual(parseOpenFiles(table("1024", "unlimited"))?.hard, 0xffffffffffffffffn);
  assert.equal(parseOpenFiles(""), undefined);
  assert.deepEqual(parseOpenFiles(libc.procText("/proc/self/limits") ?? ""), libc.openFilesLimit());
});

Deno.test("withOpenFiles() puts krun's own limit back, also after an error", () => {
  const before = libc.openFilesLimit();
  withOpenFiles(libc, 200n, () => assert.equal(libc.openFilesLimit().soft, 200n));
  assert.throws(() =>
    withOpenFiles(libc, 200n, () => {
      throw new Error("of the body");
    }), /of the body/);
  assert.deepEqual(libc.openFilesLimit(), before);
});

Deno.test("A program gets the limit of open files that krun was started with, though deno run raises its own", async (t) => {
  // The shell stays, with the low limit, as krun's parent; the last line is the negative control.
  const under = ["sh", "-c", 'ulimit -Sn 300; "$@"; exit $?', "sh"];
  for (const options of [[], ["--once"]]) {
    await t.step(options.join() || "as a child", async () => {
      await using runner = startRunner({ under, options, program: ["sh", "-c", "ulimit -Sn; ulimit -Hn"] });
      assert.equal((await runner.end).stdout, `300\n${libc.openFilesLimit().hard}\n`);
    });
  }
  await t.step("deno itself", async () => {
    const code =
      'console.log(new TextDecoder().decode(new Deno.Command("sh", { args: ["-c", "ulimit -Sn"] }).outputSync().stdout))';
    const [sh = "", ...args] = [...under, Deno.execPath(), "eval", code];
    const { stdout } = await new Deno.Command(sh, { args }).output();
    assert.notEqual(new TextDecoder().decode(stdout).trim(), "300");
  });
});
