/**
 * A session in an image without a shell: one command, or a prompt. In: a line, or a channel. Out: output, and an exit status.
 *
 * @module
 */
import { AnySignal } from "../core/any_signal.ts";
import { bytesOfText } from "../core/byte_text.ts";
import { quotedWord, quotedWords, shellSyntax, textOfWord, type WordPart } from "../core/command_words.ts";
import { LineEditor } from "../core/line_editor.ts";
import { unexpandedInScp } from "../core/scp_command.ts";
import { shownText } from "../core/shown_text.ts";
import type { Channel } from "../net/channel.ts";
import {
  builtIn,
  builtInNote,
  type CommandOutput,
  complain,
  type Surroundings,
  type WorkingPlace,
} from "./built_in.ts";

/** How a program of the image is started. */
export interface ProgramCall {
  readonly cwd: string;
  readonly output: CommandOutput;
}

/** What a session is given. */
export interface LookAroundOptions {
  readonly world: Surroundings;
  /** Absolute. */
  readonly cwd: string;
  /** Starts a program and waits for its end: its exit status; `undefined` when there is none of that name. */
  run(argv: readonly [string, ...string[]], call: ProgramCall): Promise<number | undefined>;
}

/** Options of {@linkcode lookAround}. */
export interface PromptOptions extends LookAroundOptions {
  /** Whether the client has a terminal in raw mode, where krun shows what is typed. Else lines are read, and there is no prompt. */
  readonly isTerminal: boolean;
  /** Where errors go when there is no terminal. @default {the channel} */
  error?(bytes: Uint8Array): Promise<void>;
}

const NOT_FOUND = 127, SYNTAX = 2, INTERRUPTED = 130;

/** Whether a command is krun's own. */
export function isBuiltIn(name: string): boolean {
  return name === "exit" || builtIn(name) !== undefined;
}

/** Runs one command line. Resolves to its exit status; rejects when the output was cut. */
export async function runCommandLine(
  line: string,
  options: LookAroundOptions & { readonly output: CommandOutput },
): Promise<number> {
  const place = { world: options.world, cwd: options.cwd };
  const { output } = options;
  return (await execute(line, { place, run: (argv, cwd) => options.run(argv, { cwd, output }), output })).status;
}

/** How a line is executed. */
interface Execution {
  readonly place: WorkingPlace;
  readonly output: CommandOutput;
  run(argv: readonly [string, ...string[]], cwd: string): Promise<number | undefined>;
}

/** The status of a line, and whether it was the last. */
async function execute(line: string, { place, output, run }: Execution): Promise<{ status: number; isLast?: boolean }> {
  const words = quotedWords(line);
  const fault = words === undefined ? "a quote does not end" : shellFault(line, words);
  if (fault !== undefined) {
    await complain(output, `krun: ${fault}`);
    return { status: SYNTAX };
  }
  const [name, ...args] = (words ?? []).map(textOfWord);
  if (name === undefined) return { status: 0 };
  if (name === "exit") return { status: Number(args[0] ?? 0) & 0xff, isLast: true };
  const command = builtIn(name);
  if (command !== undefined) return { status: await command({ args, place, output }) };
  const status = await run([name, ...args], place.cwd);
  if (status !== undefined) return { status };
  await complain(output, `krun: Cannot run ${quoted(name)}: ${builtInNote}`);
  return { status: NOT_FOUND };
}

/** Why a line is none that can be run without a shell. A program gets none of it either: who types it means another thing than arguments. */
function shellFault(line: string, words: readonly (readonly WordPart[])[]): string | undefined {
  const inScp = unexpandedInScp(line);
  if (inScp !== undefined) {
    return `scp: ${quoted(inScp)} is not expanded: of a path krun expands ~, *, ? and [...] alone`;
  }
  const syntax = shellSyntax(words);
  return syntax &&
    `${
      quoted(syntax)
    } is a shell's, and this image has none: give one command at a time, and what is no operator in quotes`;
}

function quoted(name: string): string {
  return `"${shownText(name)}"`;
}

/**
 * Reads lines from a channel and runs them until its end, `exit` or Ctrl-D. Resolves to the exit status of the last; the channel is
 * left open, for the caller has a status to send. Never rejects: a channel that was cut is the end.
 */
export async function lookAround(channel: Channel, options: PromptOptions): Promise<number> {
  const prompt = new Prompt(channel, options);
  try {
    return await prompt.serve();
  } catch (error) {
    if (channel.broken.aborted) return INTERRUPTED;
    throw error;
  }
}

class Prompt {
  readonly #channel: Channel;
  readonly #options: PromptOptions;
  readonly #place: WorkingPlace;
  readonly #input: TypedInput;
  readonly #editor: LineEditor;
  #status = 0;

  constructor(channel: Channel, options: PromptOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#place = { world: options.world, cwd: options.cwd };
    this.#input = new TypedInput(channel);
    this.#editor = new LineEditor(options);
  }

  async serve(): Promise<number> {
    const { isTerminal } = this.#options;
    if (isTerminal) await this.#show(`krun: ${builtInNote}\n`);
    await this.#ask();
    for (let bytes; (bytes = await this.#input.read()) !== undefined;) {
      for (const event of this.#editor.push(bytes)) {
        if (event.kind === "show") await this.#channel.write(event.bytes);
        else if (event.kind === "end") return await this.#leave();
        else if (event.kind === "line" && await this.#run(event.line)) return this.#status;
        if (event.kind === "interrupt" || event.kind === "line") await this.#ask();
      }
    }
    if (!isTerminal && this.#editor.typed !== "") await this.#run(this.#editor.typed);
    return this.#status;
  }

  /** Whether it was the last line. */
  async #run(line: string): Promise<boolean> {
    const interrupt = new AbortController();
    using either = new AnySignal([interrupt.signal, this.#channel.broken]);
    const output = this.#output(either.signal);
    const run: Execution["run"] = (argv, cwd) => this.#options.run(argv, { cwd, output });
    const stopWatching = this.#options.isTerminal ? this.#input.watch(interrupt) : () => {};
    try {
      const { status, isLast = false } = await execute(line, { place: this.#place, run, output });
      this.#status = interrupt.signal.aborted ? INTERRUPTED : status;
      if (interrupt.signal.aborted) await this.#show("^C\n");
      return isLast;
    } finally {
      stopWatching();
    }
  }

  #output(signal: AbortSignal): CommandOutput {
    const { isTerminal, error } = this.#options;
    const write = (bytes: Uint8Array) => this.#channel.write(isTerminal ? withReturns(bytes) : bytes);
    return { isTerminal, signal, write, error: isTerminal ? write : error ?? write };
  }

  async #ask(): Promise<void> {
    if (this.#options.isTerminal) await this.#show(`krun:${quotedWord(shownText(this.#place.cwd))}> `);
  }

  async #leave(): Promise<number> {
    await this.#show("\n");
    return this.#status;
  }

  #show(text: string): Promise<void> {
    return this.#channel.write(withReturns(bytesOfText(text)));
  }
}

/** More than this typed ahead is read when the command has ended, bytes. */
const TYPED_AHEAD_BYTES = 4096;

/** What a person types, also while a command runs. */
class TypedInput {
  readonly #channel: Channel;
  readonly #ahead: Uint8Array[] = [];
  #reading: Promise<Uint8Array | undefined> | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  read(): Promise<Uint8Array | undefined> {
    const ahead = this.#ahead.shift();
    return ahead === undefined ? this.#next() : Promise.resolve(ahead);
  }

  /** Aborts at Ctrl-C, until what it gives is called. What else comes is kept; what came before Ctrl-C is gone. */
  watch(interrupt: AbortController): () => void {
    let isOver = false;
    const look = async () => {
      while (!isOver && this.#ahead.reduce((sum, { length }) => sum + length, 0) < TYPED_AHEAD_BYTES) {
        // Peeked at: whoever reads next gets it when this is over.
        const bytes = await (this.#reading ??= this.#channel.read());
        if (isOver || bytes === undefined) return;
        this.#reading = undefined;
        const at = bytes.lastIndexOf(CTRL_C);
        if (at >= 0) this.#ahead.length = 0;
        this.#ahead.push(bytes.subarray(at + 1));
        if (at >= 0) interrupt.abort();
      }
    };
    // A channel that was cut ends the reader as well.
    look().catch(() => {});
    return () => isOver = true;
  }

  async #next(): Promise<Uint8Array | undefined> {
    const bytes = await (this.#reading ??= this.#channel.read());
    this.#reading = undefined;
    return bytes;
  }
}

const CTRL_C = 3;

/** The bytes with CR LF for LF, as a terminal in raw mode needs it. */
function withReturns(bytes: Uint8Array): Uint8Array {
  const LINE_FEED = 10, RETURN = 13;
  const ends = bytes.reduce((count, byte) => count + (byte === LINE_FEED ? 1 : 0), 0);
  if (ends === 0) return bytes;
  const longer = new Uint8Array(bytes.length + ends);
  let at = 0;
  for (const byte of bytes) {
    if (byte === LINE_FEED) longer[at++] = RETURN;
    longer[at++] = byte;
  }
  return longer;
}
