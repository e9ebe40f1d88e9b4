/**
 * Programs that outlived a krun that was killed: recorded when they start, stopped by the next krun in the same base.
 *
 * @module
 */
import { factsOf, parseJournal } from "../core/base_journal.ts";
import { ISTIO_PROXY } from "../core/istio_proxy.ts";
import type { Logger } from "../core/log.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { join } from "../core/posix_path.ts";
import type { BaseFolder } from "../pod/base_folder.ts";
import { isRunMark, markOf, newRunMark } from "../pod/container_mark.ts";
import { JOURNAL_NAME } from "../pod/journal_file.ts";
import { loadLibc } from "../pod/libc.ts";
import { findSurvivors, type Former, type ProgramIdentity, programIdentity, stopSurvivors } from "../pod/survivor.ts";

/** Keys of the records in the base's journal: the mark of a run, and its containers' processes. */
const RUN = "run", PROGRAMS = "programs";

/** The record of one base folder. */
export class Survivors {
  /** The mark for every process of this run, by which it is found at whatever moment krun is killed. */
  readonly run = newRunMark();
  readonly #base: BaseFolder;
  readonly #log: Logger;
  readonly #running = new Map<string, ProgramIdentity>();

  constructor(base: BaseFolder, log: Logger) {
    this.#base = base;
    this.#log = log;
  }

  /**
   * Stops what a former krun left running, politely first, by SIGKILL after `graceMs`, and records this run in its place; call
   * it before anything is started. A process that merely has the same id is left alone.
   *
   * @throws {KrunError} `NoSpace`, `TargetUnwritable` as `BaseFolder.record`.
   */
  async stop(graceMs: number): Promise<void> {
    const former = formerRun((key) => this.#base.read(key));
    const { programs, run } = former;
    if (programs.length > 0 || run !== undefined) await stopFormer(former, { graceMs, log: this.#log });
    // The mark last: a kill in between must not lose the former one.
    if (programs.length > 0) this.#base.record(PROGRAMS, undefined);
    this.#base.record(RUN, String(this.run));
  }

  /** Records a container's process, in place of the one before. */
  started(container: string, pid: number): void {
    const identity = programIdentity(pid);
    if (identity) this.#running.set(container, identity);
    this.#base.record(PROGRAMS, Object.fromEntries(this.#running));
  }
}

/** Options of {@linkcode endRun}. */
export interface EndRunOptions {
  /** From SIGTERM to SIGKILL, milliseconds. */
  readonly graceMs: number;
  readonly log: Logger;
}

/** Stops what a krun that was killed left running, by the mark of its run alone. */
export async function endRun(run: bigint, options: EndRunOptions): Promise<void> {
  await stopFormer({ programs: [], run }, options);
}

async function stopFormer(former: Former, { graceMs, log }: EndRunOptions): Promise<void> {
  const onFound = (pids: readonly number[]) =>
    log.warn("stopping what a killed krun left running", { pids: pids.join() });
  const left = await stopSurvivors(former, { graceMs, onFound });
  if (left.length > 0) log.warn("what a killed krun left running cannot be stopped", { pids: left.join() });
}

/** Whether there is a process of any krun's containers. */
export function anyMarked(): boolean {
  const libc = loadLibc();
  return libc.pids().some((pid) => isRunMark(markOf(libc, pid) ?? 0n));
}

/**
 * Process ids of what a killed krun left running, in a base that is not taken yet; none where its journal cannot be read. Needs
 * `--allow-read`.
 */
export function survivorsIn(base: string): number[] {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(join(base, STATE_FOLDER, JOURNAL_NAME));
  } catch {
    return [];
  }
  const facts = factsOf(parseJournal(bytes, base).entries);
  return findSurvivors(formerRun((key) => facts.get(key)));
}

/** What a journal says of a run. The mesh's proxy is the last to end: the others may still call into the mesh. */
function formerRun(read: (key: string) => unknown): Former {
  const programs = (read(PROGRAMS) ?? {}) as Record<string, ProgramIdentity>;
  const run = read(RUN) as string | undefined;
  return {
    programs: Object.values(programs),
    run: run === undefined ? run : BigInt(run),
    last: programs[ISTIO_PROXY],
  };
}
