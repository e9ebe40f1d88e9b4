/**
 * Job control: the program on krun's terminal, as if the shell had started it. In: the program's group, and that it stopped or
 * ended. Out: who is in the foreground, and when krun stops with the program. Rules: credentials(7), tcsetpgrp(3), POSIX.1-2017
 * 11.1 "General Terminal Interface".
 *
 * The program's group is the foreground group, so Ctrl-C, Ctrl-Z and window changes go from the terminal to the program alone.
 * Where others stand in krun's group, as in a pipeline or a script, they would lose the terminal by that: the program gets it
 * when it wants it, and until then krun passes on what the terminal sends.
 *
 * @module
 */
import { isOrphanedGroup } from "../core/proc_stat.ts";
import { SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU } from "../core/signals.ts";
import { type Bytes, ESRCH, type Libc, loadLibc, O_NOCTTY, O_RDWR } from "./libc.ts";
import { readProcesses } from "./process_table.ts";
import { blockTerminalStop } from "./signal_mask.ts";

/** Read and set the modes (ioctl_tty(2)); setting waits until all output is written. */
const TCGETS = 0x5401, TCSETSW = 0x5403;

/** krun's controlling terminal. */
export class Terminal implements Disposable {
  /** Close-on-exec. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #modes: Bytes;
  readonly #unblock: () => void;

  /** Opens krun's controlling terminal; `undefined` when it has none. Close it with `using`. */
  static open(): Terminal | undefined {
    const libc = loadLibc();
    const fd = libc.open("/dev/tty", O_RDWR | O_NOCTTY);
    return fd < 0 ? undefined : new Terminal(libc, fd);
  }

  private constructor(libc: Libc, fd: number) {
    this.fd = fd;
    this.#libc = libc;
    this.#modes = new Uint8Array(64);
    libc.call("ioctl", fd, TCGETS, this.#modes);
    // krun changes the foreground group, and writes its log, while it is in the background itself.
    this.#unblock = blockTerminalStop(libc);
  }

  /** True when the terminal's foreground is krun's own group, and nobody else stands in it, so that krun may give it away. */
  get isOursAlone(): boolean {
    return this.#isOurs &&
      !readProcesses(this.#libc).some(({ group, pid }) => group === this.#ourGroup && pid !== Deno.pid);
  }

  /**
   * A program that may use the terminal was stopped. It gets the terminal when that is all it wants; else krun's own job is
   * stopped as well, so that the shell takes over, and when the shell continues it, so is the program.
   *
   * Returns false when the program stays stopped: it waits for a terminal that nobody can give it.
   */
  programStopped(group: number, signal: number): boolean {
    const wantsTerminal = signal === SIGTTIN || signal === SIGTTOU;
    const hadTerminal = this.#foreground === group;
    if (!wantsTerminal || !(this.#isOurs || hadTerminal)) {
      if (hadTerminal) this.#give(this.#ourGroup);
      if (!suspendJob() && wantsTerminal) return false;
    }
    if (this.#isOurs && (wantsTerminal || hadTerminal || this.isOursAlone)) this.#give(group);
    this.#libc.kill(-group, SIGCONT);
    return true;
  }

  /** A program that had the terminal ended: krun's group gets it back, and its modes when a signal ended the program. */
  programEnded(group: number, { bySignal }: { bySignal: boolean }): void {
    const foreground = this.#foreground;
    const abandoned = foreground > 0 && this.#libc.kill(-foreground, 0) === ESRCH;
    if (foreground !== group && !abandoned) return;
    this.#give(this.#ourGroup);
    // A shell does this itself for a program that died, but what it will see is that krun exited.
    if (bySignal) this.#libc.call("ioctl", this.fd, TCSETSW, this.#modes);
  }

  [Symbol.dispose](): void {
    this.#unblock();
    this.#libc.call("close", this.fd);
  }

  get #isOurs(): boolean {
    return this.#foreground === this.#ourGroup;
  }

  get #foreground(): number {
    return this.#libc.foregroundGroup(this.fd);
  }

  get #ourGroup(): number {
    return this.#libc.ownGroup();
  }

  #give(group: number): void {
    this.#libc.setForegroundGroup(this.fd, group);
  }
}

/**
 * Stops krun's whole job as Ctrl-Z would, and returns when it was continued. Returns false at once, and nothing happens, when
 * nobody could continue it: krun is PID 1, a session leader, or its shell is gone.
 */
export function suspendJob(): boolean {
  const libc = loadLibc();
  if (isOrphanedGroup(readProcesses(libc), libc.ownGroup())) return false;
  // The whole group: a pipeline, or the script that started krun, stands in it too, and the terminal did not reach them.
  stopByTerminal(libc, 0);
  return true;
}

/**
 * Stops krun alone, as SIGTSTP would stop any program, and returns when it was continued; at once where nobody could continue
 * it. For a krun that has no program yet: what the terminal stops, it has told all of the group already, and what a process
 * stops, it meant krun.
 */
export function suspendSelf(): void {
  stopByTerminal(loadLibc(), Deno.pid);
}

function stopByTerminal(libc: Libc, pid: number): void {
  // The shell's SIGCONT has done its work when krun goes on. Passed on as well, the program would get it twice. The kernel drops
  // a SIGCONT that is at its default when it is sent, so none is left over after this.
  const restore = [SIGCONT, SIGTSTP].map((signal) => libc.setAction(signal, "default"));
  libc.kill(pid, SIGTSTP);
  for (const undo of restore) undo();
}
