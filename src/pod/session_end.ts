/**
 * The end of sessions whose user has gone. In: who led them. Out: SIGHUP for what is in them, then SIGKILL, as the interface
 * `SessionProcess.hangUp` says.
 *
 * All sessions that end at one time share the readings of /proc, each of which takes 20 microseconds a process: when a connection
 * is cut, or krun stops, that may be hundreds.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Logger } from "../core/log.ts";
import { isAlive, type ProcessStat } from "../core/proc_stat.ts";
import { SIGCONT, SIGHUP, SIGKILL } from "../core/signals.ts";
import type { Libc } from "./libc.ts";
import { ignoresSignal, readProcess, readProcesses } from "./process_table.ts";

/** How often the processes of the sessions are looked at. */
const LOOK_MS = 25;

/** How long SIGKILL may take: a process in an uninterruptible wait outlives it. */
const KILL_MS = 5000;

/** A process that was there at some time: together these name one process of a boot. */
export type SeenProcess = Pick<ProcessStat, "pid" | "startTicks">;

/** Options of {@linkcode SessionEnds.end}. */
export interface SessionEndOptions {
  /** How long what does not ignore SIGHUP may take. */
  readonly graceMs: number;
  /** The leader hears of it from the kernel, when `onTold` hangs up its terminal: a second SIGHUP may cut short what the first began. */
  readonly hasTerminal: boolean;
  /** Called when SIGHUP has been sent, before what is left of the session is waited for. Must not throw. */
  onTold(): void;
}

interface Ending extends SessionEndOptions {
  readonly leader: SeenProcess;
  readonly deadline: number;
  /** Processes that have got SIGHUP. */
  readonly told: Set<string>;
  isTold: boolean;
  /** What is waited for. */
  left: readonly SeenProcess[];
  readonly done: PromiseWithResolvers<void>;
}

/** Ends sessions. */
export class SessionEnds {
  readonly #libc: Libc;
  readonly #log: Logger;
  readonly #endings = new Set<Ending>();
  #isLooking = false;

  constructor({ libc, log }: { readonly libc: Libc; readonly log: Logger }) {
    this.#libc = libc;
    this.#log = log;
  }

  /** Ends the session that a process leads, or led. Resolves when only what ignores SIGHUP is left, or cannot be ended. */
  end(leader: SeenProcess, options: SessionEndOptions): Promise<void> {
    const done = Promise.withResolvers<void>();
    const deadline = performance.now() + options.graceMs;
    this.#endings.add({ ...options, leader, deadline, told: new Set(), isTold: false, left: [], done });
    if (!this.#isLooking) setImmediate(() => this.#look());
    this.#isLooking = true;
    return done.promise;
  }

  #look(): void {
    const nowMs = performance.now();
    let table: readonly ProcessStat[] | undefined;
    for (const ending of this.#endings) {
      ending.left = ending.left.filter((entry) => isThere(this.#libc, entry));
      if (ending.left.length > 0 && nowMs < ending.deadline) continue;
      // Also when everything has ended that was there: it may have started something before.
      table ??= readProcesses(this.#libc);
      if (this.#advance(ending, { members: membersOf(table, ending.leader), nowMs })) continue;
      this.#endings.delete(ending);
      ending.done.resolve();
    }
    this.#isLooking = this.#endings.size > 0;
    if (this.#isLooking) setTimeout(() => this.#look(), LOOK_MS);
  }

  /** Returns whether there is something left to wait for. */
  #advance(ending: Ending, { members, nowMs }: { members: readonly ProcessStat[]; nowMs: number }): boolean {
    const mortal = members.filter(({ pid }) => !ignoresSignal(this.#libc, pid, SIGHUP));
    for (const entry of members) this.#tell(ending, entry);
    if (!ending.isTold) ending.onTold();
    ending.isTold = true;
    ending.left = mortal;
    if (nowMs >= ending.deadline) { for (const entry of mortal) this.#signal(entry, SIGKILL); }
    if (mortal.length === 0 || nowMs < ending.deadline + KILL_MS) return mortal.length > 0;
    this.#log.warn("processes outlive their session", { pids: mortal.map(({ pid }) => pid).join() });
    return false;
  }

  /** SIGHUP, once; and a stopped process does not see it before it goes on. */
  #tell({ told, leader, hasTerminal }: Ending, entry: ProcessStat): void {
    const name = `${entry.pid} ${entry.startTicks}`;
    if (told.has(name)) return;
    told.add(name);
    if (hasTerminal && entry.pid === leader.pid) return;
    this.#signal(entry, SIGHUP);
    this.#signal(entry, SIGCONT);
  }

  /** Signals a process if it is still the one that was seen: its pid may have been given to another one. */
  #signal(entry: SeenProcess, signal: number): void {
    if (isThere(this.#libc, entry)) this.#libc.kill(entry.pid, signal);
  }
}

/** Whether a process that was seen is still alive. */
export function isThere(libc: Libc, { pid, startTicks }: SeenProcess): boolean {
  const now = readProcess(libc, pid);
  return now !== undefined && now.startTicks === startTicks && isAlive(now);
}

/** What is alive of a session. Nothing is where its leader's pid was given to another process: that waits for the last member's end. */
function membersOf(table: readonly ProcessStat[], leader: SeenProcess): ProcessStat[] {
  const isTaken = table.some(({ pid, startTicks }) => pid === leader.pid && startTicks !== leader.startTicks);
  return isTaken ? [] : table.filter((entry) => entry.session === leader.pid && isAlive(entry));
}
