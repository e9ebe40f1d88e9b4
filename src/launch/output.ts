/**
 * What krun itself prints: help, version and the report of `--check`.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { readFailure } from "../kube/deno_files.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Writes a text to standard output. A reader who is gone, as `head -1` is, has seen what it wanted: that is no failure.
 *
 * @throws {KrunError} `OutputUnwritable`
 */
export function print(outer: Surroundings, text: string): void {
  try {
    outer.writeOutput(text);
  } catch (cause) {
    if (cause instanceof Deno.errors.BrokenPipe) return;
    const message = `Cannot write to standard output: ${readFailure(cause)}`;
    throw new KrunError("OutputUnwritable", message, "send it where there is room", { cause });
  }
}
