/**
 * The side of scp's legacy protocol that receives (`scp -t`). In: a client's files and folders. Out: files below a target, and nowhere
 * else.
 *
 * @module
 */
import { ScpFormatError, type ScpMessage } from "../core/scp_protocol.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import { type FileChange, FileFault, type OpenFile, type UserFiles } from "../core/user_files.ts";
import { attempt, isFile, isFolder, type ScpTeller } from "./scp_audit.ts";
import type { ScpWire } from "./scp_wire.ts";

/** Options of {@linkcode receiveFiles}. */
export interface ScpSinkOptions {
  readonly wire: ScpWire;
  readonly files: UserFiles;
  readonly teller: ScpTeller;
  /** Where the files go: a folder that is there, or the name of what comes. */
  readonly target: string;
  readonly isRecursive: boolean;
  readonly keepsTimes: boolean;
  readonly wantsFolder: boolean;
}

type Times = NonNullable<FileChange["times"]>;
type Of<Kind extends ScpMessage["kind"]> = Extract<ScpMessage, { readonly kind: Kind }>;

/** A folder that files come into. */
interface EnteredFolder {
  readonly path: string;
  /** What is to be changed of it when all is in it. */
  readonly change: FileChange;
}

const ENOENT = 2, ENOTDIR = 20;
const NO_FOLDER = statusOfErrno(ENOTDIR).words;

/** Receives until the client ends. @throws {ScpFormatError} @throws {ScpOver} */
export async function receiveFiles(options: ScpSinkOptions): Promise<void> {
  const { wire, teller, target, wantsFolder } = options;
  const sink = new Sink(options);
  if (wantsFolder && !sink.isTargetFolder) return await teller.giveUp(target, NO_FOLDER);
  await wire.send({ kind: "ok" });
  while (await sink.next());
}

class Sink {
  readonly #options: ScpSinkOptions;
  readonly isTargetFolder: boolean;
  readonly #entered: EnteredFolder[] = [];
  /** Of what comes next. */
  #times: Times | undefined;

  constructor(options: ScpSinkOptions) {
    this.#options = options;
    const found = attempt(() => options.files.stat(options.target));
    this.isTargetFolder = "value" in found && isFolder(found.value);
  }

  /** Takes one message; false: it was the last. */
  async next(): Promise<boolean> {
    const { wire } = this.#options;
    const message = await wire.message();
    switch (message?.kind) {
      case undefined:
        // Not all clients leave the folders that they have entered.
        while (this.#entered.length > 0) await this.#leave();
        return false;
      case "fatal":
        return false;
      case "warning":
        return true;
      case "times": {
        const { accessedSeconds, modifiedSeconds } = message;
        this.#times = { accessedSeconds, modifiedSeconds };
        await wire.send({ kind: "ok" });
        return true;
      }
      case "file":
        await this.#file(message);
        return true;
      case "folder":
        await this.#enter(message);
        return true;
      case "folderEnd":
        await this.#leave();
        return true;
      case "ok":
        throw new ScpFormatError("an answer to nothing");
    }
  }

  async #file({ mode, sizeBytes, name }: Of<"file">): Promise<void> {
    const { wire, teller, files, keepsTimes } = this.#options;
    const path = this.#pathOf(name);
    const times = this.#takeTimes();
    const opened = attempt(() => {
      const isNew = !isThere(files, path);
      // Its owner may write it until its content is there.
      return { isNew, file: files.open(path, { write: true, create: true, mode: (mode & 0o777) | 0o200 }) };
    });
    if ("fault" in opened) return await teller.refuse(path, opened.fault);
    const { isNew, file } = opened.value;
    teller.tell("info", "scp file opened", { path, access: "write" });
    const written = { bytes: 0 };
    try {
      await wire.send({ kind: "ok" });
      const fault = await this.#content(file, { sizeBytes, written });
      await wire.isAgreed();
      const settled = attempt(() => settle(file, { sizeBytes, mode, isNew, keepsTimes, times }));
      const why = fault ?? ("fault" in settled ? settled.fault : undefined);
      if (why === undefined) await wire.send({ kind: "ok" });
      else await teller.refuse(path, why);
    } finally {
      file.close();
      teller.tell("info", "scp file closed", { path, readBytes: 0, writtenBytes: written.bytes });
    }
  }

  /** All of it, also where it cannot be written: the client sends it anyway. Returns why not. */
  async #content(
    file: OpenFile,
    { sizeBytes, written }: { readonly sizeBytes: number; readonly written: { bytes: number } },
  ): Promise<string | undefined> {
    let fault: string | undefined;
    for (let done = 0; done < sizeBytes;) {
      const bytes = await this.#options.wire.data(sizeBytes - done);
      const wrote = fault === undefined ? attempt(() => file.write(bytes, done)) : { fault };
      if ("fault" in wrote) fault = wrote.fault;
      else written.bytes += bytes.length;
      done += bytes.length;
    }
    return fault;
  }

  async #enter({ mode, name }: Of<"folder">): Promise<void> {
    const { wire, teller, files, isRecursive, keepsTimes } = this.#options;
    if (!isRecursive) throw new ScpFormatError("a folder, without -r");
    const path = this.#pathOf(name);
    const times = this.#takeTimes();
    const made = attempt(() => {
      const isNew = !isThere(files, path);
      if (isNew) files.makeFolder(path, (mode & 0o777) | 0o700);
      return { isNew, stat: files.stat(path) };
    });
    if ("fault" in made) return await teller.refuse(path, made.fault);
    const { isNew, stat } = made.value;
    if (!isFolder(stat)) return await teller.refuse(path, NO_FOLDER);
    if (isNew) teller.tell("info", "scp directory made", { path });
    this.#entered.push({ path, change: { ...modeChange({ mode, isNew, keepsTimes, stat }), ...times && { times } } });
    await wire.send({ kind: "ok" });
  }

  async #leave(): Promise<void> {
    const { wire, teller, files } = this.#options;
    const folder = this.#entered.pop();
    if (folder === undefined) throw new ScpFormatError("the end of no folder");
    const { path, change } = folder;
    const changed = attempt(() => files.change(path, change));
    if ("fault" in changed) await teller.refuse(path, changed.fault);
    else await wire.send({ kind: "ok" });
  }

  #pathOf(name: string): string {
    const folder = this.#entered.at(-1)?.path;
    const { target } = this.#options;
    if (folder === undefined && !this.isTargetFolder) return target;
    return `${folder ?? target}/${name}`.replace(/^\/\//, "/");
  }

  #takeTimes(): Times | undefined {
    const times = this.#times;
    this.#times = undefined;
    return times;
  }
}

/** How a file or folder is to be in the end. */
interface Wanted {
  readonly mode: number;
  readonly isNew: boolean;
  readonly keepsTimes: boolean;
}

/** What came, and no more, with its mode and times. A device stays as it is. */
function settle(
  file: OpenFile,
  { sizeBytes, times, ...wanted }: Wanted & { readonly sizeBytes: number; readonly times: Times | undefined },
): void {
  const stat = file.stat();
  if (!isFile(stat)) return;
  const change: FileChange = { ...modeChange({ ...wanted, stat }), ...times && { times } };
  if (stat.sizeBytes > sizeBytes) file.change({ sizeBytes });
  if (Object.keys(change).length > 0) file.change(change);
}

/** As scp has it: with -p it is the client's, else what is there keeps its own, and what is new loses what the umask takes. */
function modeChange(
  { mode, isNew, keepsTimes, stat }: Wanted & { readonly stat: { readonly mode: number } },
): Pick<FileChange, "mode"> {
  if (keepsTimes) return { mode };
  const wanted = stat.mode & mode & 0o777;
  return isNew && wanted !== (stat.mode & 0o777) ? { mode: wanted } : {};
}

function isThere(files: UserFiles, path: string): boolean {
  try {
    files.stat(path);
    return true;
  } catch (error) {
    if (error instanceof FileFault && error.errno === ENOENT) return false;
    throw error;
  }
}
