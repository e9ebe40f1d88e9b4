/**
 * Measures krun against the real API server, prints a table, and writes it to docs/performance.md with what the machine is.
 *
 * In: `--quick` for a try with few rounds (its table is not written), `--only=TEXT` for the measurements whose name holds
 * that text (not written either). Out: exit status 1 when a target is missed; the table says which.
 *
 * Every target is a ratio within this run, a number of round trips, or a size: not how fast the machine is. What is compared
 * is measured in turns, so that a busy minute hits both sides. Needs root, Go and the live tools.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compiledKrun, staticProgram } from "../tests/live/compiled.ts";
import { startApiServer } from "../tests/live/api_server.ts";
import { krunArgv } from "../tests/krun_process.ts";
import { liveTool } from "./live_tools.ts";
import { type Measurement, MEASUREMENTS, type Rig, type Runtime } from "./measurements.ts";
import { machine, READING, table } from "./performance_page.ts";

const PAGE = fileURLToPath(new URL("../docs/performance.md", import.meta.url));

const { values } = parseArgs({
  args: Deno.args,
  options: { quick: { type: "boolean", default: false }, only: { type: "string", default: "" } },
});

async function runtimes(folder: string): Promise<Runtime[]> {
  const empty = join(folder, "empty.ts");
  await Deno.writeTextFile(empty, "");
  return [
    { name: `deno run ${Deno.version.deno}`, krun: krunArgv(), deno: Deno.execPath(), empty },
    // Compared with what its own Deno takes: the ratio is about krun, not about two versions of Deno.
    { name: "compiled, Deno 2.6.10", krun: [await compiledKrun()], deno: await liveTool("deno-2.6"), empty },
  ];
}

async function measureAll(rig: Rig): Promise<Measurement[]> {
  const done: Measurement[] = [];
  for (const { name, measure } of MEASUREMENTS.filter((m) => m.name.includes(values.only))) {
    console.error(`bench: ${name}`);
    done.push(...await measure(rig));
  }
  return done;
}

const folder = await Deno.makeTempDir({ prefix: "krun-bench-" });
try {
  await using server = await startApiServer();
  const rig: Rig = {
    server,
    folder,
    program: await staticProgram(),
    runtimes: await runtimes(folder),
    rounds: values.quick ? 3 : 21,
  };
  const text = table(await measureAll(rig));
  console.log(text.lines.join("\n"));
  if (!values.quick && values.only === "") {
    await Deno.writeTextFile(PAGE, [...await machine(), "", ...text.lines, "", ...READING, ""].join("\n"));
  }
  if (text.missed > 0) Deno.exitCode = 1;
} finally {
  await Deno.remove(folder, { recursive: true });
}
