/**
 * What a start needs to know of the process it runs in. `main.ts` gathers it; everything below gets it as an argument.
 *
 * @module
 */
import type { Env } from "../core/pod_inputs.ts";
import type { RunAs } from "../core/run_as.ts";

/** The process, as `main.ts` found it. */
export interface Surroundings {
  /** krun's own arguments, with bytes that are no UTF-8 as `core/byte_text.ts` keeps them. */
  readonly args: readonly string[];
  /** The whole environment krun was started with, kept in the same way. */
  readonly env: Env;
  /** Absolute. */
  readonly cwd: string;
  readonly pid: number;
  /** The words that start krun, for a program that is to start it again. @default {["krun"]} */
  readonly command?: readonly string[];
  /** Who krun is. */
  readonly self: RunAs;
  /** Writes one line to standard error, where all logs and errors go. */
  writeError(line: string): void;
  /** Writes text to standard output: help, version and `--check` alone. */
  writeOutput(text: string): void;
}
