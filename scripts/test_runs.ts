/**
 * Runs of `deno test` side by side, each in a process of its own. In: what each takes. Out: what each printed, when it has ended;
 * a JUnit file for each, and a list of them for test_report.ts.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** Folder of the project. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

/** One `deno test`. */
export interface Part {
  /** Of its JUnit file. */
  readonly name: string;
  /** Options, files and folders, these below {@linkcode ROOT}. */
  readonly args: readonly string[];
}

/** Options of {@linkcode runTests}. */
export interface RunTestsOptions {
  /** Names the folder of the JUnit files in dist/junit, and `<tier>.runs`, a line `<exit status>=<JUnit file>` for each part. */
  readonly tier: string;
  /** The longest first. */
  readonly parts: readonly Part[];
  /** How many run at the same time. */
  readonly atOnce: number;
  /** What `deno check` takes. @default {files, folders and docs of the parts} */
  readonly check?: readonly string[];
}

/** Checks the types of all at once, since each by itself takes a third as long as all of them; then runs them. Exits with 1 unless all passed. */
export async function runTests({ tier, parts, atOnce, check = checkOf(parts) }: RunTestsOptions): Promise<void> {
  const reports = `dist/junit/${tier}`;
  await Deno.remove(`${ROOT}${reports}`, { recursive: true }).catch(() => {});
  await Deno.remove(`${ROOT}${reports}.runs`).catch(() => {});
  await Deno.mkdir(`${ROOT}${reports}`, { recursive: true });
  await checkTypes(check);
  const runs: { readonly status: number; readonly report: string }[] = [];
  const left = parts.values();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const { name, args } of left) {
      const report = `${reports}/${name}.xml`;
      runs.push({ report, status: await runPart(report, args) });
    }
  }));
  await Deno.writeTextFile(
    `${ROOT}${reports}.runs`,
    runs.map(({ status, report }) => `${status}=${report}\n`).join(""),
  );
  const failed = runs.filter(({ status }) => status !== 0);
  console.log(`${runs.length - failed.length} of ${runs.length} parts passed`);
  for (const { report } of failed) console.log(`failed: ${report}`);
  if (failed.length > 0) Deno.exit(1);
}

function checkOf(parts: readonly Part[]): string[] {
  return ["--doc", ...parts.flatMap(({ args }) => args.filter((arg) => !arg.startsWith("-")))];
}

async function checkTypes(what: readonly string[]): Promise<void> {
  const args = ["check", "--frozen", "--quiet", ...what];
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null" }).spawn().status;
  if (code !== 0) Deno.exit(code);
}

async function runPart(report: string, options: readonly string[]): Promise<number> {
  const args = ["test", "--frozen", "-A", "--no-check", `--junit-path=${report}`, ...options];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null" }).output();
  await Deno.stdout.write(stdout);
  await Deno.stderr.write(stderr);
  return code;
}
