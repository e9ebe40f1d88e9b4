/**
 * What a client of SFTP has open. In: files and folders. Out: numbers for them, and each of them closed in the end.
 *
 * @module
 */
import type { OpenFile, OpenFolder } from "../core/user_files.ts";

/** The most handles that one channel has open. */
export const MAX_HANDLES = 256;

/** A file that is open. */
export interface FileHandle {
  readonly kind: "file";
  readonly path: string;
  readonly file: OpenFile;
  readBytes: number;
  writtenBytes: number;
}

/** A folder that is open. */
export interface FolderHandle {
  readonly kind: "folder";
  readonly path: string;
  readonly folder: OpenFolder;
}

type Handle = FileHandle | FolderHandle;

/** Those of one channel. */
export class SftpHandles {
  readonly #open = new Map<number, Handle>();
  readonly #closed: (handle: FileHandle) => void;
  #next = 0;

  /** `closed` is told of each file that was open. */
  constructor(closed: (handle: FileHandle) => void) {
    this.#closed = closed;
  }

  /** Whether there is room for one more. */
  get hasRoom(): boolean {
    return this.#open.size < MAX_HANDLES;
  }

  /** Gives it a number that none had before it, until 2^32 were given. */
  add(handle: Handle): number {
    while (this.#open.has(this.#next)) this.#next = (this.#next + 1) >>> 0;
    const number = this.#next;
    this.#open.set(number, handle);
    this.#next = (number + 1) >>> 0;
    return number;
  }

  /** The file of a number. */
  file(number: number): FileHandle | undefined {
    const handle = this.#open.get(number);
    return handle?.kind === "file" ? handle : undefined;
  }

  /** The folder of a number. */
  folder(number: number): FolderHandle | undefined {
    const handle = this.#open.get(number);
    return handle?.kind === "folder" ? handle : undefined;
  }

  /** Closes one; false when there is none of that number. */
  close(number: number): boolean {
    const handle = this.#open.get(number);
    if (handle === undefined) return false;
    this.#open.delete(number);
    if (handle.kind === "folder") handle.folder.close();
    else {
      handle.file.close();
      this.#closed(handle);
    }
    return true;
  }

  /** Closes all of them. */
  closeAll(): void {
    for (const number of [...this.#open.keys()]) this.close(number);
  }
}
