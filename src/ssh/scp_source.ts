/**
 * The side of scp's legacy protocol that sends (`scp -f`). In: paths. Out: files and folders, one after the other, as the client agrees.
 *
 * @module
 */
import { basename } from "../core/posix_path.ts";
import { nameFault } from "../core/scp_protocol.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import type { FileStat, OpenFile, UserFiles } from "../core/user_files.ts";
import { attempt, isFile, isFolder, type ScpTeller } from "./scp_audit.ts";
import type { ScpWire } from "./scp_wire.ts";

/** Options of {@linkcode FileSource}. */
export interface ScpSourceOptions {
  readonly wire: ScpWire;
  readonly files: UserFiles;
  readonly teller: ScpTeller;
  readonly isRecursive: boolean;
  readonly keepsTimes: boolean;
}

/** How many folders may be open, one in the other. */
export const MAX_DEPTH = 256;

/** What is read and sent at once, bytes. Each piece is its own, for what is written may wait. */
const PIECE_BYTES = 128 * 1024;

const ELOOP = 40;

/** Sends what it is told to. */
export class FileSource {
  readonly #options: ScpSourceOptions;

  constructor(options: ScpSourceOptions) {
    this.#options = options;
  }

  /**
   * Sends a file, or a folder with all that is in it; links are followed. What cannot be sent is told to the client.
   *
   * @throws {ScpFormatError} @throws {ScpOver}
   */
  async send(path: string): Promise<void> {
    await this.#send(path.replace(/(?<=.)\/+$/s, ""), []);
  }

  async #send(path: string, ancestors: readonly string[]): Promise<void> {
    const { files, teller, isRecursive } = this.#options;
    const found = attempt(() => ({ stat: files.stat(path), name: nameOf(files, path) }));
    if ("fault" in found) return await teller.refuse(path, found.fault);
    const { stat, name } = found.value;
    const why = nameFault(name) ?? (isFolder(stat) && isRecursive || isFile(stat) ? undefined : "not a regular file");
    if (why !== undefined) return await teller.refuse(path, why);
    if (isFolder(stat)) await this.#folder(path, { stat, name, ancestors });
    else await this.#file(path, name);
  }

  async #file(path: string, name: string): Promise<void> {
    const { files, teller } = this.#options;
    const opened = attempt(() => files.open(path, { read: true }));
    if ("fault" in opened) return await teller.refuse(path, opened.fault);
    const file = opened.value;
    teller.tell("debug", "scp file opened", { path, access: "read" });
    const read = { bytes: 0 };
    try {
      await this.#open(path, { file, name, read });
    } finally {
      file.close();
      teller.tell("debug", "scp file closed", { path, readBytes: read.bytes, writtenBytes: 0 });
    }
  }

  async #open(path: string, { file, name, read }: SentFile): Promise<void> {
    const { wire, teller } = this.#options;
    const stat = file.stat();
    if (!isFile(stat)) return await teller.refuse(path, "not a regular file");
    const { mode, sizeBytes } = stat;
    if (!await this.#times(stat)) return;
    await wire.send({ kind: "file", mode, sizeBytes, name });
    if (!await wire.isAgreed()) return;
    const fault = await this.#content(file, { sizeBytes, read });
    if (fault === undefined) await wire.send({ kind: "ok" });
    else await teller.refuse(path, fault);
    await wire.isAgreed();
  }

  /** As many bytes as were promised: zeros where there are none any more. Returns why. */
  async #content(
    file: OpenFile,
    { sizeBytes, read }: { readonly sizeBytes: number; readonly read: { bytes: number } },
  ): Promise<string | undefined> {
    let fault: string | undefined;
    for (let left = sizeBytes; left > 0;) {
      const piece = new Uint8Array(Math.min(left, PIECE_BYTES));
      const got = fault === undefined ? attempt(() => file.read(piece, sizeBytes - left)) : { fault };
      if ("fault" in got) fault = got.fault;
      else if (got.value === 0) fault = "it has become shorter meanwhile";
      else read.bytes += got.value;
      const length = "value" in got && got.value > 0 ? got.value : piece.length;
      await this.#options.wire.sendData(piece.subarray(0, length));
      left -= length;
    }
    return fault;
  }

  async #folder(
    path: string,
    { stat, name, ancestors }: {
      readonly stat: FileStat;
      readonly name: string;
      readonly ancestors: readonly string[];
    },
  ): Promise<void> {
    const { files, wire, teller } = this.#options;
    if (ancestors.length >= MAX_DEPTH) return await teller.refuse(path, "folders lie too deep in each other");
    const opened = attempt(() => ({ real: files.realPath(path), folder: files.openFolder(path) }));
    if ("fault" in opened) return await teller.refuse(path, opened.fault);
    const { real, folder } = opened.value;
    try {
      // A link into itself: there would be no end.
      if (ancestors.includes(real)) return await teller.refuse(path, statusOfErrno(ELOOP).words);
      if (!await this.#times(stat)) return;
      await wire.send({ kind: "folder", mode: stat.mode, name });
      if (!await wire.isAgreed()) return;
      teller.tell("debug", "scp directory opened", { path });
      for (;;) {
        const some = attempt(() => folder.entries());
        if ("fault" in some) await teller.refuse(path, some.fault);
        if ("fault" in some || some.value.length === 0) break;
        for (const { name } of some.value) {
          if (name !== "." && name !== "..") await this.#send(`${path}/${name}`, [...ancestors, real]);
        }
      }
    } finally {
      folder.close();
    }
    await wire.send({ kind: "folderEnd" });
    await wire.isAgreed();
  }

  /** Whether the client goes on with it. */
  async #times({ modifiedSeconds, accessedSeconds }: FileStat): Promise<boolean> {
    const { wire, keepsTimes } = this.#options;
    if (!keepsTimes) return true;
    await wire.send({ kind: "times", modifiedSeconds, accessedSeconds });
    return await wire.isAgreed();
  }
}

/** A file under way. */
interface SentFile {
  readonly file: OpenFile;
  readonly name: string;
  readonly read: { bytes: number };
}

/** The last name of a path; of a folder that is named by its place, as `.`, its own: no client takes another. */
function nameOf(files: UserFiles, path: string): string {
  const name = basename(path);
  return name === "." || name === ".." ? basename(files.realPath(path)) : name;
}
