/**
 * What /proc says about processes. In: the text of /proc/<pid>/stat. Out: the family of processes. Source: proc_pid_stat(5).
 *
 * @module
 */

/** One process, as far as krun looks. */
export interface ProcessStat {
  readonly pid: number;
  /** `R`, `S`, `D`, `T`, `Z` and so on; `Z` has ended and waits to be reaped, `X` is gone. */
  readonly state: string;
  readonly parent: number;
  /** Process group id. */
  readonly group: number;
  /** Session id. */
  readonly session: number;
  /** Clock ticks between the machine's boot and the start of the process. Together with `pid` it names one process of a boot. */
  readonly startTicks: number;
}

/** Reads a line of /proc/<pid>/stat; `undefined` when it is not one. The name may hold spaces, parentheses and line ends. */
export function parseProcStat(text: string): ProcessStat | undefined {
  const match = /^(\d+) \([^]*\) (\S) ([\d -]+)/.exec(text);
  if (!match) return undefined;
  const [parent, group, session, ...rest] = (match[3] ?? "").trim().split(" ").map(Number);
  const startTicks = rest[15];
  if (parent === undefined || group === undefined || session === undefined || startTicks === undefined) {
    return undefined;
  }
  return { pid: Number(match[1]), state: match[2] ?? "", parent, group, session, startTicks };
}

/** PF_KTHREAD and PF_EXITING of linux/sched.h. */
const KERNEL_THREAD = 0x0020_0000, EXITING = 0x4;

/** Whether a line of /proc/<pid>/stat is that of a thread of the kernel, which is nobody's process. */
export function isKernelThread(text: string): boolean {
  return (flagsOf(text) & KERNEL_THREAD) !== 0;
}

/** Whether it is that of a process in the midst of its end: it has left its namespaces, and is no zombie yet. */
export function isExiting(text: string): boolean {
  return (flagsOf(text) & EXITING) !== 0;
}

function flagsOf(text: string): number {
  const [, , , , , flags = "0"] = (/^\d+ \([^]*\) \S ([\d -]+)/.exec(text)?.[1] ?? "").split(" ");
  return Number(flags);
}

/** True when the process can still do something. */
export function isAlive(entry: ProcessStat): boolean {
  return entry.state !== "Z" && entry.state !== "X";
}

/** The living children of `root`, their children, and so on; `root` itself is not among them. */
export function descendants(table: readonly ProcessStat[], root: number): ProcessStat[] {
  return family(table, [root], (entry, pids) => pids.has(entry.parent)).filter((entry) => entry.pid !== root);
}

/**
 * Everything alive that belongs to a program which was started as the leader of a process group: the group, whatever it or
 * its children started, and every process of a session that one of these leads.
 */
export function programFamily(table: readonly ProcessStat[], leader: number): ProcessStat[] {
  return family(
    table,
    [leader],
    (entry, pids) => entry.group === leader || pids.has(entry.parent) || pids.has(entry.session),
  );
}

/** Grows a set of processes by a rule until nothing is added. Zombies hand membership on but are not in the result. */
function family(
  table: readonly ProcessStat[],
  roots: readonly number[],
  belongs: (entry: ProcessStat, pids: ReadonlySet<number>) => boolean,
): ProcessStat[] {
  const pids = new Set(roots);
  for (let before = -1; before !== pids.size;) {
    before = pids.size;
    for (const entry of table) if (belongs(entry, pids)) pids.add(entry.pid);
  }
  return table.filter((entry) => pids.has(entry.pid) && isAlive(entry));
}

/**
 * True when nobody could continue a process group that its terminal stopped: no member has a parent in another group of the
 * same session. The kernel does not let such a group be stopped by the terminal (POSIX.1-2017, 3.264 "orphaned process group").
 */
export function isOrphanedGroup(table: readonly ProcessStat[], group: number): boolean {
  const byPid = new Map(table.map((entry) => [entry.pid, entry]));
  return !table.some((entry) => {
    const parent = byPid.get(entry.parent);
    return entry.group === group && parent && parent.group !== group && parent.session === entry.session;
  });
}
