/**
 * Programs that are run to their end. In: an argv array, the whole environment, what is to be read. Out: status and output.
 *
 * @module
 */

/** What a program gave. */
export interface CommandResult {
  /** Exit status, as a shell has it: 127 when there is no such program, 126 when it may not be executed. */
  readonly code: number;
  readonly stdout: string;
  /** In place of a program that was never started: why. */
  readonly stderr: string;
}

/** Options of {@linkcode RunCommand}. */
export interface CommandOptions {
  /** The whole environment; nothing is inherited. The program is looked for in its PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Text of standard input. @default {""} */
  readonly stdin?: string;
}

/** Runs a program to its end; never rejects. */
export type RunCommand = (argv: readonly string[], options: CommandOptions) => Promise<CommandResult>;

/** Runs a program for real. Needs `--allow-run`. */
export const runCommand: RunCommand = async ([program = "", ...args], { env, stdin = "" }) => {
  let child: Deno.ChildProcess;
  try {
    const options = { args, env: { ...env }, clearEnv: true } as const;
    child = new Deno.Command(program, { ...options, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  } catch (error) {
    const code = error instanceof Deno.errors.NotFound ? 127 : 126;
    return { code, stdout: "", stderr: (error as Error).message };
  }
  // A program may end without having read: what it says of that is in its output.
  const [output] = await Promise.all([child.output(), write(child.stdin, stdin).catch(() => {})]);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
};

async function write(stream: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
}
