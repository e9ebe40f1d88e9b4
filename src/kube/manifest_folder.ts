/**
 * A folder of manifests: its files go in, an index of objects comes out, and stays up to date by reading what changed.
 *
 * Which files: those directly in the folder whose name ends in .yaml, .yml or .json, as `kubectl apply -f <folder>` takes
 * them (not the folders in it). Unlike kubectl, names that begin with a dot are left out: editors keep their drafts and locks
 * under such names, and the kubelet its versions.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { type ManifestFileContent, ManifestIndex, parseManifestFile } from "../core/manifests.ts";
import { join, resolve } from "../core/posix_path.ts";
import { type DocumentParser, parseJsonDocuments } from "../core/source_document.ts";
import { readFailure } from "./deno_files.ts";
import { loadYamlParser } from "./yaml_documents.ts";

/** Options of {@linkcode openManifestFolder}. */
export interface ManifestFolderOptions {
  readonly log: Logger;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly now?: () => number;
}

/**
 * Reads a folder for the first time.
 *
 * @throws {KrunError} `ManifestInvalid` when the folder or one of its files cannot be read; `details` lists every fault.
 */
export async function openManifestFolder(path: string, options: ManifestFolderOptions): Promise<ManifestFolder> {
  const folder = new ManifestFolder(path, options);
  await folder.refresh({ quiet: true });
  const [first, ...others] = folder.faults;
  if (first === undefined) return folder;
  if (others.length === 0) throw first;
  throw new KrunError(first.code, first.message, first.hint, {
    details: others.map((fault) => fault.message).join("\n"),
  });
}

/** A file whose time stamp is at least this old when it is read cannot change again under the same stamp. */
const STAMP_GRAIN_MS = 100;
const EXTENSIONS = /\.(ya?ml|json)$/;

/** A file at its last reading. */
interface KnownFile {
  /** Changes with the file. Empty: it must be read again. */
  readonly stamp: string;
  /** The last good content; a broken file keeps it. */
  readonly content: ManifestFileContent;
  readonly fault?: KrunError;
}

const NOTHING: ManifestFileContent = { manifests: [], ignored: [] };

/** The files of a folder, as they were last good. Made by {@linkcode openManifestFolder}. */
export class ManifestFolder {
  /** Where the folder is, whatever becomes of the working directory. */
  readonly absolutePath: string;
  readonly #log: Logger;
  readonly #now: () => number;
  #files: ReadonlyMap<string, KnownFile> = new Map();
  #index = new ManifestIndex([]);
  #faults: readonly KrunError[] = [];
  #parseYaml: Promise<DocumentParser> | undefined;
  #running: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;

  /** @param path As a person named it; it stands in every error. */
  constructor(readonly path: string, { log, now = Date.now }: ManifestFolderOptions) {
    this.absolutePath = resolve(Deno.cwd(), path);
    this.#log = log;
    this.#now = now;
  }

  /** The objects, as they were when everything could last be read. The same value until one of them changes. */
  get index(): ManifestIndex {
    return this.#index;
  }

  /** What could not be read at the last reading. While there is any, the absence of an object means nothing. */
  get faults(): readonly KrunError[] {
    return this.#faults;
  }

  /**
   * Reads what changed. Never fails: a file that cannot be read keeps its last good objects, and is warned about once.
   *
   * The reading begins after the call, so that it sees what the caller has seen; calls that wait for their turn share one.
   * `quiet` leaves faults to the caller.
   */
  refresh({ quiet = false }: { quiet?: boolean } = {}): Promise<void> {
    this.#queued ??= this.#running.then(() => {
      this.#queued = undefined;
      this.#running = this.#read(quiet);
      return this.#running;
    });
    return this.#queued;
  }

  async #read(quiet: boolean): Promise<void> {
    const faults: KrunError[] = [];
    try {
      this.#files = await this.#readFiles();
      for (const { fault } of this.#files.values()) if (fault) faults.push(fault);
      const manifests = [...this.#files.values()].flatMap(({ content }) => content.manifests);
      const index = new ManifestIndex(manifests, this.#index);
      if (!index.equals(this.#index)) this.#index = index;
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      faults.push(error);
    }
    if (!quiet) this.#tell(faults);
    this.#faults = faults;
  }

  async #readFiles(): Promise<Map<string, KnownFile>> {
    const names = await this.#names();
    const files = await Promise.all(names.map((name) => this.#readFile(name, this.#files.get(name))));
    return new Map(names.flatMap((name, i) => files[i] === undefined ? [] : [[name, files[i]]]));
  }

  async #names(): Promise<string[]> {
    try {
      const names = await Array.fromAsync(Deno.readDir(this.absolutePath), (entry) => entry.name);
      return names.filter((name) => EXTENSIONS.test(name) && !name.startsWith(".")).sort();
    } catch (error) {
      throw new KrunError(
        "ManifestInvalid",
        `Cannot read manifests folder "${this.path}": ${stateOf(error)}`,
        "set KRUN_MANIFESTS to a folder of manifests that krun may read",
        { cause: error },
      );
    }
  }

  /** `undefined` when there is no such file (any more), or it is no file. */
  async #readFile(name: string, known: KnownFile | undefined): Promise<KnownFile | undefined> {
    const file = join(this.path, name);
    const absoluteFile = join(this.absolutePath, name);
    try {
      const { isFile, dev, ino, size, mtime, ctime } = await Deno.stat(absoluteFile);
      if (!isFile) return undefined;
      const stamp = [dev, ino, size, Number(mtime), Number(ctime)].join(":");
      if (known?.stamp === stamp) return known;
      const settled = this.#now() - Number(mtime) > STAMP_GRAIN_MS;
      const bytes = await Deno.readFile(absoluteFile);
      const content = await this.#parse(file, { bytes, known });
      return { stamp: settled ? stamp : "", content };
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      return { stamp: "", content: known?.content ?? NOTHING, fault: faultOf(error, file) };
    }
  }

  async #parse(
    file: string,
    { bytes, known }: { bytes: Uint8Array; known: KnownFile | undefined },
  ): Promise<ManifestFileContent> {
    // The first thing that happens to a file that is written in place is that it becomes empty.
    if (bytes.length === 0 && known !== undefined && known.content.manifests.length > 0) {
      throw new KrunError(
        "ManifestInvalid",
        `Cannot read manifest "${file}": it is empty and held objects before`,
        "write it again, or remove the file to remove its objects",
      );
    }
    const content = parseManifestFile({ name: file, bytes }, await this.#parserOf(file));
    const ignored = content.ignored.filter((what) => !known?.content.ignored.includes(what));
    for (const what of ignored) this.#log.debug("manifest ignored, krun has no use for its kind", { what });
    return content;
  }

  async #parserOf(file: string): Promise<DocumentParser> {
    if (file.endsWith(".json")) return parseJsonDocuments;
    this.#parseYaml ??= loadYamlParser();
    return await this.#parseYaml;
  }

  /** Each fault once, in the words of its first appearance, and the good news once. */
  #tell(faults: readonly KrunError[]): void {
    const told = new Set(this.#faults.map((fault) => fault.message));
    for (const { message, hint } of faults) {
      if (!told.has(message)) this.#log.warn("manifests cannot be read, what was read before stays", { message, hint });
    }
    if (this.#faults.length > 0 && faults.length === 0) {
      this.#log.info("manifests can be read again", { folder: this.path });
    }
  }
}

function faultOf(error: unknown, file: string): KrunError {
  if (error instanceof KrunError) return error;
  return new KrunError(
    "ManifestInvalid",
    `Cannot read manifest "${file}": ${stateOf(error)}`,
    "let krun's user read the file, or move it out of the folder",
    { cause: error },
  );
}

function stateOf(error: unknown): string {
  return error instanceof Deno.errors.NotADirectory ? "it is no folder" : readFailure(error);
}
