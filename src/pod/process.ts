/**
 * Starts programs and sees them end. In: what to start. Out: its pid, and how it ended.
 *
 * Not with `Deno.Command`: that knows no process group, no list of groups and no foreground, runs a text file without `#!` by
 * /bin/sh, and loses the number of a real-time signal.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { ChildEnd } from "../core/exit_status.ts";
import type { Logger } from "../core/log.ts";
import { descendants, type ProcessStat, programFamily } from "../core/proc_stat.ts";
import { SIGCONT, SIGKILL, signalName, SIGTERM, SIGTTIN, SIGTTOU } from "../core/signals.ts";
import { processChange } from "../core/wait_status.ts";
import { containerMark, markCall, markOf, newRunMark, runOfMark } from "./container_mark.ts";
import { EPERM, ESRCH, type Libc, loadLibc } from "./libc.ts";
import { openFilesAtStart, openFilesCalls } from "./open_files.ts";
import { openOutput, type OutputPipe } from "./output_pipe.ts";
import { handlesSignal, hasChild, readProcess, readProcesses } from "./process_table.ts";
import {
  checkTexts,
  type Failure,
  otherUser,
  programError,
  type ProgramSpec,
  runAsError,
  shownName,
  tryProgram,
} from "./program.ts";
import { type SessionStdio, spawn, type SpawnOptions } from "./spawn.ts";
import { Terminal } from "./terminal.ts";
import { asUser, ownUser } from "./user.ts";

/** What to start, and as whom. */
export interface ProcessSpec extends ProgramSpec {
  /** Make it the terminal's foreground group, where krun has a terminal and its group alone is in the foreground. @default {false} */
  readonly foreground?: boolean;
  /** `stdin-null`: standard input is /dev/null; `null`: all three. @default {"inherit"} */
  readonly stdio?: "inherit" | "stdin-null" | "null";
  /** Called with each line of its standard output and error, which are then not krun's own. Must not throw. */
  onLine?(line: string): void;
  /**
   * Makes it the leader of a session of its own, with these as its standard input, output and error. Nothing of how krun was started
   * concerns its signals then: all are at their default, and none is blocked.
   */
  readonly session?: SessionStdio;
  /** Signals other than SIGKILL reach the program alone, not its group: it ends its own children, in its own order. @default {false} */
  readonly signalAlone?: boolean;
  /** Whose process it is: see {@linkcode Processes.endContainer}. Unset: nobody's. */
  readonly container?: string;
}

/** A program that was started. */
export interface RunningProcess {
  /** Also the id of its process group. */
  readonly pid: number;
  /** Resolves once, when it has ended and was reaped. Never rejects. */
  readonly ended: Promise<ChildEnd>;
  /**
   * Sends a signal to its process group; nothing happens once it was reaped, when its number may be another's. SIGTTIN and SIGTTOU reach the program alone,
   * and only when it handles them: else they would stop it for good, which the kernel does not do to the PID 1 of a container.
   */
  kill(signal: number): void;
}

/** Options of {@linkcode Processes}. */
export interface ProcessesOptions {
  readonly log: Logger;
  /** The mark that the processes of all containers share, so that they can be found when krun was killed. @default {a new one} */
  readonly run?: bigint;
}

interface Child {
  readonly pid: number;
  readonly container: string | undefined;
  readonly foreground: boolean;
  readonly signalAlone: boolean;
  readonly end: PromiseWithResolvers<ChildEnd>;
}

/** How a tree of processes is ended. */
interface EndTreeOptions {
  readonly waitMs: number;
  /** Picks the processes that are meant. @default {all of them} */
  readonly part?: (tree: ProcessStat[]) => ProcessStat[];
}

const NULL_FDS = { "inherit": [], "stdin-null": [0], "null": [0, 1, 2] } as const;

/** How long a zombie that krun did not start may wait for somebody else to reap it: Deno does so within a millisecond. */
const ORPHAN_MS = 500;

/** How often the process tree is looked at while it is being ended. */
const TREE_MS = 25;

/** How long SIGKILL may take: a process in an uninterruptible wait outlives it. */
const KILL_MS = 5000;

/**
 * Every process that krun starts, and every orphan that becomes krun's child, since krun is PID 1 or a subreaper.
 *
 * One at a time in a process, on the main thread. Not needed: `run` permission; needed: `ffi` until {@linkcode loadLibc} was
 * called.
 */
export class Processes implements AsyncDisposable {
  readonly #libc: Libc;
  readonly #log: Logger;
  readonly #run: bigint;
  readonly #openFiles: bigint | undefined;
  readonly #children = new Map<number, Child>();
  readonly #outputs = new Set<OutputPipe>();
  /** Mark of each container. */
  readonly #marks = new Map<string, bigint>();
  /** Children that krun had before it started any, with their start: of whoever was this process before, or of a library's user. */
  readonly #strangers: ReadonlyMap<number, number>;
  readonly #onChange = () => this.#lookAtChildren();
  /** Keeps the event loop going for whoever awaits the end of a program: a signal listener does not. */
  #alive: ReturnType<typeof setInterval> | undefined;
  #terminal: Terminal | undefined;
  #sweep: ReturnType<typeof setTimeout> | undefined;
  #zombies = new Set<number>();
  constructor({ log, run = newRunMark() }: ProcessesOptions) {
    this.#log = log;
    this.#run = run;
    this.#libc = loadLibc();
    this.#openFiles = openFilesAtStart(this.#libc);
    this.#strangers = childrenNow(this.#libc);
    if (Deno.pid !== 1) this.#libc.setSubreaper(true);
    Deno.addSignalListener("SIGCHLD", this.#onChange);
  }

  /**
   * Starts a program, leader of its own process group.
   *
   * It gets the signals ignored, the signal mask and the limit of open files that krun was started with; every other signal
   * is at its default. Nothing but 0, 1 and 2 is open in it that krun was not started with.
   *
   * @throws {KrunError} `ProgramNotFound`, `ProgramNotExecutable`; `RunAsDenied`; `PodInvalid` for a NUL byte or a working
   * directory that cannot be entered.
   */
  start(spec: ProcessSpec): RunningProcess {
    checkTexts(spec);
    const foreground = spec.foreground === true && this.#takesTerminal();
    const pid = this.#withOutput(
      spec,
      (outputFd) => this.#spawn(spec, { outputFd, foregroundOf: foreground ? this.#terminal?.fd : undefined }),
    );
    const end = Promise.withResolvers<ChildEnd>();
    this.#children.set(pid, {
      pid,
      container: spec.container,
      foreground: spec.foreground === true,
      signalAlone: spec.signalAlone === true,
      end,
    });
    // Not before the start: the first timer of a process costs 5 ms (Deno 2.9.6).
    this.#alive ??= setInterval(() => {}, 0x7fffffff);
    this.#log.debug("process started", { pid, program: shownName(spec), foreground });
    return { pid, ended: end.promise, kill: (signal) => this.#kill(pid, signal) };
  }

  /** Calls `start` with the descriptor that is to be the program's output, where that is not krun's own. */
  #withOutput(spec: ProcessSpec, start: (outputFd: number | undefined) => number): number {
    const { onLine, uid, gid } = spec;
    if (!onLine) return start(undefined);
    const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
    const output = openOutput(this.#libc, { owner, onLine });
    this.#outputs.add(output);
    void output.ended.then(() => this.#outputs.delete(output));
    try {
      return start(output.writeFd);
    } finally {
      output.given();
    }
  }

  #spawn(spec: ProcessSpec, descriptors: Pick<SpawnOptions, "outputFd" | "foregroundOf">): number {
    const libc = this.#libc;
    const { argv, env, cwd, session, container, stdio = "inherit" } = spec;
    const user = otherUser(libc, spec);
    const mark = container === undefined ? [] : [markCall(libc, this.#mark(container))];
    const before = [...openFilesCalls(libc, this.#openFiles), ...mark];
    const options = { cwd, session, user, before, ...descriptors, nullFds: NULL_FDS[stdio] };
    let pid = 0;
    let failure: Failure | undefined;
    const attempt = (path: string) => {
      pid = spawn(libc, { path, argv, env }, options);
      return Math.max(0, -pid);
    };
    const run = () => void (failure = tryProgram(libc, spec, attempt));
    if (user === undefined) run();
    else {
      const errno = asUser(libc, user, run);
      if (errno !== 0) throw runAsError(spec, user, { errno, self: ownUser(libc) });
    }
    if (failure) throw this.#failed(spec, failure);
    return pid;
  }

  /** The kernel tells of a missing /dev/null as of a missing program. */
  #failed(spec: ProcessSpec, failure: Failure): KrunError {
    const needsNull = NULL_FDS[spec.stdio ?? "inherit"].length > 0;
    if (!needsNull || this.#libc.access("/dev/null", "exists") === 0) return programError(this.#libc, spec, failure);
    const message = `Cannot start program "${shownName(spec)}": there is no /dev/null to be its standard input`;
    return new KrunError("ProgramNotExecutable", message, "mount /dev, or bind the /dev/null of the machine");
  }

  #mark(container: string): bigint {
    const mark = this.#marks.get(container) ?? containerMark(this.#run, this.#marks.size + 1);
    this.#marks.set(container, mark);
    return mark;
  }

  /** Whether a program that asks for the foreground can have it now. */
  #takesTerminal(): boolean {
    this.#terminal ??= Terminal.open();
    return this.#terminal?.isOursAlone ?? false;
  }

  #kill(pid: number, signal: number): void {
    // Its number may be somebody else's by now.
    if (!this.#children.has(pid)) return;
    const ofTerminal = signal === SIGTTIN || signal === SIGTTOU;
    if (ofTerminal && !handlesSignal(this.#libc, pid, signal)) return;
    const isAlone = ofTerminal || signal !== SIGKILL && this.#children.get(pid)?.signalAlone === true;
    const errno = this.#libc.kill(isAlone ? pid : -pid, signal);
    if (errno !== 0 && errno !== ESRCH) {
      this.#log.warn("signal could not be sent", { pid, signal: signalName(signal), errno });
    }
  }

  #lookAtChildren(): void {
    for (const child of this.#children.values()) {
      const status = this.#libc.wait(child.pid);
      if (status === undefined) continue;
      const change = processChange(status);
      if (change.kind === "stopped") this.#stopped(child, change.signal);
      else this.#ended(child, change);
    }
    if (this.#sweep === undefined && this.#libc.hasZombie()) this.#reapOrphans();
  }

  #stopped({ pid, foreground }: Child, signal: number): void {
    this.#log.debug("program stopped", { pid, signal: signalName(signal) });
    if (!foreground || this.#terminal?.programStopped(pid, signal) !== false) return;
    this.#log.warn("program waits for the terminal and nobody can give it", { pid });
  }

  #ended({ pid, foreground, end }: Child, result: ChildEnd): void {
    this.#children.delete(pid);
    if (foreground) this.#terminal?.programEnded(pid, { bySignal: result.kind === "signaled" });
    end.resolve(result);
  }

  /** Reaps the zombies that nobody reaped since the last look, and looks again as long as there are any. */
  #reapOrphans(): void {
    const zombies = readProcesses(this.#libc)
      .filter((entry) => entry.parent === Deno.pid && entry.state === "Z" && !this.#children.has(entry.pid))
      .map((entry) => entry.pid);
    const orphans = zombies.filter((pid) => this.#zombies.has(pid));
    for (const pid of orphans) this.#libc.wait(pid);
    if (orphans.length > 0) this.#log.debug("orphans reaped", { count: orphans.length });
    this.#zombies = new Set(zombies.filter((pid) => !this.#zombies.has(pid)));
    this.#sweep = this.#zombies.size > 0 ? setTimeout(() => this.#reapOrphans(), ORPHAN_MS) : undefined;
  }

  /**
   * Ends everything that is left of the programs, adopted orphans included: SIGTERM, and SIGKILL after `graceMs`; 0 or less
   * is SIGKILL at once. Resolves when nothing is left, or what is left cannot be ended, which is logged.
   *
   * Children that this process had before, or started by other means and left in its own process group, are not touched.
   */
  async stopAll({ graceMs }: { graceMs: number }): Promise<void> {
    if (graceMs > 0) await this.#endTree(SIGTERM, { waitMs: graceMs });
    const left = await this.#endTree(SIGKILL, { waitMs: KILL_MS });
    if (left.length > 0) this.#log.warn("processes outlive krun", { pids: left.map((entry) => entry.pid).join() });
    else await Promise.all([...this.#children.values()].map((child) => child.end.promise));
    // Whoever could still write is gone, or cannot be ended.
    if (left.length > 0) { for (const output of this.#outputs) output.close(); }
    await Promise.all([...this.#outputs].map(({ ended }) => ended));
  }

  /**
   * Kills everything that is left of a container, daemons in sessions of their own included, as the end of its PID 1 does in a
   * Pod. Resolves when nothing is left, or what is left cannot be ended, which is logged. Other containers are not touched.
   *
   * Where the kernel cannot mark processes (see `container_mark.ts`), a daemon whose parents were gone before is found only
   * as long as no second container has been started.
   */
  async endContainer(container: string): Promise<void> {
    const left = await this.#endTree(SIGKILL, { waitMs: KILL_MS, part: (tree) => this.#partOf(container, tree) });
    if (left.length === 0) return;
    this.#log.warn("processes outlive their container", { container, pids: left.map((entry) => entry.pid).join() });
  }

  /** Sends a signal to each process of a tree, also to those that appear meanwhile. Resolves to what is left. */
  async #endTree(signal: number, { waitMs, part = (tree) => tree }: EndTreeOptions): Promise<ProcessStat[]> {
    const deadline = performance.now() + waitMs;
    const told = new Set<number>();
    for (let before = "";;) {
      if (!hasChild(this.#libc)) return [];
      const table = readProcesses(this.#libc);
      const left = part(this.#treeIn(table));
      if (performance.now() > deadline) return left;
      // A process that starts another one and ends can hide both from one reading of /proc; what ended shows as one more zombie.
      const children = table.filter(({ parent }) => parent === Deno.pid).map(({ pid }) => pid).join();
      if (left.length === 0 && children === before) return left;
      before = children;
      const news = left.filter((entry) => !told.has(entry.pid));
      const refused = news.map((entry) => this.#end(entry, signal)).filter((errno) => errno === EPERM);
      for (const { pid } of news) told.add(pid);
      if (left.length > 0 && refused.length === left.length) return left;
      // A process that never stays the same one is caught by being quick.
      const isQuick = left.length === 0 || signal === SIGKILL && news.length > 0;
      await new Promise((resolve) => setTimeout(resolve, isQuick ? 0 : TREE_MS));
    }
  }

  /** What is alive of the programs, and what they left behind. */
  #treeIn(table: readonly ProcessStat[]): ProcessStat[] {
    const ownGroup = this.#libc.ownGroup();
    const isOfRun = (pid: number) => runOfMark(markOf(this.#libc, pid) ?? 0n) === this.#run;
    const isStranger = ({ parent, group, pid, startTicks }: ProcessStat) =>
      parent === Deno.pid && !this.#children.has(pid) &&
      (this.#strangers.get(pid) === startTicks || group === ownGroup && !isOfRun(pid));
    return descendants(table.filter((entry) => !isStranger(entry)), Deno.pid);
  }

  /** The part of the tree that is a container's: by its mark, by its process groups, and whatever these started. */
  #partOf(container: string, tree: ProcessStat[]): ProcessStat[] {
    if (this.#marks.size === 1 && this.#marks.has(container)) return tree;
    const mark = this.#marks.get(container);
    const leaders = [...this.#children.values()].filter((child) => child.container === container).map(({ pid }) => pid);
    const marked = tree.filter(({ pid }) => mark !== undefined && markOf(this.#libc, pid) === mark);
    const family = [...leaders, ...marked.map(({ pid }) => pid)].flatMap((pid) => programFamily(tree, pid));
    return tree.filter(({ pid }) => family.some((entry) => entry.pid === pid));
  }

  /** Signals a process if it is still the one that was seen: its pid may have been given to another one. */
  #end({ pid, startTicks }: ProcessStat, signal: number): number {
    if (readProcess(this.#libc, pid)?.startTicks !== startTicks) return ESRCH;
    const errno = this.#libc.kill(pid, signal);
    // A stopped process does not see SIGTERM before it goes on.
    if (errno === 0 && signal !== SIGKILL) this.#libc.kill(pid, SIGCONT);
    return errno;
  }

  /** Ends everything at once and forgets the children. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll({ graceMs: 0 });
    clearTimeout(this.#sweep);
    clearInterval(this.#alive);
    Deno.removeSignalListener("SIGCHLD", this.#onChange);
    if (Deno.pid !== 1) this.#libc.setSubreaper(false);
    this.#terminal?.[Symbol.dispose]();
  }
}

/** The children of this process, by the instant of their start. Nearly always none, which is one system call. */
function childrenNow(libc: Libc): ReadonlyMap<number, number> {
  if (!hasChild(libc)) return new Map();
  const children = readProcesses(libc).filter(({ parent }) => parent === Deno.pid);
  return new Map(children.map(({ pid, startTicks }) => [pid, startTicks]));
}
