/**
 * Measures krun against the real API server, prints a table, and writes it to docs/performance.md with what the machine is.
 *
 * In: `--quick` for a try with few rounds (its table is not written), `--only=TEXT` for the measurements whose name holds
 * that text (not written either, unless `--write`, by which their rows take the place of those on the page). Out: exit status 1 when a target is missed; the table says which.
 *
 * Every target is a ratio within this run, a number of round trips, or a size: not how fast the machine is. What is compared
 * is measured in turns, so that a busy minute hits both sides. Needs root, Go, the live tools and mkfs.ext4.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compiledKrun, staticProgram } from "../tests/live/compiled.ts";
import { startApiServer } from "../tests/live/api_server.ts";
import { krunArgv } from "../tests/krun_process.ts";
import { cloudRun } from "./google_measurements.ts";
import { references } from "./reference_measurements.ts";
import { liveTool } from "./live_tools.ts";
import { type Measurement, MEASUREMENTS, type Rig, type Runtime } from "./measurements.ts";
import { machine, READING, table, withRows } from "./performance_page.ts";
import { ssh } from "./ssh_measurements.ts";

const PAGE = fileURLToPath(new URL("../docs/performance.md", import.meta.url));

const { values } = parseArgs({
  args: Deno.args,
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    write: { type: "boolean", default: false },
  },
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
  const all = [...MEASUREMENTS, { name: "cloud run", measure: cloudRun }, { name: "references", measure: references }, {
    name: "ssh",
    measure: ssh,
  }];
  for (const { name, measure } of all.filter((m) => m.name.includes(values.only))) {
    console.error(`bench: ${name}`);
    done.push(...await measure(rig));
  }
  return done;
}

/** Runs a program of the system to its end. */
async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`${program} ${args.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
}

/**
 * A folder on a file system of its own, new: ext4 passes over every inode that was deleted within the last minutes, so that
 * on the machine's own one a start is slower by up to 40 ms after a run of the tests.
 */
async function freshFileSystem(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "krun-bench-" });
  const image = `${folder}.image`;
  const remove = async () => {
    await Deno.remove(image);
    await Deno.remove(folder);
  };
  try {
    using file = await Deno.create(image);
    await file.truncate(2 ** 30);
    await run("mkfs.ext4", "-q", image);
    await run("mount", "-o", "loop", image, folder);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    folder,
    [Symbol.asyncDispose]: async () => {
      await run("umount", folder);
      await remove();
    },
  };
}

{
  await using server = await startApiServer();
  await using disk = await freshFileSystem();
  const { folder } = disk;
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
  } else if (values.write) {
    await Deno.writeTextFile(PAGE, withRows(await Deno.readTextFile(PAGE), text));
  }
  if (text.missed > 0) Deno.exitCode = 1;
}
