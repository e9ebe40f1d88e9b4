/**
 * Packages that are loaded when they are first needed. In a program of another project Deno looks them up in the imports of that
 * project's deno.json, not in krun's.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };
import { KrunError } from "../core/errors.ts";

/** What `load` gives, which imports a package. @throws {KrunError} `PackageMissing` with what to add to deno.json */
export async function loadPackage<Module>(
  name: keyof typeof config.imports,
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    const [state] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    const message = `Cannot load package "${name}": ${state}`;
    const hint = `add "${name}": "${
      config.imports[name]
    }" to the imports in the deno.json of the program that uses krun`;
    throw new KrunError("PackageMissing", message, hint, { cause });
  }
}
