/**
 * A run's own folder in a memory file system: who it belongs to, and the removal of those that belong to nobody any more.
 *
 * In: a memory file system. Out: `krun-<random>/`, with a file in it that says which base's journal names the folder, locked
 * as long as that krun runs. When a base is deleted after kill -9, nobody has its journal: any later krun of the same user
 * finds that by the file, and removes the folder.
 *
 * @module
 */
import type { Logger } from "../core/log.ts";
import { basename, dirname } from "../core/posix_path.ts";
import { Folder } from "./folder.ts";
import {
  closeFile,
  effectiveUser,
  FileError,
  openFileAt,
  readAll,
  readLinkAt,
  realPath,
  tryLock,
  writeAll,
} from "./libc_files.ts";
import { findSurvivor, type ProgramIdentity, programIdentity } from "./survivor.ts";

/** Name of the file; no volume can have it, since the name of one begins with a letter or a digit. */
const OWNER_NAME = ".owner";

const FOLDER_NAME = /^krun-[0-9a-f]{32}$/;

/** What the file says. */
interface Owner {
  /** Path and identity of the state folder, in which the journal lies. */
  readonly state: string;
  readonly identity: string;
  /** From where that path is seen; elsewhere it may mean another folder, or none. */
  readonly view: string;
  /** krun, or in one-shot mode the program that has taken its place: it holds no lock. */
  readonly process: ProgramIdentity | undefined;
}

/** A name for a new folder. */
export function memoryFolderName(): string {
  return `krun-${crypto.randomUUID().replaceAll("-", "")}`;
}

/** The memory file system's own path, of a path in the folder of some run; `undefined` for any other path. */
export function memoryFileSystem(path: string): string | undefined {
  const names = path.split("/");
  const at = names.findIndex((name) => FOLDER_NAME.test(name));
  return at < 2 ? undefined : names.slice(0, at).join("/");
}

/** Writes down whose folder it is. The lock ends when the result is disposed, or the process ends. @throws {FileError} */
export function holdMemoryFolder(path: string, state: Folder): Disposable {
  using folder = Folder.open(path);
  const file = `${path}/${OWNER_NAME}`;
  const fd = openFileAt(folder.fd, file, { name: OWNER_NAME, mode: "lock" });
  try {
    // Before the first byte: what is not locked and has none is being made.
    tryLock(fd, file);
    const owner: Owner = {
      state: state.path,
      identity: state.self().identity,
      view: ownView(),
      process: programIdentity(Deno.pid),
    };
    writeAll(fd, new TextEncoder().encode(JSON.stringify(owner)), file);
  } catch (error) {
    closeFile(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => closeFile(fd) };
}

/**
 * Removes the folders of this user whose base is gone, and with it the journal that names them, and whose krun is gone as
 * well. Every other one stays: another user's, one that was made in another mount namespace, a link, one that says nothing of
 * itself. Never throws for what cannot be looked at or removed.
 *
 * @param memoryFolder path of the memory file system.
 */
export function removeOrphans(memoryFolder: string, log: Logger): void {
  const failed = (name: string, error: unknown) => {
    if (!(error instanceof FileError)) throw error;
    log.debug("a memory folder stays", { path: `${memoryFolder}/${name}`, reason: error.message });
  };
  try {
    using parent = Folder.open(realPath(memoryFolder) ?? memoryFolder);
    for (const name of parent.list().filter((name) => FOLDER_NAME.test(name))) {
      try {
        if (!removeIfOrphan(parent, name)) continue;
        log.info("removed the memory folder of a base that is gone", { path: `${memoryFolder}/${name}` });
      } catch (error) {
        failed(name, error);
      }
    }
  } catch (error) {
    failed("", error);
  }
}

function removeIfOrphan(parent: Folder, name: string): boolean {
  const user = effectiveUser();
  const found = parent.stat(name);
  // Root's krun gives the folder to the program's user; the file in it stays root's.
  if (found?.kind !== "folder" || (user !== 0 && found.uid !== user)) return false;
  using folder = parent.open(name);
  const file = folder.stat(OWNER_NAME);
  if (file?.kind !== "file" || file.uid !== user) return false;
  const path = `${folder.path}/${OWNER_NAME}`;
  const fd = openFileAt(folder.fd, path, { name: OWNER_NAME, mode: "read" });
  try {
    if (!tryLock(fd, path)) return false;
    const owner = parseOwner(new TextDecoder().decode(readAll(fd, path)));
    if (owner === undefined || owner.view !== ownView() || isInUse(owner)) return false;
    parent.removeTree(name);
    return true;
  } finally {
    closeFile(fd);
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner>;
    const isOwner = [owner.state, owner.identity, owner.view].every((part) => typeof part === "string");
    return isOwner ? owner as Owner : undefined;
  } catch {
    return undefined;
  }
}

function isInUse({ state, identity, process }: Owner): boolean {
  if (process !== undefined && findSurvivor(process) !== undefined) return true;
  using base = Folder.openIfThere(dirname(state));
  return base?.stat(basename(state))?.identity === identity;
}

/** Mount namespace and root folder of this process: together they decide what a path means. */
function ownView(): string {
  using root = Folder.open("/");
  return `${readLinkAt(root.fd, "/proc/self/ns/mnt", "proc/self/ns/mnt")} ${root.self().identity}`;
}
