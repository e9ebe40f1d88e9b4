/**
 * Runs the live tests, each file in a process of its own, some at a time: most of their time is waiting, for servers to start and for
 * what happens after so many seconds.
 *
 * In: files or folders; all of tests/live without. Out: what each file printed, when it has ended; a JUnit file for each in
 * dist/junit/live, with `<exit status>=<file>` a line in dist/junit/live.runs for test_report.ts; exit status 1 unless all passed.
 *
 * @module
 */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledKrun, staticProgram } from "../tests/live/compiled.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const REPORTS = join(ROOT, "dist/junit/live");
/** More of them at once make each other late on two cores. */
const AT_ONCE = 3;

interface FileRun {
  readonly status: number;
  readonly report: string;
}

async function testFiles(paths: readonly string[]): Promise<string[]> {
  const files = await Promise.all(paths.map(async (path) => {
    if (!(await Deno.stat(path)).isDirectory) return [path];
    return [...Deno.readDirSync(path)].map(({ name }) => join(path, name)).filter((name) => name.endsWith("_test.ts"));
  }));
  return files.flat().sort();
}

async function runFile(file: string): Promise<FileRun> {
  const name = relative(ROOT, file);
  const report = join(REPORTS, `${name.replaceAll("/", ".")}.xml`);
  const args = ["test", "--frozen", "-A", "--no-check", "--preload=tests/load_libc.ts", `--junit-path=${report}`, name];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null" }).output();
  await Deno.stdout.write(stdout);
  await Deno.stderr.write(stderr);
  return { status: code, report: relative(ROOT, report) };
}

/** Of all files at once: each by itself takes a third as long as all of them. */
async function checkTypes(files: readonly string[]): Promise<void> {
  const args = ["check", "--frozen", "--quiet", ...files];
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null" }).spawn().status;
  if (code !== 0) Deno.exit(code);
}

const files = await testFiles(Deno.args.length > 0 ? Deno.args : [join(ROOT, "tests/live")]);
await checkTypes(files);
await Deno.remove(REPORTS, { recursive: true }).catch(() => {});
await Deno.mkdir(REPORTS, { recursive: true });
// All would make them at the same time.
await Promise.all([compiledKrun(), staticProgram()]);
const runs: FileRun[] = [];
const left = files.values();
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (const file of left) runs.push(await runFile(file));
}));
await Deno.writeTextFile(`${REPORTS}.runs`, runs.map(({ status, report }) => `${status}=${report}\n`).join(""));
const failed = runs.filter(({ status }) => status !== 0);
console.log(`${runs.length - failed.length} of ${runs.length} files passed`);
for (const { report } of failed) console.log(`failed: ${report}`);
if (failed.length > 0) Deno.exit(1);
