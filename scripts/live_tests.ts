/**
 * Runs the live tests, each file in a process of its own, some at a time: most of their time is waiting, for servers to start and for
 * what happens after so many seconds.
 *
 * In: files or folders; all of tests/live without. Out: as {@linkcode runTests} has it, in dist/junit/live.
 *
 * @module
 */
import { join, relative } from "node:path";
import { prepareSeeds } from "../tests/live/api_server.ts";
import { krunBundle } from "../tests/live/bundled.ts";
import { compiledKrun, staticProgram } from "../tests/live/compiled.ts";
import { ROOT, runTests } from "./test_runs.ts";

/** Most of their time is waiting: fewer leave the two cores idle, more make each other late. */
const AT_ONCE = 4;

async function testFiles(paths: readonly string[]): Promise<string[]> {
  const files = await Promise.all(paths.map(async (path) => {
    if (!(await Deno.stat(path)).isDirectory) return [path];
    return [...Deno.readDirSync(path)].map(({ name }) => join(path, name)).filter((name) => name.endsWith("_test.ts"));
  }));
  // The larger a file is, the longer it mostly takes: none of those is to be begun last.
  const size = (file: string) => Deno.statSync(file).size;
  return files.flat().sort((a, b) => size(b) - size(a)).map((file) => relative(ROOT, file));
}

/**
 * A folder for PATH whose `python3` is the interpreter that PATH leads to: with pyenv that is a script which looks for it, for longer than
 * the interpreter takes for a test's program.
 */
async function pythonFolder(): Promise<string> {
  const args = ["-c", "import sys; print(sys.executable)"];
  const { stdout } = await new Deno.Command("python3", { args, stdin: "null" }).output();
  const folder = join(ROOT, "dist", "python");
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  await Deno.symlink(new TextDecoder().decode(stdout).trim(), join(folder, "python3"));
  return folder;
}

const ALL = join(ROOT, "tests/live");
const files = await testFiles(Deno.args.length > 0 ? Deno.args : [ALL]);
// All would make them at the same time.
const [bundle] = await Promise.all([krunBundle(), compiledKrun(), staticProgram(), prepareSeeds()]);
Deno.env.set("KRUN_TEST_BUNDLE", bundle);
Deno.env.set("PATH", `${await pythonFolder()}:${Deno.env.get("PATH")}`);
const parts = files.map((file) => ({ name: file.replaceAll("/", "."), args: ["--preload=tests/load_libc.ts", file] }));
// With all of them goes checkout_test.ts, which checks the same: what was checked is known then.
const check = Deno.args.length > 0 ? {} : { check: ["."] };
await runTests({ tier: "live", parts, atOnce: AT_ONCE, ...check });
