/**
 * Starts `process_runner.ts` as a process of its own.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { descendants } from "../src/core/proc_stat.ts";
import { SIGKILL } from "../src/core/signals.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { readProcesses } from "../src/pod/process_table.ts";
import { KrunProcess } from "./krun_process.ts";

// Here and not at its first use, since the leak check counts a library that a test loads.
const libc = loadLibc();

/** What to start, and how. */
export interface RunnerOptions {
  /** Options of the runner itself, without `--`. */
  readonly options?: readonly string[];
  /** The program and its arguments. */
  readonly program: readonly string[];
  /** A program and its arguments that starts the runner, such as `["setsid"]`. */
  readonly under?: readonly string[];
  /** Permissions of the runner. @default {["-A"]} */
  readonly permissions?: readonly string[];
}

/** The words that start the runner. */
export function runnerArgv({ options = [], program, under = [], permissions = ["-A"] }: RunnerOptions): string[] {
  const script = fileURLToPath(new URL("process_runner.ts", import.meta.url));
  const deno = [Deno.execPath(), "run", "--quiet", "--no-lock", "--no-config", "--no-prompt", ...permissions];
  return [...under, ...deno, script, ...options, "--", ...program];
}

/** A runner with its output read and no input. Disposing it kills it, and the program that would outlive it. */
export class RunnerProcess extends KrunProcess {
  override async [Symbol.asyncDispose](): Promise<void> {
    for (const { pid } of descendants(readProcesses(libc), this.pid)) libc.kill(pid, SIGKILL);
    await super[Symbol.asyncDispose]();
  }
}

/** Starts a runner. */
export function startRunner(options: RunnerOptions): RunnerProcess {
  const { PATH = "/usr/bin:/bin", HOME = "/", DENO_DIR } = Deno.env.toObject();
  const env = { PATH, HOME, ...(DENO_DIR === undefined ? {} : { DENO_DIR }) };
  return new RunnerProcess({ args: [], argv: runnerArgv(options), cwd: "/", env });
}
