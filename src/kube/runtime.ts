/**
 * What the runtime below krun can do.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { isAtLeast } from "../core/runtime_version.ts";

/**
 * Refuses to go on where the runtime lacks something, rather than do it in a weaker way.
 *
 * @param what what needs it, as after "Cannot use"
 * @param version the runtime's own version; an argument for tests. @default {Deno.version.deno}
 * @throws {KrunError} `RuntimeTooOld`
 */
export function requireRuntime(needed: string, what: string, version: string = Deno.version.deno): void {
  if (isAtLeast(version, needed)) return;
  const message = `Cannot use ${what}: it needs Deno ${needed} or later, and this krun has ${version}`;
  throw new KrunError("RuntimeTooOld", message, `use a krun built with Deno ${needed} or later`);
}
