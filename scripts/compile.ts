/**
 * Makes `dist/krun`, one self-contained executable, in three steps: the program is bundled and tree-shaken, with its lazy
 * parts still in files of their own; the files are minified; `deno compile` embeds them. Unbundled, opening the embedded
 * packages would cost 120 ms at every start; one bundle without splitting would be parsed whole; and what is embedded is
 * resident, used or not, so every megabyte less is one less in memory.
 *
 * In: `--deno PATH` another deno for the last step (the bundler is always the running one), `--out PATH`; `DENORT_BIN` is
 * honoured by `deno compile` itself. Out: the executable, and one line on stderr.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CONFIG = join(ROOT, "deno.json");

/** Options of {@linkcode compileProgram}. */
export interface CompileOptions {
  /** The program's first module. @default {main.ts} */
  readonly entry?: string;
  /** The program bundled, as {@linkcode bundleProgram} gives it. @default {made, and removed} */
  readonly bundle?: string;
  /** The executable to write. @default {dist/krun} */
  readonly out?: string;
  /** The deno that compiles. @default {the running one} */
  readonly deno?: string;
  /** Its base executable: of the same Deno version. @default {`DENORT_BIN`, else deno downloads it} */
  readonly denort?: string;
}

/** Runs a program to its end; gives what it said when it failed. */
async function start(program: string, args: string[], env: Record<string, string> = {}): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command(program, { args, env: { ...env, NO_COLOR: "1" }, stdin: "null" })
    .output();
  return success ? undefined : new TextDecoder().decode(stderr);
}

/** What a person can do about a failed `deno compile`, in one line where the cause is known. */
export function explainFailure(stderr: string, version: string): string {
  if (/denort|standalone binary section/.test(stderr)) {
    return `Cannot compile with Deno ${version}: its base executable is neither here nor to be downloaded, or of another version; ` +
      `set DENORT_BIN to a denort ${version}, or give --deno PATH with the DENORT_BIN of that deno`;
  }
  return stderr.trim();
}

/** Bundles and minifies a program into an existing empty folder; gives the path of its first file. */
export async function bundleProgram(entry: string, folder: string): Promise<string> {
  const [large, small] = [join(folder, "large"), join(folder, "small")];
  const name = basename(entry).replace(/\.ts$/, ".js");
  const bundling = await start(Deno.execPath(), [
    ...["bundle", "--quiet", "--config", CONFIG, "--frozen", "--platform=deno", "--code-splitting"],
    // Optional native parts of packages: never there, and without this line the bundler stops at them.
    ...["--external=*.node", "--outdir", large, entry],
  ]);
  // The bundler can end well without writing anything.
  const written = await Deno.stat(join(large, name)).then(() => true, () => false);
  if (bundling !== undefined || !written) {
    throw new Error(`Cannot bundle ${entry}: ${bundling?.trim() ?? "no output"}`);
  }
  const minify = ["run", "--quiet", "--config", CONFIG, "--frozen", "-P=script", join(ROOT, "scripts", "minify.ts")];
  const minifying = await start(Deno.execPath(), [...minify, join(large, name), small]);
  if (minifying !== undefined) throw new Error(`Cannot minify ${entry}: ${minifying.trim()}`);
  return join(small, name);
}

/**
 * Bundles and compiles; gives the executable's path.
 *
 * Needs read, write and run. The first time on a machine fetches bundler and minifier from the package registry.
 *
 * @throws {Error} with what the bundler or compiler said, or with what to do when the compiler has no base executable.
 */
export async function compileProgram(options: CompileOptions = {}): Promise<string> {
  const { entry = join(ROOT, "main.ts"), out = join(ROOT, "dist", "krun"), deno: compiler = Deno.execPath() } = options;
  await Deno.mkdir(dirname(out), { recursive: true });
  const folder = await Deno.makeTempDir({ dir: dirname(out), prefix: "bundle-" });
  try {
    const bundled = options.bundle ?? await bundleProgram(entry, folder);
    const compiling = await start(compiler, [
      // A named set would fix a relative path to the folder of deno.json; as a flag, "." is the folder krun is started in.
      ...["compile", "--quiet", "--config", CONFIG, "-P=krun", "--allow-write=/,.", "--no-prompt"],
      // Its code cache would be a file in /tmp that is read back without a look at its owner.
      ...["--no-code-cache", "--no-check", "--no-lock", "--output", out, bundled],
    ], options.denort === undefined ? {} : { DENORT_BIN: options.denort });
    // A base of another version is not refused by the compiler: only the executable itself says so.
    const failure = compiling ?? await start(out, ["--help"]);
    if (failure === undefined) return out;
    await Deno.remove(out).catch(() => {});
    throw new Error(explainFailure(failure, await versionOf(compiler)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await new Deno.Command(program, { args: ["--version"] }).output();
  return /^deno (\S+)/.exec(new TextDecoder().decode(stdout))?.[1] ?? "of unknown version";
}

if (import.meta.main) {
  const started = performance.now();
  try {
    const { values } = parseArgs({ args: Deno.args, options: { deno: { type: "string" }, out: { type: "string" } } });
    for (const [name, value] of Object.entries(values)) {
      if (value === "") throw new Error(`--${name} names no file; give a path, or leave it out`);
    }
    const out = await compileProgram(values);
    const megabytes = Math.round((await Deno.stat(out)).size / 1e6);
    console.error(`compile: ${out}, ${megabytes} MB, after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    console.error(`compile: ${(error as Error).message}`);
    Deno.exit(1);
  }
}
