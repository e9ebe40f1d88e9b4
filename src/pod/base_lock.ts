/**
 * Takes a base folder for one process: makes the state folder and its lock. In: a path. Out: an open, locked state folder.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { basename, dirname } from "../core/posix_path.ts";
import { Folder } from "./folder.ts";
import {
  checkWritable,
  closeFile,
  effectiveUser,
  ERRNO,
  FileError,
  type FileStat,
  isLocked,
  openFileAt,
  readAll,
  realPath,
  statAt,
  truncateFile,
  tryLock,
  writeAll,
} from "./libc_files.ts";
import { programIdentity } from "./survivor.ts";

/** Name of the lock file in the state folder. */
export const LOCK_NAME = "lock";

/** How often a lock is tried that the process before removes in the same moment, or that a dead one still has. */
const TRIES = 100;

/** Pause before the lock of a dead process is tried again. */
const DEAD_MS = 10;

/** A locked base. */
export interface LockedBase extends Disposable {
  /** Absolute, free of links. */
  readonly base: string;
  readonly state: Folder;
  /** Folders that had to be made for the base, outermost first. */
  readonly made: readonly string[];
}

/**
 * Makes the base where it is absent, and locks it until the result is disposed or the process ends, in whatever way.
 *
 * @throws {KrunError} `BaseLocked`, or `TargetInUse` when the state folder is somebody else's; {@linkcode FileError}
 */
export function lockBase(path: string, pid: number): LockedBase {
  const made = makeFolders(path);
  const base = realPath(path) ?? path;
  for (let left = TRIES; left > 0; left--) {
    const locked = tryLockBase(base, { pid, isLast: left === 1 });
    if (locked !== undefined) return { ...locked, base, made };
  }
  throw new FileError(ERRNO.EAGAIN, "lock", `${base}/${STATE_FOLDER}/${LOCK_NAME}`);
}

function makeFolders(path: string): string[] {
  if (realPath(path) !== undefined) return [];
  const made = makeFolders(dirname(path));
  const full = `${realPath(dirname(path)) ?? ""}/${basename(path)}`.replace(/^\/\//, "/");
  using parent = Folder.open(dirname(full));
  parent.makeFolder(basename(full));
  parent.own(basename(full), { mode: 0o755, uid: undefined, gid: undefined });
  return [...made, full];
}

/** `undefined`: the process before was just removing the state folder, or is just ending; try again. */
function tryLockBase(
  base: string,
  { pid, isLast }: { pid: number; isLast: boolean },
): Pick<LockedBase, "state" | typeof Symbol.dispose> | undefined {
  using opened = new DisposableStack();
  using parent = Folder.open(base);
  const state = openState(parent);
  if (state === undefined) return undefined;
  opened.use(state);
  const path = `${state.path}/${LOCK_NAME}`;
  const fd = ifStillThere(() => openFileAt(state.fd, path, { name: LOCK_NAME, mode: "lock" }));
  if (fd === undefined) return undefined;
  opened.defer(() => closeFile(fd));
  if (!tryLock(fd, path)) {
    const holder = new TextDecoder().decode(readAll(fd, path)).trim();
    if (isLast || isRunning(holder)) throw lockedBy(base, holder);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, DEAD_MS);
    return undefined;
  }
  // Locked, but the file may have been removed before: then the next process would lock another one.
  if (state.stat(LOCK_NAME)?.identity !== statAt(fd, path, "")?.identity) return undefined;
  truncateFile(fd, path, 0);
  writeAll(fd, new TextEncoder().encode(`${pid}\n`), path);
  const held = opened.move();
  return { state, [Symbol.dispose]: () => held.dispose() };
}

/**
 * A krun that is killed while it starts a program leaves a copy of its lock in the new process, until that executes the
 * program: then the process that the lock names is dead, and the lock is free in an instant.
 */
function isRunning(holder: string): boolean {
  return !/^\d+$/.test(holder) || programIdentity(Number(holder)) !== undefined;
}

function openState(parent: Folder): Folder | undefined {
  if (parent.stat(STATE_FOLDER) === undefined) {
    try {
      parent.makeFolder(STATE_FOLDER);
    } catch (error) {
      if (!(error instanceof FileError && error.errno === ERRNO.EEXIST)) throw error;
    }
  }
  const found = parent.stat(STATE_FOLDER);
  if (found === undefined) return undefined;
  checkState(parent, found);
  return ifStillThere(() => parent.open(STATE_FOLDER));
}

/** Its journal says what to remove: nobody else may have written it. @throws {KrunError} `TargetInUse` */
function checkState(parent: Folder, found: FileStat): void {
  const user = effectiveUser();
  if (found.kind !== "folder" || found.uid !== user || (found.mode & 0o022) !== 0) {
    const state = found.kind !== "folder" ? `a ${found.kind} stands there` : foreign(found, user);
    throw new KrunError(
      "TargetInUse",
      `Cannot use state folder "${parent.path}/${STATE_FOLDER}": ${state}`.replace("//", "/"),
      "move it away, or set MESH_BASE_DIR to another folder",
    );
  }
}

/**
 * Whether {@linkcode lockBase} would succeed now. Nothing is made or written. The result is the base, free of links, if
 * there is one, and its state folder if there is one, which the caller closes.
 *
 * A krun that works there is noticed by a shared lock that is held for an instant.
 *
 * @throws {KrunError} as {@linkcode lockBase}; {@linkcode FileError}
 */
export function seeBase(path: string): { readonly base: string | undefined; readonly state: Folder | undefined } {
  const base = realPath(path);
  if (base === undefined) {
    checkWritable(existingParent(path));
    return { base, state: undefined };
  }
  using parent = Folder.open(base);
  const found = parent.stat(STATE_FOLDER);
  if (found === undefined) {
    checkWritable(base);
    return { base, state: undefined };
  }
  checkState(parent, found);
  using opened = new DisposableStack();
  const state = opened.use(parent.open(STATE_FOLDER));
  if (state.stat(LOCK_NAME) !== undefined) {
    const holder = holderOf(state);
    if (holder !== undefined) throw lockedBy(base, holder);
  }
  opened.move();
  return { base, state };
}

/** What the lock of another process says; `undefined`: nobody has it. */
function holderOf(state: Folder): string | undefined {
  const path = `${state.path}/${LOCK_NAME}`;
  const fd = openFileAt(state.fd, path, { name: LOCK_NAME, mode: "read" });
  try {
    return isLocked(fd, path) ? new TextDecoder().decode(readAll(fd, path)).trim() : undefined;
  } finally {
    closeFile(fd);
  }
}

/** The nearest folder above a path that exists, links resolved. */
export function existingParent(path: string): string {
  const parent = dirname(path);
  return realPath(parent) ?? existingParent(parent);
}

function foreign({ uid, mode }: { uid: number; mode: number }, user: number): string {
  if (uid !== user) return `it belongs to user ${uid}, krun runs as user ${user}`;
  return `others may write in it, its mode is ${mode.toString(8).padStart(4, "0")}`;
}

function ifStillThere<Result>(open: () => Result): Result | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof FileError && error.errno === ERRNO.ENOENT) return undefined;
    throw error;
  }
}

function lockedBy(base: string, pid: string): KrunError {
  const who = /^\d+$/.test(pid) ? `krun with process id ${pid}` : "another krun";
  return new KrunError(
    "BaseLocked",
    `Cannot use base folder "${base}": ${who} works in it`,
    "stop that process, or set MESH_BASE_DIR to a folder of its own",
  );
}
