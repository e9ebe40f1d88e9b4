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
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleProgram } from "../../scripts/compile.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Puts it, and a Deno, into a folder that is there and anybody may read; the words that start it. */
export async function bundledKrun(folder: string): Promise<[string, ...string[]]> {
  const entry = await bundleProgram(join(ROOT, "main.ts"), folder);
  const deno = join(folder, "deno");
  await Deno.link(Deno.execPath(), deno).catch(() => Deno.copyFile(Deno.execPath(), deno));
  // Its permission sets.
  const config = join(folder, "deno.json");
  await Deno.copyFile(join(ROOT, "deno.json"), config);
  return [
    ...[deno, "run", "--quiet", `--config=${config}`, "--no-lock", "--no-check"] as const,
    ...["-P=krun", "--allow-write=/,.", "--no-prompt", entry],
  ];
}
