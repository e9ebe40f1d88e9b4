/**
 * Programs that outlived a krun which was killed. In: what the killed krun wrote down about them. Out: whether they still run,
 * and their end.
 *
 * A pid alone says nothing: it may belong to somebody else by now. Pid and start time name one process of one boot of the
 * machine, and the boot has an id. But a pid is known only after the start, so a kill may come before it is written down; and
 * a program may leave processes behind that are nobody's children. Both are found by the mark of their run
 * (`container_mark.ts`), which is written down before anything starts. Where the kernel keeps no mark, the record is all.
 *
 * @module
 */
import { isAlive, type ProcessStat, programFamily } from "../core/proc_stat.ts";
import { SIGCONT, SIGKILL, SIGTERM } from "../core/signals.ts";
import { markOf, runOfMark } from "./container_mark.ts";
import { type Libc, loadLibc } from "./libc.ts";
import { readProcess, readProcesses } from "./process_table.ts";

/** Names one process for good. Plain data, to be written down as JSON. */
export interface ProgramIdentity {
  readonly pid: number;
  /** Clock ticks between the boot of the machine and the start of the process. */
  readonly startTime: number;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
}

const POLL_MS = 25;

/** How long SIGKILL may take. */
const KILL_MS = 5000;

/** The identity of a running process; `undefined` when there is none of that pid, or /proc is not there. */
export function programIdentity(pid: number): ProgramIdentity | undefined {
  const libc = loadLibc();
  const found = readProcess(libc, pid);
  const bootId = libc.procText("/proc/sys/kernel/random/boot_id")?.trim();
  return found && isAlive(found) && bootId ? { pid, startTime: found.startTicks, bootId } : undefined;
}

/** The pid of a process if it is still the one that was written down, and alive. */
export function findSurvivor(identity: ProgramIdentity): number | undefined {
  const found = programIdentity(identity.pid);
  return found?.startTime === identity.startTime && found.bootId === identity.bootId ? identity.pid : undefined;
}

/** Living processes of the containers of a run; krun itself and those it was started by are not among them. */
export function findMarked(run: bigint): ProgramIdentity[] {
  const libc = loadLibc();
  const own = lineage(readProcesses(libc));
  const isMarked = (pid: number) => runOfMark(markOf(libc, pid) ?? 0n) === run;
  return libc.pids().filter((pid) => !own.has(pid) && isMarked(pid)).map(programIdentity)
    .filter((identity) => identity !== undefined);
}

/** What is known of the programs of a krun that was killed. */
export interface Former {
  /** Those that it wrote down. */
  readonly programs: readonly ProgramIdentity[];
  /** The mark of its run. */
  readonly run?: bigint | undefined;
  /** One of the programs that the others need as long as they run: it is asked to end after them. */
  readonly last?: ProgramIdentity | undefined;
}

/** Options of {@linkcode stopSurvivors}. */
export interface StopSurvivorsOptions {
  /** Milliseconds from SIGTERM to SIGKILL; 0 or less: SIGKILL at once. */
  readonly graceMs: number;
  /** Told once which processes are found, before the first signal; not when there is none. */
  onFound?(pids: readonly number[]): void;
}

/** Process ids of what outlived a krun, as {@linkcode stopSurvivors} would find it now. */
export function findSurvivors(former: Former): number[] {
  return [...familyOf(loadLibc(), former).keys()];
}

/**
 * Ends what outlived a krun: each program, its process group, all their descendants, the sessions that these lead, and
 * whatever else bears the mark. Touches no process whose pid, start time and boot id do not all match, and neither krun itself
 * nor those it was started by.
 *
 * Resolves to the process ids of what could not be ended.
 */
export async function stopSurvivors(former: Former, { graceMs, onFound }: StopSurvivorsOptions): Promise<number[]> {
  const libc = loadLibc();
  const family = familyOf(libc, former);
  if (family.size > 0) onFound?.([...family.keys()]);
  if (graceMs > 0) {
    const deadline = performance.now() + graceMs;
    const last = familyOf(libc, { programs: former.last ? [former.last] : [] });
    const others = new Map([...family].filter(([pid]) => !last.has(pid)));
    await endAll(libc, others, { signal: SIGTERM, waitMs: graceMs });
    await endAll(libc, family, { signal: SIGTERM, waitMs: deadline - performance.now() });
  }
  // What was started meanwhile by one that is gone since.
  for (const [pid, identity] of familyOf(libc, former)) family.set(pid, identity);
  return await endAll(libc, family, { signal: SIGKILL, waitMs: KILL_MS });
}

function familyOf(libc: Libc, { programs, run }: Former): Map<number, ProgramIdentity> {
  const family = new Map<number, ProgramIdentity>();
  const found = programs.map(findSurvivor).filter((pid) => pid !== undefined);
  const marked = run === undefined ? [] : findMarked(run);
  addFamily(libc, family, [...found, ...marked.map(({ pid }) => pid)]);
  return family;
}

/** Signals each process that is still itself, and what they start meanwhile, until none is left or the time is over. */
async function endAll(
  libc: Libc,
  family: Map<number, ProgramIdentity>,
  { signal, waitMs }: { signal: number; waitMs: number },
): Promise<number[]> {
  const deadline = performance.now() + waitMs;
  const told = new Set<number>();
  for (;;) {
    const left = [...family.values()].map(findSurvivor).filter((pid) => pid !== undefined);
    if (left.length === 0 || performance.now() > deadline) return left;
    addFamily(libc, family, left);
    for (const pid of left.filter((one) => !told.has(one))) {
      told.add(pid);
      libc.kill(pid, signal);
      // A stopped process does not see SIGTERM before it goes on.
      if (signal !== SIGKILL) libc.kill(pid, SIGCONT);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Adds what belongs to the given processes now. */
function addFamily(libc: Libc, family: Map<number, ProgramIdentity>, leaders: readonly number[]): void {
  if (leaders.length === 0) return;
  const table = readProcesses(libc);
  const own = lineage(table);
  for (const { pid } of leaders.flatMap((leader) => programFamily(table, leader))) {
    const identity = family.has(pid) || own.has(pid) ? undefined : programIdentity(pid);
    if (identity) family.set(pid, identity);
  }
}

/** krun itself and those it was started by: somebody may start it from a shell that outlived a krun. */
function lineage(table: readonly ProcessStat[]): ReadonlySet<number> {
  const parents = new Map(table.map(({ pid, parent }) => [pid, parent]));
  const own = new Set<number>();
  for (let pid: number | undefined = Deno.pid; pid !== undefined && !own.has(pid); pid = parents.get(pid)) own.add(pid);
  return own;
}
