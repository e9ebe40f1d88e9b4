/**
 * The programs of the debug server's sessions: with pipes, or with a terminal of their own. In: what to start. Out: streams, the
 * program's end, and the end of the session.
 *
 * Each leads a session of the kernel (setsid(2)), as sshd(8) has it: so it is plain what belongs to it, and krun's own terminal is
 * out of reach.
 *
 * @module
 */
import type { ChildEnd } from "../core/exit_status.ts";
import type { Logger } from "../core/log.ts";
import { signalName } from "../core/signals.ts";
import type {
  ProcessInput,
  ProcessOutput,
  SessionProcess,
  SessionSpec,
  SessionStarter,
  TerminalSize,
} from "../core/session_process.ts";
import { type Libc, loadLibc } from "./libc.ts";
import type { Processes, RunningProcess } from "./process.ts";
import { readProcess } from "./process_table.ts";
import { otherUser, runAsError } from "./program.ts";
import { openTerminal } from "./pseudo_terminal.ts";
import { isThere, SessionEnds } from "./session_end.ts";
import { openPipes, type SessionDescriptors } from "./session_pipes.ts";
import { asUser, ownUser, type User } from "./user.ts";
import { signalAsUser } from "./user_signal.ts";

/** Options of {@linkcode Sessions}. */
export interface SessionsOptions {
  /** Who starts the programs, and ends at krun's end what is left of them. */
  readonly processes: Processes;
  readonly log: Logger;
  /** As whom the programs run. @default {as krun} */
  readonly user?: User;
}

/** Whose processes they are. No container of a Pod can have this name, so none of them ends with a container. */
const CONTAINER = "debug sessions";

/**
 * Starts the programs of sessions.
 *
 * On the main thread. Not needed: `run`, and `read` and `write` for /dev.
 */
export class Sessions implements SessionStarter {
  readonly #libc: Libc = loadLibc();
  readonly #processes: Processes;
  readonly #user: User | undefined;
  readonly #ends: SessionEnds;
  readonly #log: Logger;

  constructor({ processes, log, user }: SessionsOptions) {
    this.#processes = processes;
    this.#log = log;
    this.#user = user;
    this.#ends = new SessionEnds({ libc: this.#libc, log });
  }

  start(spec: SessionSpec): SessionProcess {
    const user = otherUser(this.#libc, { argv: spec.argv, env: spec.env, ...this.#user });
    const descriptors = this.#open(spec, user);
    try {
      const { argv, cwd } = spec;
      const variable = spec.terminal?.variable;
      const path = descriptors.terminal?.path;
      const env = variable === undefined || path === undefined ? spec.env : { ...spec.env, [variable]: path };
      const { stdio: session } = descriptors;
      const program = this.#processes.start({ argv, env, cwd, ...this.#user, session, container: CONTAINER });
      return new Session(program, { descriptors, libc: this.#libc, ends: this.#ends, log: this.#log, user });
    } catch (error) {
      descriptors.close();
      throw error;
    } finally {
      descriptors.given();
    }
  }

  /** Opens what the program talks to, as its user. */
  #open({ argv, env, terminal }: SessionSpec, user: User | undefined): SessionDescriptors {
    const libc = this.#libc;
    const open = () => terminal ? openTerminal(libc, argv[0], terminal) : openPipes(libc, argv[0]);
    if (user === undefined) return open();
    let opened: SessionDescriptors | undefined;
    const errno = asUser(libc, user, () => void (opened = open()));
    if (opened === undefined) throw runAsError({ argv, env }, user, { errno, self: ownUser(libc) });
    return opened;
  }
}

/** Options of {@linkcode Session}. */
interface SessionOptions {
  readonly descriptors: SessionDescriptors;
  readonly libc: Libc;
  readonly ends: SessionEnds;
  readonly log: Logger;
  /** Whose session it is, if not krun's own user's. */
  readonly user: User | undefined;
}

class Session implements SessionProcess {
  readonly pid: number;
  readonly terminalPath?: string;
  readonly input: ProcessInput;
  readonly output: ProcessOutput;
  readonly error?: ProcessOutput;
  readonly ended: Promise<ChildEnd>;
  readonly #program: RunningProcess;
  readonly #descriptors: SessionDescriptors;
  readonly #libc: Libc;
  readonly #ends: SessionEnds;
  readonly #startTicks: number;
  readonly #log: Logger;
  readonly #user: User | undefined;
  #hasEnded = false;
  #hungUp: Promise<void> | undefined;

  constructor(program: RunningProcess, { descriptors, libc, ends, log, user }: SessionOptions) {
    const { input, output, error, terminal } = descriptors;
    this.pid = program.pid;
    this.input = input;
    this.output = output;
    if (error) this.error = error;
    if (terminal) this.terminalPath = terminal.path;
    this.#program = program;
    this.#descriptors = descriptors;
    this.#libc = libc;
    this.#ends = ends;
    this.#log = log;
    this.#user = user;
    // It cannot have been reaped yet: that happens in a later turn of the event loop.
    this.#startTicks = readProcess(libc, program.pid)?.startTicks ?? 0;
    this.ended = program.ended;
    void program.ended.then(() => this.#hasEnded = true);
    if (terminal) void program.ended.then(() => output.programEnded());
  }

  kill(signal: number): void {
    // Its number may be somebody else's by now.
    if (this.#hasEnded) return;
    if (!this.#user) return this.#program.kill(signal);
    const errno = signalAsUser(this.#libc, this.#user, { group: this.pid, signal });
    if (errno !== 0) this.#log.warn("signal could not be sent", { pid: this.pid, signal: signalName(signal), errno });
  }

  resize(size: TerminalSize): void {
    this.#descriptors.terminal?.resize(size);
  }

  hangUp({ graceMs }: { readonly graceMs: number }): Promise<void> {
    return this.#hungUp ??= this.#hangUp(graceMs);
  }

  async #hangUp(graceMs: number): Promise<void> {
    const leader = { pid: this.pid, startTicks: this.#startTicks };
    const hasTerminal = this.#descriptors.terminal !== undefined;
    await this.#ends.end(leader, { graceMs, hasTerminal, onTold: () => this.#descriptors.hangUp() });
    this.close();
    // Not where it ignores SIGHUP, or cannot be ended.
    if (!isThere(this.#libc, leader)) await this.ended;
  }

  close(): void {
    this.#descriptors.close();
  }
}
