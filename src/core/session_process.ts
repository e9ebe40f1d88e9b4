/**
 * What a session of the debug server asks of whoever starts its programs. One implementation (`pod/session.ts`).
 *
 * @module
 */
import type { ChildEnd } from "./exit_status.ts";
import type { Env } from "./pod_inputs.ts";

/** How large a terminal is. */
export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
  readonly widthPixels: number;
  readonly heightPixels: number;
}

/** A terminal that a program is to have. */
export interface TerminalSpec extends TerminalSize {
  /** Opcode → argument (RFC 4254, section 8). */
  readonly modes: ReadonlyMap<number, number>;
  /** A variable of the program's environment that is to be the terminal's path; OpenSSH sets `SSH_TTY`. */
  readonly variable?: string | undefined;
}

/** What to start. The user is the session's. */
export interface SessionSpec {
  /** A name without a slash is looked up in the PATH of `env`. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Env;
  readonly cwd: string;
  /** Unset: pipes. */
  readonly terminal?: TerminalSpec | undefined;
}

/** What bytes are read from. One read at a time. */
export interface ProcessOutput {
  /** The next bytes, which are good until the next read; `undefined` when nobody can write any more. Never rejects. */
  read(): Promise<Uint8Array | undefined>;
  /** Nobody reads any more: who writes to a pipe is told so (SIGPIPE). A terminal is not read, and its program waits. */
  close(): void;
}

/** What bytes are written to. One write at a time. */
export interface ProcessInput {
  /** Resolves when all of it was taken: true; false when nobody reads any more. Never rejects. */
  write(bytes: Uint8Array): Promise<boolean>;
  /** The program reads an end after what was written. Of a terminal: nothing happens, as with any terminal. */
  end(): void;
}

/** A program of a session. */
export interface SessionProcess {
  /** Also the id of its process group, and with a terminal of its session. */
  readonly pid: number;
  /** The terminal's path, as `/dev/pts/3`. */
  readonly terminalPath?: string;
  readonly input: ProcessInput;
  /** Of a terminal: all that it shows. */
  readonly output: ProcessOutput;
  /** Standard error; unset with a terminal. */
  readonly error?: ProcessOutput;
  /** Resolves once, when the program itself has ended and was reaped. Never rejects. */
  readonly ended: Promise<ChildEnd>;
  /** Sends a signal to its process group, as the session's user; nothing once {@linkcode SessionProcess.ended} has resolved. */
  kill(signal: number): void;
  /** Of a terminal; the foreground group is told (SIGWINCH). */
  resize(size: TerminalSize): void;
  /**
   * The user has gone: SIGHUP for whatever the program has started and not taken out of the session (setsid(2)), then SIGKILL for
   * what does not ignore SIGHUP (nohup(1)) and is there after `graceMs`. Resolves when that is over and everything krun had for
   * the session is closed. Never rejects.
   */
  hangUp(options: { readonly graceMs: number }): Promise<void>;
  /** Closes what krun has for it, now that all was read: what still runs goes on. */
  close(): void;
}

/** Whoever starts them. */
export interface SessionStarter {
  /** @throws {KrunError} `ProgramNotFound`, `ProgramNotExecutable`, `RunAsDenied`, `PodInvalid`, `Internal` without a terminal or descriptor left */
  start(spec: SessionSpec): SessionProcess;
}
