/**
 * Adds up test runs, from the JUnit files they wrote, and decides whether they passed.
 *
 * In: one argument a run, `<exit status>=<JUnit file>`. Out: what failed or was skipped, then `N passed, N failed` (and
 * `, N skipped`) alone on the last line; exit status 1 unless all is well. Every step of a test counts as a test.
 *
 * The files rather than the printed text: a test may print anything, and a skipped step is only named in the file.
 *
 * @module
 */

/** What one or more runs came to. The lists hold `<file>: <test> > <step>`. */
export interface TestReport {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

/** One finished `deno test`. */
export interface TestRun {
  /** Names the run where it has no test to blame. */
  readonly name: string;
  readonly status: number;
  /** Content of its JUnit file; `undefined` when it wrote none. */
  readonly junit: string | undefined;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

function attribute(element: string, name: string): string {
  const escaped = new RegExp(` ${name}="([^"]*)"`).exec(element)?.[1] ?? "";
  return escaped.replace(/&(lt|gt|quot|apos|amp);/g, (_, entity: string) => ENTITIES[entity]!);
}

/**
 * Sums up runs. A skipped test that `allowed` does not name counts as failed, and so does a run that ended with an error
 * although none of its tests failed (a type error, an exception outside of tests), or that ran no test at all.
 */
export function testReport(runs: readonly TestRun[], allowed: ReadonlySet<string>): TestReport {
  let passed = 0;
  const failed: string[] = [];
  const skipped: string[] = [];
  for (const { name, status, junit } of runs) {
    // Everything a test says is escaped in the file, so a "<" is always the format's own.
    const cases = junit?.split("<testcase ").slice(1) ?? [];
    const failedBefore = failed.length;
    for (const text of cases) {
      const element = ` ${text}`;
      const test = `${attribute(element, "classname").replace(/^\.\//, "")}: ${attribute(element, "name")}`;
      if (/<(failure|error)[\s>/]/.test(element)) failed.push(test);
      else if (!/<skipped[\s>/]/.test(element)) passed++;
      else if (allowed.has(test)) skipped.push(test);
      else failed.push(`${test} (skipped, and not in tests/allowed_skips.txt)`);
    }
    if (junit === undefined) failed.push(`${name}: ended with ${status} and wrote no report`);
    else if (cases.length === 0) failed.push(`${name}: ran no test`);
    else if (status !== 0 && failed.length === failedBefore) {
      failed.push(`${name}: ended with ${status} outside of its tests`);
    }
  }
  return { passed, failed, skipped };
}

/** The closing line. */
export function closingLine({ passed, failed, skipped }: TestReport): string {
  return `${passed} passed, ${failed.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`;
}

/** Names in a list of allowed skips: one a line, `#` begins a comment. */
export function allowedSkips(text: string): Set<string> {
  return new Set(text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")));
}

if (import.meta.main) {
  const list = await Deno.readTextFile(new URL("../tests/allowed_skips.txt", import.meta.url));
  const runs = Deno.args.map((arg): TestRun => {
    const [status, path] = arg.split("=", 2) as [string, string];
    let junit: string | undefined;
    try {
      junit = Deno.readTextFileSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return { name: path, status: Number(status), junit };
  });
  const report = testReport(runs, allowedSkips(list));
  for (const test of report.skipped) console.log(`skipped: ${test}`);
  for (const test of report.failed) console.log(`failed: ${test}`);
  console.log(closingLine(report));
  if (report.failed.length > 0) Deno.exit(1);
}
