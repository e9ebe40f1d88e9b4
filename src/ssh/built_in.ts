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
import { longLine } from "../core/ls_lines.ts";
import type { Env } from "../core/pod_inputs.ts";
import { join } from "../core/posix_path.ts";
import { processLines } from "../core/ps_lines.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import { shownText } from "../core/shown_text.ts";
import { FileFault, type FileStat, type UserFiles } from "../core/user_files.ts";

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

/** What env(1) ends with when it is at fault itself. */
const CANNOT_RUN = 125;

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
  ps: ({ place, output }) => lines(output, processes(place.world)),
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

/** Does it for each name; those that fail are told of, and the exit status is 1 then. */
async function forEach(
  { args, output }: CommandCall,
  command: string,
  act: (name: string) => Promise<void>,
): Promise<number> {
  let status = 0;
  for (const name of args) {
    if (output.signal.aborted) return 130;
    try {
      await act(name);
    } catch (error) {
      if (!(error instanceof FileFault)) throw error;
      status = await complain(
        output,
        `${command}: ${quotedWord(shownText(name))}: ${statusOfErrno(error.errno).words}`,
      );
    }
  }
  return status;
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
  const show = (shown: readonly ListedName[]) =>
    lines(output, shown.map((one) => lineOf(one, { letters, world: place.world })));
  return await forEach({ ...call, args: names.length > 0 ? names : ["."] }, "ls", async (name) => {
    const path = pathOf(place, name);
    if (!isListed(files, path, letters)) return void await show([{ name, path, stat: files.linkStat(path) }]);
    if (names.length > 1) await lines(output, [`${name}:`]);
    await show(entriesOf(files, path).filter((entry) => letters.has("a") || !entry.name.startsWith(".")));
  });
}

/** Whether what is in it is shown, instead of itself: folders, and links to them where they are not told of at length. */
function isListed(files: UserFiles, path: string, letters: ReadonlySet<string>): boolean {
  if (letters.has("d")) return false;
  const { mode } = files.linkStat(path);
  return isFolder(mode) || (!letters.has("l") && isLink(mode) && leadsToFolder(files, path));
}

function leadsToFolder(files: UserFiles, path: string): boolean {
  try {
    return isFolder(files.stat(path).mode);
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return false;
  }
}

const isFolder = (mode: number) => (mode & 0o170000) === 0o040000;
const isLink = (mode: number) => (mode & 0o170000) === 0o120000;

interface ListedName {
  readonly name: string;
  readonly path: string;
  readonly stat?: FileStat | undefined;
}

/** What is in a folder, by name. */
function entriesOf(files: UserFiles, path: string): ListedName[] {
  const folder = files.openFolder(path);
  try {
    const found: ListedName[] = [];
    for (let some; (some = folder.entries()).length > 0;) {
      for (const { name, stat } of some) found.push({ name, stat, path: join(path, name) });
    }
    return found.sort((one, other) => one.name < other.name ? -1 : 1);
  } finally {
    folder.close();
  }
}

function lineOf(
  { name, path, stat }: ListedName,
  { letters, world }: { readonly letters: ReadonlySet<string>; readonly world: Surroundings },
): string {
  if (!letters.has("l")) return name;
  if (stat === undefined) return `?????????? ${name}`;
  const target = isLink(stat.mode) ? targetOf(world.files, path) : undefined;
  return longLine({ name, stat, target }, { accounts: world.accounts, nowSeconds: world.clock.nowMs() / 1000 });
}

function targetOf(files: UserFiles, path: string): string | undefined {
  try {
    return files.readLink(path);
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return undefined;
  }
}

/** What is read at once, and after how much it is others' turn. */
const CHUNK_BYTES = 64 * 1024, TURN_BYTES = 256 * 1024;

async function concatenate(call: CommandCall): Promise<number> {
  const { place, output } = call;
  const parsed = optionsOf(call.args, "");
  if (typeof parsed === "string") return await complain(output, "cat: options are not built in");
  if (parsed.names.length === 0 || parsed.names.includes("-")) {
    return await complain(output, "cat: name a file; standard input is not read");
  }
  return await forEach({ ...call, args: parsed.names }, "cat", async (name) => {
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
        if (offset % TURN_BYTES < length) await place.world.clock.turn();
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

function processes({ proc, accounts }: Surroundings): string[] {
  const text = (pid: number, name: string) => proc.text(`/proc/${pid}/${name}`) ?? "";
  const texts = proc.pids().map((pid) => ({
    stat: text(pid, "stat"),
    status: text(pid, "status"),
    cmdline: text(pid, "cmdline"),
  }));
  return processLines(texts, accounts);
}

function identity({ user, accounts }: Surroundings): string {
  const shown = (id: number, name: string | undefined) => name === undefined ? `${id}` : `${id}(${name})`;
  const group = (gid: number) => shown(gid, accounts.groupName(gid));
  const groups = [...new Set([user.gid, ...user.groups])].map(group).join(",");
  return `uid=${shown(user.uid, accounts.userName(user.uid))} gid=${group(user.gid)} groups=${groups}`;
}
