/**
 * krun as the compiled one has it, one bundle, run by the Deno of the tests: what the binary's own Deno 2.6.10 lacks can be tried so,
 * also by a user who may not enter the checkout.
 *
 * ```ts
 * const argv = await bundledKrun(folder); // before krun's own arguments; DENO_DIR must be set
 * ```
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleProgram } from "../../scripts/compile.ts";
import { cached } from "./cached.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

async function* sourceFiles(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* sourceFiles(path);
    else if (!path.endsWith("_test.ts")) yield path;
  }
}

/** The files that krun is bundled and compiled of. */
export async function krunSources(): Promise<string[]> {
  const others = ["main.ts", "deno.json", "deno.lock", "scripts/compile.ts", "scripts/minify.ts"];
  return [...others.map((name) => join(ROOT, name)), ...await Array.fromAsync(sourceFiles(join(ROOT, "src")))];
}

let bundle: Promise<string> | undefined;

/** Path of its first module, beside which the others are, for the sources as they are now. */
export function krunBundle(): Promise<string> {
  const make = async (out: string) => {
    await Deno.mkdir(out);
    await bundleProgram(join(ROOT, "main.ts"), out);
  };
  return bundle ??=
    (async () => join(await cached("bundle", { sources: await krunSources(), make }), "small/main.js"))();
}

/** Puts it, and a Deno, into a folder that is there and anybody may read; the words that start it. */
export async function bundledKrun(folder: string): Promise<[string, ...string[]]> {
  const from = dirname(await krunBundle());
  for await (const { name } of Deno.readDir(from)) await Deno.copyFile(join(from, name), join(folder, name));
  const deno = join(folder, "deno");
  await Deno.link(Deno.execPath(), deno).catch(() => Deno.copyFile(Deno.execPath(), deno));
  // Its permission sets.
  const config = join(folder, "deno.json");
  await Deno.copyFile(join(ROOT, "deno.json"), config);
  return [
    ...[deno, "run", "--quiet", `--config=${config}`, "--no-lock", "--no-check"] as const,
    ...["-P=krun", "--allow-write=/,.", "--no-prompt", join(folder, "main.js")],
  ];
}
