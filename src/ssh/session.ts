/**
 * One session: a command, a shell, or files. In: what the client asks of its channel. Out: a program in the world of the workload's
 * program, and how it ended. Rules: RFC 4254, section 6.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { TakeShare } from "../core/shares.ts";
import { KrunError } from "../core/errors.ts";
import type { ChildEnd } from "../core/exit_status.ts";
import type { Logger } from "../core/log.ts";
import { AcceptedEnv, type ConnectionEnds, sessionEnv, sessionShell } from "../core/session_env.ts";
import type { SessionProcess, SessionStarter, TerminalSpec } from "../core/session_process.ts";
import type { Env } from "../core/pod_inputs.ts";
import { signalName, signalNumber } from "../core/signals.ts";
import type { SessionRequest } from "../core/ssh_messages.ts";
import type { UserFiles } from "../core/user_files.ts";
import type { SshChannel } from "./channel.ts";
import type { SessionHandler } from "./channel_table.ts";
import { budgetedFiles, budgetedStarter } from "./descriptor_budget.ts";
import { drain, feed, HANG_UP_MS } from "./program_streams.ts";
import { RefusedRequests } from "./refused_requests.ts";
import { type FileSession, ownScp, serveSessionScp, serveSessionSftp } from "./session_files.ts";
import type { SessionWorld } from "./session_world.ts";

/** What a login may do in a session. */
export interface SessionRights {
  readonly pty: boolean;
  /** Runs in place of whatever is asked for. */
  readonly forcedCommand?: string | undefined;
}

/** Options of {@linkcode Session}. */
export interface SessionOptions {
  readonly channel: SshChannel;
  readonly world: SessionWorld;
  readonly rights: SessionRights;
  readonly ends: ConnectionEnds;
  readonly clock: Clock;
  /** Names the login in each line. */
  readonly log: Logger;
  /** For each descriptor that the session is to have. */
  readonly takeDescriptor: TakeShare;
  /** Called once, when nothing of the session is left. */
  onOver(): void;
}

const SIGHUP = 1;

/** How krun serves files when that is what is forced, as sshd has it; options of it there are none. */
const INTERNAL_SFTP = /^internal-sftp(?:\s+(?<options>.+))?$/;

/** A session. It begins when the client has said what to run. */
export class Session implements SessionHandler {
  readonly #options: SessionOptions;
  readonly #files: UserFiles;
  readonly #starter: SessionStarter;
  readonly #env = new AcceptedEnv();
  readonly #refusals: RefusedRequests;
  #terminal: { readonly term: string; readonly spec: TerminalSpec } | undefined;
  #isStarted = false;
  #isTold = false;
  /** krun itself stands in for the shell that there is not. */
  #isShell = false;
  #process: SessionProcess | undefined;
  #running: Promise<void> | undefined;
  #hungUp: Promise<void> | undefined;
  readonly #isHungUp = Promise.withResolvers<void>();

  constructor(options: SessionOptions) {
    this.#options = options;
    const { channel, world: { files, starter }, takeDescriptor: take, log, onOver } = options;
    this.#files = budgetedFiles(files, take);
    this.#refusals = new RefusedRequests(options);
    this.#starter = budgetedStarter(starter, { take, log });
    channel.gone.addEventListener("abort", () => {
      if (this.#isStarted) return;
      // Nobody will ever read what it has sent.
      channel.reset();
      onOver();
    });
  }

  request(request: SessionRequest): boolean {
    const isTaken = this.#take(request);
    if (!isTaken) this.#refusals.tell(request);
    return isTaken;
  }

  #take(request: SessionRequest): boolean {
    switch (request.kind) {
      case "env":
        return !this.#isStarted && this.#env.accept(request.name, request.value);
      case "pty-req":
        if (this.#isStarted || !this.#options.rights.pty) return false;
        this.#terminal = { term: request.term.slice(0, 64).replaceAll("\0", ""), spec: request.terminal };
        return true;
      case "window-change":
        this.#process?.resize(request.size);
        return true;
      case "signal":
        return this.#signal(request.name);
      case "shell":
        return this.#start({ command: undefined });
      case "exec":
        return this.#start({ command: request.command });
      case "subsystem":
        return request.name === "sftp" && this.#start({ command: undefined, subsystem: request.name });
      case "eow":
        if (!this.#terminal) this.#process?.output.close();
        return true;
      case "unknown":
        return false;
    }
  }

  /** Shows a line on the terminal, where there is one. */
  tell(text: string): void {
    if (!this.#terminal) return;
    this.#isTold = true;
    this.#say(text);
  }

  /** Beside what the program says; nothing where files are served. */
  #say(text: string): void {
    if (!this.#isShell && !this.#process) return;
    const line = this.#terminal ? `\r\nkrun: ${text}\r\n` : `krun: ${text}\n`;
    this.#options.channel.error.write(new TextEncoder().encode(line)).catch(() => {});
  }

  /** Serves no file any more. A program is not touched. */
  stopFiles(): void {
    if (!this.#process) this.#options.channel.reset();
  }

  /**
   * Ends what runs in the session: SIGHUP, then SIGKILL, after a line that says why where the terminal, if it is one, has none yet.
   * Resolves when it is over, and the client was told.
   */
  async hangUp(words: string): Promise<void> {
    if (!this.#isTold) this.#say(words);
    if (this.#process) this.#hangUp(this.#process);
    else if (this.#isShell) this.#isHungUp.resolve();
    else return;
    await this.#running;
  }

  #hangUp(process: SessionProcess): void {
    this.#hungUp ??= process.hangUp({ graceMs: HANG_UP_MS });
    void this.#hungUp.then(this.#isHungUp.resolve);
  }

  #signal(name: string): boolean {
    const number = signalNumber(`SIG${name}`);
    // As sshd has it: whoever may only run one command is not to decide how that ends.
    if (number === undefined || !this.#process || this.#options.rights.forcedCommand !== undefined) return false;
    this.#process.kill(number);
    return true;
  }

  #start({ command, subsystem }: { command: string | undefined; subsystem?: string }): boolean {
    if (this.#isStarted) return false;
    this.#isStarted = true;
    const { rights: { forcedCommand } } = this.#options;
    const forcedFiles = INTERNAL_SFTP.exec(forcedCommand?.trim() ?? "");
    // `-R` among them forbids to write: to pass it over would give more than was given.
    if (forcedFiles?.groups?.options !== undefined) return this.#refuse("internal-sftp takes no options here");
    const isFiles = forcedCommand === undefined ? subsystem !== undefined : forcedFiles !== null;
    const original = command ?? subsystem;
    const forced = forcedCommand === undefined ? undefined : original;
    const run = isFiles ? this.#serveFiles() : this.#run({ command: forcedCommand ?? command, original: forced });
    this.#running = run.catch((cause) => this.#failed(cause)).finally(() => this.#options.onOver());
    return true;
  }

  /** Nothing is run. */
  #refuse(reason: string): false {
    this.#options.log.warn("ssh session refused", { reason });
    this.#options.onOver();
    return false;
  }

  async #serveFiles(): Promise<void> {
    this.#options.log.info("ssh session", { runs: "sftp" });
    this.#end(await serveSessionSftp(this.#fileSession), "sftp");
  }

  async #run({ command, original }: { command: string | undefined; original: string | undefined }): Promise<void> {
    const { world, ends, log } = this.#options;
    const shell = sessionShell(world.account, world.isExecutable);
    const env = sessionEnv({
      ...{ world: world.env(), account: world.account, accepted: this.#env.values, ends, shell },
      ...{ term: this.#terminal?.term, originalCommand: original },
    });
    const scp = command === undefined || this.#terminal ? undefined : ownScp(command, { world, env });
    const builtIn = scp && "scp";
    log.info("ssh session", { runs: command ?? "shell", terminal: this.#terminal !== undefined, builtIn });
    if (scp) return this.#end(await serveSessionScp(this.#fileSession, { command: scp, home: env.HOME }), "scp");
    const process = shell === undefined
      ? await this.#startByName(command, env)
      : this.#startProgram(command === undefined ? [shell] : [shell, "-c", command], env);
    if (!process) return await this.#runWithoutShell(command, env);
    this.#process = process;
    this.#end(await this.#carry(process), command ?? "shell");
  }

  get #fileSession(): FileSession {
    const { channel, world, clock, log } = this.#options;
    return { channel, files: this.#files, account: world.account, accounts: world.accounts, clock, log };
  }

  #startProgram(argv: readonly [string, ...string[]], env: Env): SessionProcess {
    const terminal = this.#terminal && { ...this.#terminal.spec, variable: "SSH_TTY" };
    return this.#starter.start({ argv, env, cwd: this.#options.world.cwd, terminal });
  }

  /** Without a shell; `undefined` for what krun has itself, and for what there is not. */
  async #startByName(command: string | undefined, env: Env): Promise<SessionProcess | undefined> {
    const { programWords } = await import("./without_shell.ts");
    const argv = command === undefined ? undefined : programWords(command);
    try {
      return argv && this.#startProgram(argv, env);
    } catch (cause) {
      if (cause instanceof KrunError && cause.code === "ProgramNotFound") return undefined;
      throw cause;
    }
  }

  async #runWithoutShell(command: string | undefined, env: Env): Promise<void> {
    const { channel, world, clock } = this.#options;
    const { runWithoutShell } = await import("./without_shell.ts");
    const { account, accounts, user, proc, cwd } = world;
    const surroundings = { files: this.#files, env, home: account?.home || "/", user, accounts, proc, clock };
    this.#isShell = true;
    const served = runWithoutShell(channel, {
      ...{ command, world: surroundings, cwd, starter: this.#starter, isTerminal: this.#terminal !== undefined },
      onProgram: (process) => void (this.#process = process),
    });
    // As a shell would end. What it still does ends with the channel.
    const hungUp = this.#isHungUp.promise.then((): ChildEnd => ({ kind: "signaled", signal: SIGHUP }));
    this.#end(
      await Promise.race([hungUp, served.then((code): ChildEnd => ({ kind: "exited", code }))]),
      command ?? "shell",
    );
  }

  /**
   * Until the program has ended and all its output was sent, or it was hung up. Resolves to how it has ended; `undefined`: it
   * ignores that its user has gone.
   */
  async #carry(process: SessionProcess): Promise<ChildEnd | undefined> {
    const { channel } = this.#options;
    const hangUp = () => this.#hangUp(process);
    channel.gone.addEventListener("abort", hangUp);
    if (channel.gone.aborted) hangUp();
    void feed(channel, process);
    const outputs = [drain(process.output, (bytes) => channel.write(bytes))];
    if (process.error) outputs.push(drain(process.error, (bytes) => channel.error.write(bytes)));
    await Promise.race([Promise.all([...outputs, process.ended]), this.#isHungUp.promise]);
    channel.gone.removeEventListener("abort", hangUp);
    await this.#hungUp;
    process.close();
    return await Promise.race([process.ended, undefined]);
  }

  /** Of a program that goes on there is no end to tell. */
  #end(end: ChildEnd | undefined, ran: string): void {
    const { channel, log } = this.#options;
    const gone = channel.gone.aborted || undefined;
    const told = end && endFields(end);
    log.info("ssh session over", { ran, ...(told ?? { goesOn: true }), gone });
    if (told) channel.exit(told);
    channel.end();
    // Nobody reads any more.
    channel.reset();
  }

  /** Nothing was started, or what serves the client has failed. */
  async #failed(cause: unknown): Promise<void> {
    const { channel, log } = this.#options;
    const isKnown = cause instanceof KrunError;
    const words = isKnown ? `${cause.message}; ${cause.hint}` : "an internal fault; see krun's log";
    if (!isKnown && !channel.gone.aborted) log.warn("ssh session failed", { reason: (cause as Error).message });
    await channel.error.write(new TextEncoder().encode(`krun: ${words}\n`)).catch(() => {});
    const code = isKnown && cause.code === "ProgramNotFound" ? 127 : 126;
    this.#end({ kind: "exited", code }, "nothing");
  }
}

function endFields(end: ChildEnd): { status: number } | { signal: string } {
  return end.kind === "signaled"
    ? { signal: signalName(end.signal) }
    : { status: end.kind === "exited" ? end.code : 127 };
}
