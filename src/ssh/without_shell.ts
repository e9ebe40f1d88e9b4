/**
 * A session where the image has no shell: krun's own commands, and programs that are started as they are. In: a command line, or the
 * channel that they are typed on. Out: an exit status.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import { KrunError } from "../core/errors.ts";
import { exitStatus } from "../core/exit_status.ts";
import type { SessionStarter } from "../core/session_process.ts";
import type { Surroundings } from "./built_in.ts";
import type { SshChannel } from "./channel.ts";
import { lookAround, type ProgramCall, runCommandLine } from "./look_around.ts";
import { drain, feed } from "./program_streams.ts";

/** Options of {@linkcode runWithoutShell}. */
export interface WithoutShellOptions {
  /** Unset: lines are read from the channel. */
  readonly command: string | undefined;
  readonly world: Surroundings;
  readonly cwd: string;
  readonly starter: SessionStarter;
  readonly isTerminal: boolean;
}

/** How long a program may take after SIGHUP, milliseconds. */
const HANG_UP_MS = 2_000;

/**
 * Serves the session. A program that is typed has no input, and ends by Ctrl-C; one that is the command has the channel's. Rejects
 * when the output was cut.
 */
export async function runWithoutShell(channel: SshChannel, options: WithoutShellOptions): Promise<number> {
  const { command, world, cwd, isTerminal } = options;
  const error = (bytes: Uint8Array) => channel.error.write(bytes);
  const run = (argv: readonly [string, ...string[]], call: ProgramCall) =>
    runProgram(argv, { ...options, ...call, input: command === undefined ? undefined : channel });
  if (command === undefined) return await lookAround(channel, { world, cwd, run, isTerminal, error });
  const output = { isTerminal, signal: channel.gone, write: (bytes: Uint8Array) => channel.write(bytes), error };
  return await runCommandLine(command, { world, cwd, run, output });
}

async function runProgram(
  argv: readonly [string, ...string[]],
  { cwd, output, input, starter, world }: ProgramCall & WithoutShellOptions & { input: SshChannel | undefined },
): Promise<number | undefined> {
  let program;
  try {
    program = starter.start({ argv, env: world.env, cwd });
  } catch (cause) {
    if (!(cause instanceof KrunError)) throw cause;
    if (cause.code === "ProgramNotFound") return undefined;
    await output.error(bytesOfText(`krun: ${cause.message}; ${cause.hint}\n`));
    return 126;
  }
  const hangUp = () => void program.hangUp({ graceMs: HANG_UP_MS });
  output.signal.addEventListener("abort", hangUp);
  if (output.signal.aborted) hangUp();
  if (input) void feed(input, program);
  else program.input.end();
  const outputs = [drain(program.output, output.write)];
  if (program.error) outputs.push(drain(program.error, output.error));
  await Promise.all([...outputs, program.ended]);
  output.signal.removeEventListener("abort", hangUp);
  program.close();
  return exitStatus(await program.ended);
}
