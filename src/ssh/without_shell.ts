/**
 * A session where the image has no shell: krun's own commands, and programs that are started as they are. In: a command line, or the
 * channel that they are typed on. Out: an exit status.
 *
 * @module
 */
import { AnySignal } from "../core/any_signal.ts";
import { bytesOfText } from "../core/byte_text.ts";
import { quotedWords, shellSyntax, textOfWord } from "../core/command_words.ts";
import { KrunError } from "../core/errors.ts";
import { exitStatus } from "../core/exit_status.ts";
import type { SessionProcess, SessionStarter } from "../core/session_process.ts";
import { environmentAt, type Surroundings } from "./built_in.ts";
import type { SshChannel } from "./channel.ts";
import { isBuiltIn, lookAround, type ProgramCall, runCommandLine } from "./look_around.ts";
import { drain, HANG_UP_MS } from "./program_streams.ts";

/** Options of {@linkcode runWithoutShell}. */
export interface WithoutShellOptions {
  /** One of krun's own, or what there is not. Unset: lines are read from the channel. */
  readonly command: string | undefined;
  readonly world: Surroundings;
  readonly cwd: string;
  readonly starter: SessionStarter;
  readonly isTerminal: boolean;
  /** Told of each program that runs, and by `undefined` that it does not any more. */
  onProgram(program: SessionProcess | undefined): void;
}

const INTERRUPTED = 130;

/** The words of a command that names a program; `undefined` for a command of krun's own, and for what is none without a shell. */
export function programWords(command: string): readonly [string, ...string[]] | undefined {
  const words = quotedWords(command) ?? [];
  const [name, ...args] = words.map(textOfWord);
  return name === undefined || isBuiltIn(name) || shellSyntax(words) !== undefined ? undefined : [name, ...args];
}

/**
 * Serves the session, but for a command that names a program ({@linkcode programWords}). A program that is typed has no input and no
 * terminal, and ends by Ctrl-C. Rejects when the output was cut.
 */
export async function runWithoutShell(channel: SshChannel, options: WithoutShellOptions): Promise<number> {
  const { command, world, cwd, isTerminal } = options;
  const error = (bytes: Uint8Array) => channel.error.write(bytes);
  if (command === undefined) {
    const run = (argv: readonly [string, ...string[]], call: ProgramCall) =>
      runProgram(argv, { ...options, ...call, gone: channel.gone });
    return await lookAround(channel, { world, cwd, run, isTerminal, error });
  }
  const output = { isTerminal, signal: channel.gone, write: (bytes: Uint8Array) => channel.write(bytes), error };
  return await runCommandLine(command, { world, cwd, run: () => Promise.resolve(undefined), output });
}

async function runProgram(
  argv: readonly [string, ...string[]],
  { cwd, output, starter, world, gone, onProgram }: ProgramCall & WithoutShellOptions & { readonly gone: AbortSignal },
): Promise<number | undefined> {
  let program;
  try {
    program = starter.start({ argv, env: environmentAt({ world, cwd }), cwd });
  } catch (cause) {
    if (!(cause instanceof KrunError)) throw cause;
    if (cause.code === "ProgramNotFound") return undefined;
    await output.error(bytesOfText(`krun: ${cause.message}; ${cause.hint}\n`));
    return 126;
  }
  onProgram(program);
  program.input.end();
  const isHungUp = Promise.withResolvers<void>();
  const hangUp = () => void program.hangUp({ graceMs: HANG_UP_MS }).then(isHungUp.resolve);
  using over = new AnySignal([output.signal, gone]);
  over.signal.addEventListener("abort", hangUp);
  if (over.signal.aborted) hangUp();
  const outputs = [drain(program.output, output.write)];
  if (program.error) outputs.push(drain(program.error, output.error));
  // One that ignores SIGHUP goes on without its user.
  await Promise.race([Promise.all([...outputs, program.ended]), isHungUp.promise]);
  program.close();
  onProgram(undefined);
  const end = await Promise.race([program.ended, undefined]);
  return end ? exitStatus(end) : INTERRUPTED;
}
