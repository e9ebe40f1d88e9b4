/**
 * File calls of libc, by FFI: folders as descriptors, names below them, never a link followed unasked.
 *
 * Why not Deno's own: it makes symlinks and opens /dev/shm only for a program with every permission, and has no `*at` call, so
 * that a path could be swapped for a link between two steps. In: descriptors and names. Out: values, or a
 * {@linkcode FileError} with the errno. Needs `--allow-ffi` at the first call only; what is loaded then works after
 * `Deno.permissions.revoke({ name: "ffi" })`. Linux on x86_64 and aarch64, glibc 2.27 or later; Deno 2.6.10 to 2.9.
 *
 * @module
 */
import { AT_FDCWD, type Bytes, bytesOf, loadLibc } from "./libc.ts";
import type { SystemCall } from "./system_calls.ts";

/** errno values that callers tell apart; the same on x86_64 and aarch64 (asm-generic/errno-base.h, errno.h). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENOTSUP: 95,
  EDQUOT: 122,
} as const;

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(ERRNO).map(([name, number]) => [number, name]));

/** A file call that failed. Callers turn it into a `KrunError`; see `pod/file_fault.ts`. */
export class FileError extends Error {
  override readonly name = "FileError";
  /** Name of the errno, as in `errno.h`; `errno 99` when it is not one of {@linkcode ERRNO}. */
  readonly code: string;

  constructor(readonly errno: number, readonly call: string, readonly path: string) {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
    super(`${call} ${path}: ${code}`);
    this.code = code;
  }
}

/** What `lstat` says of one name. */
export interface FileStat {
  readonly kind: "file" | "folder" | "link" | "socket" | "charDevice" | "blockDevice" | "fifo";
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Tells two files apart that stood at one path one after the other: inode number and time of birth. */
  readonly identity: string;
  /** Another file system, or another part of one, is mounted here. */
  readonly mountRoot: boolean;
}

// Flags: the values of asm-generic/fcntl.h, but for the three that aarch64 has swapped (arch/arm64/include/uapi/asm/fcntl.h).
const ARM = Deno.build.arch === "aarch64";
const O_WRONLY = 0o1;
const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_APPEND = 0o2000;
const O_NONBLOCK = 0o4000;
const O_DIRECTORY = ARM ? 0o40000 : 0o200000;
const O_NOFOLLOW = ARM ? 0o100000 : 0o400000;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
const LOCK_EX_NB = 2 | 4;
const LOCK_SH_NB = 1 | 4;
const PATH_MAX = 4096;
const STATX_BASIC_AND_BIRTH = 0xfff;
const STATX_BTIME = 0x800;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

const decoder = new TextDecoder();

/** Makes a system call, again while a signal interrupts it; its answer, or the errno as a negative number. */
function answerOf(call: SystemCall, ...args: readonly (number | string | Bytes)[]): number {
  for (const arg of args) {
    if (typeof arg === "string" && arg.includes("\0")) throw new FileError(ERRNO.EINVAL, "name", JSON.stringify(arg));
  }
  for (;;) {
    const answer = loadLibc().call(call, ...args);
    if (answer !== -ERRNO.EINTR) return answer;
  }
}

/** What a call is named and works on, for its {@linkcode FileError}. */
type Told = readonly [call: string, path: string];

/** The answer of a call; an errno becomes a {@linkcode FileError}. */
function checked([name, path]: Told, call: SystemCall, ...args: readonly (number | string | Bytes)[]): number {
  const answer = answerOf(call, ...args);
  if (answer < 0) throw new FileError(-answer, name, path);
  return answer;
}

/** The user in whose name files are made. */
export function effectiveUser(): number {
  return answerOf("geteuid");
}

/**
 * Opens a folder by its absolute path for walking, in one call; a symlink anywhere in it is refused. `undefined` when that is
 * not possible: a walk tells why, or gets there where the kernel has no openat2(2) (before 5.6, or forbidden in a container).
 */
export function openFolderAtOnce(path: string): number | undefined {
  const RESOLVE_NO_SYMLINKS = 4n;
  const how = new BigUint64Array([BigInt(O_PATH | O_DIRECTORY | O_CLOEXEC), 0n, RESOLVE_NO_SYMLINKS]);
  const answer = answerOf("openat2", AT_FDCWD, path, bytesOf(how), how.byteLength);
  return answer < 0 ? undefined : answer;
}

/** Opens the file system's root; the start of every walk. */
export function openRoot(): number {
  return checked(["open", "/"], "openat", AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/** Opens a folder for walking; its listing and its mode need {@linkcode openFileAt}. A symlink is `ENOTDIR`. */
export function openFolderAt(fd: number, path: string, name: string): number {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  return checked(["open", path], "openat", fd, name, flags, 0);
}

/** How a file is opened by {@linkcode openFileAt}. */
export type OpenMode = "read" | "create" | "append" | "lock" | "folder" | "name";

const OPEN_FLAGS: Readonly<Record<OpenMode, number>> = {
  // A FIFO that somebody put there must not stop krun.
  read: O_NONBLOCK,
  create: O_WRONLY | O_CREAT | O_EXCL,
  append: O_RDWR | O_CREAT | O_APPEND,
  lock: O_RDWR | O_CREAT,
  folder: O_DIRECTORY,
  name: O_PATH,
};

/**
 * Opens a file; a symlink is `ELOOP`. `create` insists on making it, `append` and `lock` take what is there; what is made has
 * mode 0600 less the umask, until {@linkcode setModeOf}. `folder` opens a folder for listing and for its mode; `name` whatever
 * is there, a link itself too, for its owner.
 */
export function openFileAt(fd: number, path: string, { name, mode }: { name: string; mode: OpenMode }): number {
  const flags = OPEN_FLAGS[mode] | O_NOFOLLOW | O_CLOEXEC;
  return checked(["open", path], "openat", fd, name, flags, 0o600);
}

/** Closes a descriptor. */
export function closeFile(fd: number): void {
  loadLibc().call("close", fd);
}

/** Writes all of `bytes` at the descriptor's position. */
export function writeAll(fd: number, bytes: Uint8Array, path: string): void {
  for (let done = 0; done < bytes.length;) {
    const rest = bytes.subarray(done) as Uint8Array<ArrayBuffer>;
    done += checked(["write", path], "write", fd, rest, rest.length);
  }
}

/** Reads from the descriptor's position to the end. `sizeHint` in bytes. */
export function readAll(fd: number, path: string, sizeHint = 0): Uint8Array<ArrayBuffer> {
  let buffer = new Uint8Array(Math.max(sizeHint + 1, 512));
  let length = 0;
  for (;;) {
    if (length === buffer.length) {
      const larger = new Uint8Array(buffer.length * 2);
      larger.set(buffer);
      buffer = larger;
    }
    const rest = buffer.subarray(length);
    const count = checked(["read", path], "read", fd, rest, rest.length);
    if (count === 0) return buffer.subarray(0, length);
    length += count;
  }
}

/** Cuts a file to `bytes`. */
export function truncateFile(fd: number, path: string, bytes: number): void {
  checked(["truncate", path], "ftruncate", fd, bytes);
}

/** Sets all permission bits of an open file; the umask has no part in it. */
export function setModeOf(fd: number, path: string, mode: number): void {
  checked(["chmod", path], "fchmod", fd, mode);
}

/** User and group; `undefined` keeps one. */
export interface OwnerIds {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/** Sets owner and group of what is open, which may be a link itself. */
export function setOwnerOf(fd: number, path: string, { uid, gid }: OwnerIds): void {
  const keep = 0xffffffff;
  checked(["chown", path], "fchownat", fd, "", uid ?? keep, gid ?? keep, AT_EMPTY_PATH);
}

/** Makes a folder, mode 0700 less the umask. `EEXIST` when anything is there. */
export function makeFolderAt(fd: number, path: string, name: string): void {
  checked(["mkdir", path], "mkdirat", fd, name, 0o700);
}

/** Removes an empty folder. */
export function removeFolderAt(fd: number, path: string, name: string): void {
  checked(["rmdir", path], "unlinkat", fd, name, AT_REMOVEDIR);
}

/** Removes anything but a folder; a link itself. */
export function removeFileAt(fd: number, path: string, name: string): void {
  checked(["unlink", path], "unlinkat", fd, name, 0);
}

/** Makes a symlink. `EEXIST` when anything is there. */
export function makeLinkAt(fd: number, path: string, { name, to }: { name: string; to: string }): void {
  checked(["symlink", path], "symlinkat", to, fd, name);
}

/** Text of a symlink; `EINVAL` when it is none. */
export function readLinkAt(fd: number, path: string, name: string): string {
  const text = new Uint8Array(PATH_MAX);
  const length = checked(["readlink", path], "readlinkat", fd, name, text, PATH_MAX);
  return decoder.decode(text.subarray(0, length));
}

/** Renames within one folder, over whatever link or file is at `to`. */
export function renameAt(fd: number, path: string, { from, to }: { from: string; to: string }): void {
  checked(["rename", path], "renameat", fd, from, fd, to);
}

/** What a name is; `undefined` when nothing is there. A link is not followed. An empty name: what is open itself. */
export function statAt(fd: number, path: string, name: string): FileStat | undefined {
  const raw = new Uint8Array(256);
  const flags = AT_SYMLINK_NOFOLLOW | (name === "" ? AT_EMPTY_PATH : 0);
  const answer = answerOf("statx", fd, name, flags, STATX_BASIC_AND_BIRTH, raw);
  if (answer === -ERRNO.ENOENT) return undefined;
  if (answer < 0) throw new FileError(-answer, "stat", path);
  return parseStatx(new DataView(raw.buffer));
}

/** The type bits of a mode (inode(7)). */
const KINDS: ReadonlyMap<number, FileStat["kind"]> = new Map([
  [0o140000, "socket"],
  [0o120000, "link"],
  [0o100000, "file"],
  [0o060000, "blockDevice"],
  [0o040000, "folder"],
  [0o020000, "charDevice"],
]);

/** Layout of `struct statx` (linux/stat.h); the same on every architecture. */
function parseStatx(view: DataView): FileStat {
  const mask = view.getUint32(0, true);
  const attributes = view.getBigUint64(8, true);
  const mode = view.getUint16(28, true);
  const birth = mask & STATX_BTIME ? `${view.getBigInt64(80, true)}.${view.getUint32(88, true)}` : "unknown";
  return {
    kind: KINDS.get(mode & 0o170000) ?? "fifo",
    mode: mode & 0o7777,
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    size: Number(view.getBigUint64(40, true)),
    identity: `${view.getBigUint64(32, true)}@${birth}`,
    mountRoot: (attributes & BigInt(STATX_ATTR_MOUNT_ROOT)) !== 0n,
  };
}

/** Shared by all listings: none is in the middle of another. */
const direntBuffer = new Uint8Array(32768);

/** Names in a folder, without `.` and `..`, sorted. */
export function listFolder(fd: number, path: string): string[] {
  const listing = openFileAt(fd, path, { name: ".", mode: "folder" });
  try {
    const names: string[] = [];
    const buffer = direntBuffer;
    for (;;) {
      const length = checked(["list", path], "getdents64", listing, buffer, buffer.length);
      if (length === 0) return names.sort();
      names.push(...parseDirents(buffer.subarray(0, length)));
    }
  } finally {
    closeFile(listing);
  }
}

/** Layout of `struct linux_dirent64`: record length at 16, name from 19 to its NUL (getdents64(2)). */
function parseDirents(records: Uint8Array<ArrayBuffer>): string[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const names: string[] = [];
  for (let at = 0; at < records.length;) {
    const length = view.getUint16(at + 16, true);
    const text = records.subarray(at + 19, at + length);
    const name = decoder.decode(text.subarray(0, text.indexOf(0)));
    if (name !== "." && name !== "..") names.push(name);
    at += length;
  }
  return names;
}

/** Takes an exclusive lock that ends with the descriptor, also at kill -9; false when somebody else has it (flock(2)). */
export function tryLock(fd: number, path: string): boolean {
  const answer = answerOf("flock", fd, LOCK_EX_NB);
  if (answer < 0 && answer !== -ERRNO.EAGAIN) throw new FileError(-answer, "lock", path);
  return answer >= 0;
}

/** Whether somebody else has an exclusive lock on it. A shared one is held until the descriptor is closed (flock(2)). */
export function isLocked(fd: number, path: string): boolean {
  const answer = answerOf("flock", fd, LOCK_SH_NB);
  if (answer < 0 && answer !== -ERRNO.EAGAIN) throw new FileError(-answer, "lock", path);
  return answer < 0;
}

/** Makes sure that files can be made in a folder. Writes nothing. @throws {FileError} */
export function checkWritable(folder: string): void {
  const errno = loadLibc().access(`${folder}/.`, "write");
  if (errno !== 0) throw new FileError(errno, "write", folder);
}

/** Whether what is open lies in memory: tmpfs or ramfs (statfs(2)). */
export function isMemoryFileSystem(fd: number, path: string): boolean {
  const raw = new Uint8Array(256);
  checked(["statfs", path], "fstatfs", fd, raw);
  const magic = new DataView(raw.buffer).getUint32(0, true);
  return magic === TMPFS_MAGIC || magic === RAMFS_MAGIC;
}

/** The path with every link resolved; `undefined` when it does not exist. */
export function realPath(path: string): string | undefined {
  const resolved = new Uint8Array(PATH_MAX);
  const errno = path.includes("\0") ? ERRNO.EINVAL : loadLibc().realPath(path, resolved);
  if (errno === ERRNO.ENOENT || errno === ERRNO.ENOTDIR) return undefined;
  if (errno !== 0) throw new FileError(errno, "resolve", path);
  return decoder.decode(resolved.subarray(0, resolved.indexOf(0)));
}
