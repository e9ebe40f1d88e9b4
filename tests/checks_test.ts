import { ownFaults } from "../scripts/doc_lint.ts";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { explainFailure } from "../scripts/compile.ts";
import { table, withRows } from "../scripts/performance_page.ts";
import plugin from "../scripts/lint_plugin.ts";
import { allowedSkips, closingLine, testReport } from "../scripts/test_report.ts";

/** What a rule is tried with: code it refuses and code that is as near to it as possible and fine. */
interface RuleCase {
  readonly rule: string;
  readonly file: string;
  readonly refuses: readonly string[];
  readonly accepts: readonly string[];
}

const LONG = "\n".repeat(501);

const RULES: readonly RuleCase[] = [
  {
    rule: "pure-core",
    file: "src/core/x.ts",
    refuses: [
      "export const a = Deno.cwd();",
      "const { cwd } = Deno;",
      "await fetch(url);",
      "setTimeout(f, 1);",
      "const now = Date.now();",
      "const now = new Date();",
      "const clock = Date;",
      "const x = Math.random();",
      'const x = Math["random"]();',
      "const x = crypto.randomUUID();",
      "const t = performance.now();",
      "const s = AbortSignal.timeout(1);",
      "const d = globalThis.Deno;",
      "f({ fetch });",
      'import { readFileSync } from "node:fs";',
      'const fs = await import("node:fs");',
      'import { randomBytes } from "node:crypto";',
      'import { createHash, randomUUID } from "node:crypto";',
      'import * as all from "node:crypto";',
      'import "node:crypto";',
    ],
    accepts: [
      "const t = new Date(nowMs).toISOString();",
      "const ok = x instanceof Date && Date.UTC(2031, 1) > 0;",
      "const x = Math.max(1, 2);",
      "const x: Date | undefined = undefined;",
      "const x = response.fetch; const y = { Deno: 1 };",
      'import { posix } from "node:path";',
      'import type { Stats } from "node:fs";',
      'import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";',
    ],
  },
  {
    rule: "octal-mode",
    file: "src/pod/x.ts",
    refuses: [
      "Deno.writeFileSync(p, b, { mode: 600 });",
      "const volume = { defaultMode: 420 };",
      "const FILE_MODE = 384;",
      "Deno.chmodSync(path, 755);",
      "function f(mode = 420) {}",
      "const x = stat.mode & 511;",
      "const mode = item.mode ?? 420;",
    ],
    accepts: [
      "Deno.writeFileSync(p, b, { mode: 0o600 });",
      "const volume = { defaultMode: 0o644, items: 420 };",
      "Deno.chmodSync(path, 0o755);",
      "const x = stat.mode & 0o777;",
      "const mode = 0;",
      "const port = 420;",
    ],
  },
  {
    rule: "main-only",
    file: "src/launch/x.ts",
    refuses: [
      'const home = Deno.env.get("HOME");',
      "Deno.exit(1);",
      "const a = Deno.args;",
      'Deno["exit"](1);',
      "const { env } = Deno;",
      "const e = process.env.HOME;",
      'import process from "node:process";',
    ],
    accepts: ["const pid = Deno.pid;", "const e = options.env; child.exit();"],
  },
  {
    rule: "no-shell",
    file: "src/pod/x.ts",
    refuses: [
      "start(['sh', '-c', `cat ${path}`]);",
      "start(['/bin/bash', '-c', 'cat ' + path]);",
      "start(['sh', '-c', line]);",
      'new Deno.Command("sh", { args });',
      "spawn(program, args, { shell: true });",
      'import { execSync } from "node:child_process";',
    ],
    accepts: [
      'start(["sh", "-c", "exit 3"]);',
      'new Deno.Command("ip", { args });',
      'import { spawn } from "node:child_process";',
    ],
  },
  {
    rule: "layers",
    file: "src/pod/x.ts",
    refuses: [
      'import { a } from "../mesh/a.ts";',
      'import type { A } from "../kube/a.ts";',
      'export { a } from "../launch/a.ts";',
      'export * from "../launch/a.ts";',
      'const a = await import("../launch/a.ts");',
      'import { waitFor } from "../../tests/wait.ts";',
      'import { a } from "../mod.ts";',
      'import { load } from "js-yaml";',
      'import { type V1Pod, KubeConfig } from "@kubernetes/client-node";',
    ],
    accepts: [
      'import { a } from "../core/a.ts"; import { b } from "./b.ts";',
      'import type { V1Pod } from "@kubernetes/client-node";',
      'import { type V1Pod } from "@kubernetes/client-node";',
      'const { load } = await import("js-yaml");',
      'import { join } from "node:path";',
    ],
  },
  { rule: "layers", file: "src/core/x.ts", refuses: ['import { a } from "../pod/a.ts";'], accepts: [] },
  { rule: "layers", file: "src/kube/x.ts", refuses: ['import { a } from "../gcp/a.ts";'], accepts: [] },
  { rule: "layers", file: "src/invented/x.ts", refuses: ['import { a } from "../core/a.ts";'], accepts: [] },
  { rule: "layers", file: "src/core/deeper/x.ts", refuses: ['import { a } from "../a.ts";'], accepts: [] },
  {
    rule: "layers",
    file: "src/launch/x.ts",
    refuses: ['import { a } from "../../main.ts";'],
    accepts: ['import { a } from "../pod/a.ts"; import { b } from "../kube/b.ts";'],
  },
  {
    rule: "layers",
    file: "src/pod/x_test.ts",
    refuses: [],
    accepts: ['import { waitFor } from "../../tests/wait.ts";'],
  },
  {
    rule: "layers",
    file: "src/launch/x.ts",
    refuses: [],
    accepts: ['import config from "../../deno.json" with { type: "json" };'],
  },
  { rule: "no-shell", file: "tests/x_test.ts", refuses: [], accepts: ["start(['sh', '-c', `cat ${path}`]);"] },
  {
    rule: "throws-doc",
    file: "src/pod/x.ts",
    refuses: [
      'export function f() { throw new KrunError("Internal", "a", "b"); }',
      '/** Does. */ export async function f() { if (x) { throw new KrunError("Internal", "a", "b"); } }',
    ],
    accepts: [
      '/** Does. @throws {KrunError} `Internal` */ export function f() { throw new KrunError("Internal", "a", "b"); }',
      'function f() { throw new KrunError("Internal", "a", "b"); }',
      'export function f() { return () => { throw new KrunError("Internal", "a", "b"); }; }',
      "export function f() { throw new TypeError(); }",
    ],
  },
  { rule: "file-length", file: "src/pod/x.ts", refuses: [LONG], accepts: [LONG.slice(1)] },
];

function findings(rule: string, file: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, file, source).filter((d) => d.id === `krun/${rule}`).map((d) => d.message);
}

for (const { rule, file, refuses, accepts } of RULES) {
  for (const source of refuses) {
    Deno.test(`lint rule ${rule} refuses in ${file}: ${source.trim() || "501 lines"}`, () => {
      assert.notDeepEqual(findings(rule, file, source), []);
    });
  }
  for (const source of accepts) {
    Deno.test(`lint rule ${rule} accepts in ${file}: ${source.trim() || "500 lines"}`, () => {
      assert.deepEqual(findings(rule, file, source), []);
    });
  }
}

Deno.test("every lint rule has a case that it refuses", () => {
  const tried = new Set(RULES.filter((c) => c.refuses.length > 0).map((c) => c.rule));
  assert.deepEqual([...tried].sort(), Object.keys(plugin.rules).sort());
});

const PROJECT = new URL("..", import.meta.url);

Deno.test("deno lint runs the project's own rules", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const name of ["scripts", "src", "src/core"]) await Deno.mkdir(`${folder}/${name}`);
    for (const name of ["deno.json", "scripts/lint_plugin.ts", "scripts/layers.ts"]) {
      await Deno.copyFile(new URL(name, PROJECT), `${folder}/${name}`);
    }
    await Deno.writeTextFile(`${folder}/src/core/x.ts`, "export const a = Deno.pid;\n");
    const lint = new Deno.Command(Deno.execPath(), { args: ["lint"], cwd: folder, env: { NO_COLOR: "1" } });
    const { code, stderr } = await lint.output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stderr), /error\[krun\/pure-core\]/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("leak checks are on: Deno has them off since 2.8 unless deno.json says so", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/leak_test.ts`,
      'Deno.test("leaks", () => { setTimeout(() => {}, 100_000); });\n',
    );
    const config = fileURLToPath(new URL("deno.json", PROJECT));
    const args = ["test", "--no-lock", "--no-check", "--config", config, `${folder}/leak_test.ts`];
    const { code, stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stdout), /Leaks detected/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("deno.lock names packages by version and digest only, no address", async () => {
  assert.doesNotMatch(await Deno.readTextFile(new URL("deno.lock", PROJECT)), /:\/\//);
});

Deno.test("Dockerfile ends in an image whose entry point is the compiled krun", async () => {
  const lines = (await Deno.readTextFile(new URL("Dockerfile", PROJECT))).split("\n");
  const last = lines.findLastIndex((line) => line.startsWith("FROM "));
  assert.match(lines[last]!, /distroless\/cc/);
  const rest = lines.slice(last);
  const copied = rest.map((line) => /^COPY --from=build \S*\/dist\/krun (\S+)$/.exec(line)?.[1]).find((path) => path);
  const entryPoint = rest.filter((line) => line.startsWith("ENTRYPOINT ")).map((line) => JSON.parse(line.slice(11)));
  assert.deepEqual(entryPoint, [[copied, "--"]]);
});

Deno.test("CI runs the README's test command and the live tier, with the Deno version of the README", async () => {
  const ci = await Deno.readTextFile(new URL(".ci/run", PROJECT));
  const tasks = [...ci.matchAll(/"\$\{deno\[@\]\}" task (\S+)/g)].map(([, task]) => task);
  assert.deepEqual(tasks, ["test", "live-tools", "test:live"]);
  const [, npx] = /^deno=\((npx -y deno@\S+)\)$/m.exec(ci)!;
  assert.ok((await Deno.readTextFile(new URL("README.md", PROJECT))).includes(`\n${npx} task test\n`));
});

Deno.test("every task that CONTRIBUTING.md names exists", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", PROJECT)));
  const page = await Deno.readTextFile(new URL("CONTRIBUTING.md", PROJECT));
  const named = [...page.matchAll(/`npx -y deno@\S+ task ([\w:-]+)`/g)].map(([, task]) => task!);
  assert.ok(named.length > 3);
  assert.deepEqual(named.filter((task) => !(task in tasks)), []);
});

Deno.test("the compile task says in one line what is wrong with its arguments", async (t) => {
  for (const args of [["--deno", ""], ["--deno"], ["--nothing"]]) {
    await t.step(args.join(" "), async () => {
      const script = new URL("../scripts/compile.ts", import.meta.url).pathname;
      const command = new Deno.Command(Deno.execPath(), { args: ["run", "-q", "--frozen", "-A", script, ...args] });
      const { code, stderr } = await command.output();
      assert.equal(code, 1);
      assert.match(new TextDecoder().decode(stderr), /^compile: [^\n]*--(deno|nothing)[^\n]*\n$/);
    });
  }
});

Deno.test("explainFailure() says what to do when the compiler has no base executable", async (t) => {
  const cases = {
    "the download fails":
      "error: Setting up base binary.\n1: error sending request for url (https://x/denort-x86_64.zip)",
    "the base is of another version": "error: Could not find standalone binary section.",
  };
  for (const [name, stderr] of Object.entries(cases)) {
    await t.step(name, () => {
      const text = explainFailure(stderr, "2.9.6");
      assert.match(text, /DENORT_BIN/);
      assert.doesNotMatch(text, /\n/);
    });
  }
  await t.step("and repeats anything else", () => {
    assert.equal(explainFailure("error: no such thing\n", "2.9.6"), "error: no such thing");
  });
});

/** A JUnit file as `deno test` writes it, of the lines given. */
function junit(...cases: string[]): string {
  return `<?xml version="1.0"?>\n<testsuites><testsuite name="./a_test.ts">${
    cases.join("\n")
  }</testsuite></testsuites>`;
}
const PASSED = '<testcase name="one" classname="./a_test.ts" time="0.1">\n</testcase>';
const FAILED =
  '<testcase name="two &gt; step" classname="./a_test.ts"><failure message="&lt;skipped/&gt;">x</failure></testcase>';
const SKIPPED = '<testcase name="three" classname="./a_test.ts"><skipped/></testcase>';

Deno.test("testReport() adds up runs", () => {
  const runs = [{ name: "a", status: 1, junit: junit(PASSED, FAILED) }, {
    name: "b",
    status: 0,
    junit: junit(PASSED, PASSED),
  }];
  const report = testReport(runs, new Set());
  assert.deepEqual(report, { passed: 3, failed: ["a_test.ts: two > step"], skipped: [] });
  assert.equal(closingLine(report), "3 passed, 1 failed");
});

Deno.test("testReport() fails a skipped test unless the list names it", () => {
  const runs = [{ name: "a", status: 0, junit: junit(PASSED, SKIPPED) }];
  assert.equal(closingLine(testReport(runs, new Set())), "1 passed, 1 failed");
  const allowed = allowedSkips("# needs a printer\n\na_test.ts: three\n");
  assert.equal(closingLine(testReport(runs, allowed)), "1 passed, 0 failed, 1 skipped");
});

Deno.test("testReport() fails a run that ended badly, or did nothing, with no test to blame", async (t) => {
  const runs = {
    "no file": { name: "a", status: 1, junit: undefined },
    "no test": { name: "a", status: 0, junit: junit() },
    "an error outside of tests": { name: "a", status: 1, junit: junit(PASSED) },
  };
  for (const [name, run] of Object.entries(runs)) {
    await t.step(name, () => assert.equal(testReport([run], new Set()).failed.length, 1));
  }
});

Deno.test("testReport() reads what deno test really writes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const source = `
      Deno.test("passes & <prints>", async (t) => { await t.step("step", () => {}); });
      Deno.test.ignore("skipped", () => {});
      Deno.test("fails", () => { throw new Error("9 passed, 0 failed <skipped/>"); });`;
    await Deno.writeTextFile(`${folder}/x_test.ts`, source);
    const args = ["test", "--no-config", "--junit-path=x.xml", "x_test.ts"];
    const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: folder }).output();
    const runs = [{ name: "x", status: code, junit: await Deno.readTextFile(`${folder}/x.xml`) }];
    assert.deepEqual(testReport(runs, new Set(["x_test.ts: skipped"])), {
      passed: 2,
      failed: ["x_test.ts: fails"],
      skipped: ["x_test.ts: skipped"],
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("table() of the bench counts each target that is missed, and a figure that is no number", () => {
  const row = (value: number, target?: number) => ({
    what: "x",
    runtime: "deno run",
    unit: "ms",
    value,
    ...(target === undefined ? {} : { target }),
  });
  const { lines, missed } = table([row(1, 2), row(3, 2), row(NaN, 2), row(9)]);
  assert.equal(missed, 2);
  assert.deepEqual(lines.slice(2), [
    "| x | deno run | 1.00 ms | at most 2: met |",
    "| x | deno run | 3.00 ms | at most 2: **missed** |",
    "| x | deno run | NaN ms | at most 2: **missed** |",
    "| x | deno run | 9.00 ms |  |",
  ]);
});

Deno.test("withRows() puts rows of a measurement in the place of those before, and nowhere else", () => {
  const row = (what: string, value: number) => ({ what, runtime: "deno run", unit: "ms", value });
  const page = ["# Page", ...table([row("a", 1), row("trips", 2), row("b", 3), row("trips", 4)]).lines, "", "Text"];
  const anew = withRows(page.join("\n"), table([row("b", 5), row("trips", 6)])).split("\n");
  assert.deepEqual(anew, [
    "# Page",
    ...table([row("a", 1), row("trips", 2), row("b", 5), row("trips", 6)]).lines,
    "",
    "Text",
  ]);
  assert.throws(() => withRows(page.join("\n"), table([row("b", 5), row("c", 6)])), /measure all/);
  const longer = withRows(page.join("\n"), table([row("c", 5), row("d", 6)])).split("\n");
  const last = page.findLastIndex((line) => line.startsWith("| "));
  assert.deepEqual(longer.toSpliced(last + 1, 2), page);
  assert.deepEqual(longer.slice(last + 1, last + 3), table([row("c", 5), row("d", 6)]).lines.slice(2));
});

Deno.test("ownFaults() leaves out references to the package's types and nothing else", () => {
  const foreign = "error[private-type-ref]: public type 'runPod' references private type 'V1Pod'\n  --> a.ts:1:1\n\n";
  const own = [
    "error[private-type-ref]: public type 'runPod' references private type 'Plan'\n  --> a.ts:1:1\n\n",
    "error[missing-jsdoc]: exported symbol is missing JSDoc documentation\n  --> V1Pod.ts:1:1\n\n",
  ];
  assert.deepEqual(ownFaults(`Check a.ts\n${own[0]}${foreign}${own[1]}`), own);
  assert.deepEqual(ownFaults("Checked 1 file\n"), []);
});
