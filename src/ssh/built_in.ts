/**
 * The commands that krun has itself, so that one can look around where an image has no shell. In: words. Out: text, and an exit
 * status. They do what their POSIX namesakes do, with the options that one looks around with.
 *
 * @module
 */
import type { AccountNames } from "../core/account_names.ts";
import { bytesOfText } from "../core/byte_text.ts";
import type { Clock } from "../core/clock.ts";
import { quotedWord } from "../core/command_words.ts";
import type { Env } from "../core/pod_inputs.ts";
import { join } from "../core/posix_path.ts";
import { processLine, processTitles } from "../core/ps_lines.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import { shownText } from "../core/shown_text.ts";
import { FileFault, type UserFiles } from "../core/user_files.ts";
import { listFolder } from "./folder_listing.ts";
import { LineOutput } from "./line_output.ts";
import { isListed, listedLine } from "./listed_name.ts";
import { SharedTurns } from "./shared_turns.ts";

/** What a file of /proc holds, and which processes there are. */
export interface ProcReader {
  pids(): readonly number[];
  /** `undefined` for what cannot be read. */
  text(path: string): string | undefined;
}

/** The world that a session looks at. */
export interface Surroundings {
  readonly files: UserFiles;
  readonly env: Env;
  /** Absolute. */
  readonly home: string;
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  readonly accounts: AccountNames;
  readonly proc: ProcReader;
  readonly clock: Clock;
}

/** What env(1) ends with when it is at fault itself, and a shell after Ctrl-C. */
const CANNOT_RUN = 125, INTERRUPTED = 130;

/** Where the output of a command goes. */
export interface CommandOutput {
  /** Whether control characters are taken out of names. */
  readonly isTerminal: boolean;
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  error(bytes: Uint8Array): Promise<void>;
  /** Aborts when the command is to end: Ctrl-C, or nobody is there any more. */
  readonly signal: AbortSignal;
}

/** What a command is called with. */
export interface CommandCall {
  readonly args: readonly string[];
  readonly place: WorkingPlace;
  readonly output: CommandOutput;
}

/** Where a session is. */
export interface WorkingPlace {
  readonly world: Surroundings;
  /** Absolute. */
  cwd: string;
}

/** Name → what it does; resolves to the exit status. */
type Command = (call: CommandCall) => Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = {
  ls: list,
  cat: concatenate,
  env: showEnvironment,
  ps: showProcesses,
  pwd: ({ place, output }) => lines(output, [place.cwd]),
  cd: changeFolder,
  id: ({ place, output }) => lines(output, [identity(place.world)]),
  help: ({ output }) => lines(output, [builtInNote]),
};

/** Names of the commands. */
const NAMES = [...Object.keys(COMMANDS), "exit"].join(", ");

/** What there is, in a sentence. */
export const builtInNote = `this image has no shell; built in are: ${NAMES}`;

/** The command of a name; `undefined` when krun has none. */
export function builtIn(name: string): Command | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}

/** Writes a complaint. Returns the exit status 1. */
export async function complain(output: CommandOutput, text: string): Promise<number> {
  await output.error(bytesOfText(`${text}\n`));
  return 1;
}

/** Writes lines. Returns the exit status 0. */
async function lines(output: CommandOutput, texts: readonly string[]): Promise<number> {
  const shown = output.isTerminal ? texts.map(shownText) : texts;
  if (shown.length > 0) await output.write(bytesOfText(shown.join("\n") + "\n"));
  return 0;
}

/** Those of one command. */
function turnsOf({ place, output }: CommandCall): SharedTurns {
  return new SharedTurns(output.signal, place.world.clock);
}

/** Does it for each name; those that fail are told of, and the exit status is 1 then. */
async function forEach(
  call: CommandCall,
  command: string,
  act: (name: string, turns: SharedTurns) => Promise<void>,
): Promise<number> {
  const { args, output } = call;
  const turns = turnsOf(call);
  let status = 0;
  for (const name of args) {
    if (output.signal.aborted) return INTERRUPTED;
    try {
      await turns.carried(0);
      await act(name, turns);
    } catch (error) {
      if (!(error instanceof FileFault)) throw error;
      status = await complain(
        output,
        `${command}: ${shownWord(name)}: ${statusOfErrno(error.errno).words}`,
      );
    }
  }
  return status;
}

function shownWord(name: string): string {
  return quotedWord(shownText(name));
}

/** The options before the names, as a set of letters; a text that names the one that is none of `known`. */
function optionsOf(args: readonly string[], known: string): { letters: Set<string>; names: string[] } | string {
  const letters = new Set<string>();
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === "--") return { letters, names: args.slice(at + 1) };
    if (!/^-./s.test(arg)) return { letters, names: args.slice(at) };
    for (const letter of arg.slice(1)) {
      if (!known.includes(letter)) return letter;
      letters.add(letter);
    }
  }
  return { letters, names: [] };
}

async function list(call: CommandCall): Promise<number> {
  const { place, output } = call;
  const parsed = optionsOf(call.args, "la1d");
  if (typeof parsed === "string") {
    return await complain(output, `ls: option -${shownText(parsed)} is not built in; -l, -a, -1 and -d are`);
  }
  const { letters, names } = parsed;
  const { files } = place.world;
  return await forEach({ ...call, args: names.length > 0 ? names : ["."] }, "ls", async (name, turns) => {
    const shown = new LineOutput(output, turns);
    try {
      const isFolder = isListed(pathOf(place, name), { files, letters });
      if (isFolder && names.length > 1) await shown.line(`${name}:`);
      await (isFolder ? listInside : listItself)(name, { place, letters, shown, turns, output });
    } finally {
      await shown.flush();
    }
  });
}

/** How `ls` shows one name. */
interface Listing {
  readonly place: WorkingPlace;
  readonly letters: ReadonlySet<string>;
  readonly shown: LineOutput;
  readonly turns: SharedTurns;
  readonly output: CommandOutput;
}

async function listItself(name: string, { place, letters, shown }: Listing): Promise<void> {
  const { world } = place;
  const path = pathOf(place, name);
  await shown.line(listedLine({ name, path, stat: world.files.linkStat(path) }, { letters, world }));
}

async function listInside(folder: string, { place, letters, shown, turns, output }: Listing): Promise<void> {
  const { world } = place;
  const path = pathOf(place, folder);
  const isSorted = await listFolder(path, {
    ...{ files: world.files, turns },
    isShown: ({ name }) => letters.has("a") || !name.startsWith("."),
    show: (entry) => shown.line(listedLine({ ...entry, path: join(path, entry.name) }, { letters, world })),
  });
  if (isSorted) return;
  await shown.flush();
  await output.error(bytesOfText(`ls: ${shownWord(folder)}: too many names to sort them\n`));
}

/** What is read at once. */
const CHUNK_BYTES = 64 * 1024;

async function concatenate(call: CommandCall): Promise<number> {
  const { place, output } = call;
  const parsed = optionsOf(call.args, "");
  if (typeof parsed === "string") return await complain(output, "cat: options are not built in");
  if (parsed.names.length === 0 || parsed.names.includes("-")) {
    return await complain(output, "cat: name a file; standard input is not read");
  }
  return await forEach({ ...call, args: parsed.names }, "cat", async (name, turns) => {
    const path = pathOf(place, name);
    const file = place.world.files.open(path, { read: true });
    try {
      // Each piece is its own: what is written may wait.
      for (let offset = 0; !output.signal.aborted;) {
        const chunk = new Uint8Array(CHUNK_BYTES);
        const length = file.read(chunk, offset);
        if (length === 0) return;
        await output.write(chunk.subarray(0, length));
        offset += length;
        await turns.carried(length);
      }
    } finally {
      file.close();
    }
  });
}

/** The environment of what is run in a place, where PWD is what a shell would make it (POSIX, section 2.5.3). */
export function environmentAt({ world, cwd }: WorkingPlace): Env {
  return { ...world.env, PWD: cwd };
}

async function showEnvironment({ args, place, output }: CommandCall): Promise<number> {
  if (args.length === 0) {
    return await lines(output, Object.entries(environmentAt(place)).map(([name, value]) => `${name}=${value}`));
  }
  await complain(output, "env: this one shows the environment, and sets and runs nothing");
  return CANNOT_RUN;
}

async function changeFolder({ args: [name, ...more], place, output }: CommandCall): Promise<number> {
  if (more.length > 0) return await complain(output, "cd: name one folder, and nothing behind it");
  const { files, home } = place.world;
  return await forEach({ args: [name ?? home], place, output }, "cd", (wanted) => {
    const path = files.realPath(pathOf(place, wanted));
    // Fails for what is no folder, and for one that the user may not enter.
    files.stat(`${path}/.`);
    place.cwd = path;
    return Promise.resolve();
  });
}

function pathOf({ cwd }: WorkingPlace, name: string): string {
  // Not resolved by its text alone: `..` behind a link is the kernel's to find.
  return name.startsWith("/") || name === "" ? name : `${cwd}/${name}`;
}

async function showProcesses(call: CommandCall): Promise<number> {
  const { place: { world: { proc, accounts } }, output } = call;
  const shown = new LineOutput(output, turnsOf(call));
  await shown.line(processTitles);
  for (const pid of [...proc.pids()].sort((one, other) => one - other)) {
    if (output.signal.aborted) return INTERRUPTED;
    const text = (name: string) => proc.text(`/proc/${pid}/${name}`) ?? "";
    const line = processLine({ stat: text("stat"), status: text("status"), cmdline: text("cmdline") }, accounts);
    if (line !== undefined) await shown.line(line);
  }
  await shown.flush();
  return 0;
}

function identity({ user, accounts }: Surroundings): string {
  const shown = (id: number, name: string | undefined) => name === undefined ? `${id}` : `${id}(${name})`;
  const group = (gid: number) => shown(gid, accounts.groupName(gid));
  const groups = [...new Set([user.gid, ...user.groups])].map(group).join(",");
  return `uid=${shown(user.uid, accounts.userName(user.uid))} gid=${group(user.gid)} groups=${groups}`;
}
