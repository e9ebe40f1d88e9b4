/**
 * An open folder and what can be done to the names in it. In: names. Out: effects on disk, or a {@linkcode FileError}.
 *
 * A name is one element of a path, and what stands at it is never followed when it is a link, so that nobody who may write in
 * a folder can send krun somewhere else.
 *
 * @module
 */
import type { Owned } from "../core/volume_ownership.ts";
import {
  closeFile,
  ERRNO,
  FileError,
  type FileStat,
  isMemoryFileSystem,
  listFolder,
  makeFolderAt,
  makeLinkAt,
  openFileAt,
  openFolderAt,
  openFolderAtOnce,
  openRoot,
  readAll,
  readLinkAt,
  removeFileAt,
  removeFolderAt,
  renameAt,
  setModeOf,
  setOwnerOf,
  statAt,
  writeAll,
} from "./libc_files.ts";

/** An open folder; close it with `using`. All calls are synchronous and throw {@linkcode FileError}. */
export class Folder implements Disposable {
  private constructor(
    readonly fd: number,
    /** As it was opened, for messages. */
    readonly path: string,
  ) {}

  /** Opens an absolute path; a link anywhere in it is refused with `ENOTDIR`. */
  static open(path: string): Folder {
    const fd = openFolderAtOnce(path);
    if (fd !== undefined) return new Folder(fd, path);
    let folder = new Folder(openRoot(), "/");
    for (const name of path.split("/").filter((name) => name !== "")) {
      using parent = folder;
      folder = parent.open(name);
    }
    return folder;
  }

  /** {@linkcode Folder.open}, or `undefined` when the folder is not there or a link is in its way. */
  static openIfThere(path: string): Folder | undefined {
    try {
      return Folder.open(path);
    } catch (error) {
      if (error instanceof FileError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ENOTDIR)) {
        return undefined;
      }
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeFile(this.fd);
  }

  /** Opens a folder in it. */
  open(name: string): Folder {
    const path = this.#pathOf(name);
    return new Folder(openFolderAt(this.fd, path, name), path);
  }

  /** Names in it, sorted. */
  list(): string[] {
    return listFolder(this.fd, this.path);
  }

  /** What stands at a name; `undefined`: nothing. */
  stat(name: string): FileStat | undefined {
    return statAt(this.fd, this.#pathOf(name), name);
  }

  /** What the folder itself is. */
  self(): FileStat {
    return statAt(this.fd, this.path, "")!;
  }

  /** Whether it lies in memory. */
  inMemory(): boolean {
    return isMemoryFileSystem(this.fd, this.path);
  }

  /** Text of the link at a name; `undefined` when something else or nothing stands there. */
  linkText(name: string): string | undefined {
    return this.stat(name)?.kind === "link" ? readLinkAt(this.fd, this.#pathOf(name), name) : undefined;
  }

  /** Content of a file. */
  read(name: string): Uint8Array<ArrayBuffer> {
    return this.#opened(name, "read", (fd, path) => readAll(fd, path, this.stat(name)?.size));
  }

  /** Makes a file with its final mode and owner; nobody else can open it before it has them. `EEXIST` when the name is taken. */
  write(name: string, bytes: Uint8Array, owned: Owned): void {
    this.#opened(name, "create", (fd, path) => {
      writeAll(fd, bytes, path);
      own(fd, owned, path);
    });
  }

  /** Makes a folder that only krun may enter, until {@linkcode Folder.own}. `EEXIST` when the name is taken. */
  makeFolder(name: string): void {
    makeFolderAt(this.fd, this.#pathOf(name), name);
  }

  /** Gives a folder in it its mode and owner. */
  own(name: string, owned: Owned): void {
    this.#opened(name, "folder", (fd, path) => own(fd, owned, path));
  }

  /** Makes a link; `EEXIST` when the name is taken. */
  link(name: string, to: string, gid?: number): void {
    makeLinkAt(this.fd, this.#pathOf(name), { name, to });
    if (gid === undefined) return;
    this.#opened(name, "name", (fd, path) => {
      // Somebody else may write in this folder and have swapped the name.
      if (statAt(fd, path, "")?.kind === "link") setOwnerOf(fd, path, { gid });
    });
  }

  /** Renames, over whatever file or link stands at `to`. */
  rename(from: string, to: string): void {
    renameAt(this.fd, this.#pathOf(to), { from, to });
  }

  /** Removes a file or a link itself. */
  unlink(name: string): void {
    removeFileAt(this.fd, this.#pathOf(name), name);
  }

  /** Removes an empty folder. */
  removeFolder(name: string): void {
    removeFolderAt(this.fd, this.#pathOf(name), name);
  }

  /** Removes a name and all below it; nothing is followed, and what is mounted below is `EBUSY` and stays. */
  removeTree(name: string): void {
    const found = this.stat(name);
    if (found === undefined) return;
    if (found.kind !== "folder") return this.unlink(name);
    if (found.mountRoot) throw new FileError(ERRNO.EBUSY, "remove", this.#pathOf(name));
    // A program may have shut a folder of its own, as Go's module cache does; only root gets past that.
    if ((found.mode & 0o300) !== 0o300) this.own(name, { mode: 0o700, uid: undefined, gid: undefined });
    {
      using inner = this.open(name);
      for (const each of inner.list()) inner.removeTree(each);
    }
    this.removeFolder(name);
  }

  #pathOf(name: string): string {
    return this.path === "/" ? `/${name}` : `${this.path}/${name}`;
  }

  #opened<Result>(
    name: string,
    mode: "read" | "create" | "folder" | "name",
    use: (fd: number, path: string) => Result,
  ): Result {
    const path = this.#pathOf(name);
    const fd = openFileAt(this.fd, path, { name, mode });
    try {
      return use(fd, path);
    } finally {
      closeFile(fd);
    }
  }
}

/** Owner first: a change of owner clears bits of the mode. */
function own(fd: number, { mode, uid, gid }: Owned, path: string): void {
  if (uid !== undefined || gid !== undefined) setOwnerOf(fd, path, { uid, gid });
  setModeOf(fd, path, mode);
}
