/**
 * Files and folders that a session has open. In: their descriptors. Out: bytes, names and numbers, or a {@linkcode FileFault}.
 *
 * @module
 */
import { textOfBytes } from "../core/byte_text.ts";
import {
  type FileChange,
  FileFault,
  type FileStat,
  type FileSystemStat,
  type FolderEntry,
  type OpenFile,
  type OpenFolder,
} from "../core/user_files.ts";
import { AT_FDCWD, type Bytes, bytesOf, type Libc, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_WRONLY } from "./libc.ts";
import { ERRNO } from "./libc_files.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, type UserPaths } from "./user_path.ts";

/** Who makes the calls. */
export interface Caller {
  readonly libc: Libc;
  readonly paths: UserPaths;
  /** Calls it as the session's user. */
  as<Result>(body: () => Result): Result;
}

const STATX_BASIC = 0x7ff;
const EOPNOTSUPP = 95;
const S_IFMT = 0o170000, S_IFREG = 0o100000, S_IFLNK = 0o120000;

/** What is open, or has a name in it; of a link itself. Layout of `struct statx` (linux/stat.h). */
export function statOf(paths: UserPaths, fd: number, name = ""): FileStat {
  const raw = new Uint8Array(256);
  const flags = AT_SYMLINK_NOFOLLOW | (name === "" ? AT_EMPTY_PATH : 0);
  paths.call("statx", fd, name, flags, STATX_BASIC, raw);
  const view = new DataView(raw.buffer);
  return {
    links: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    sizeBytes: Number(view.getBigUint64(40, true)),
    accessedSeconds: Number(view.getBigInt64(64, true)),
    modifiedSeconds: Number(view.getBigInt64(112, true)),
  };
}

/** Layout of `struct statfs` on 64-bit machines (asm-generic/statfs.h). */
export function fileSystemOf(paths: UserPaths, fd: number): FileSystemStat {
  const ST_VALID = 0x20;
  const raw = new BigUint64Array(15);
  paths.call("fstatfs", fd, bytesOf(raw));
  const [, blockSize = 0n, blocks = 0n, freeBlocks = 0n, availableBlocks = 0n, files = 0n, freeFiles = 0n] = raw;
  const [fileSystemId = 0n, longestName = 0n, fragmentSize = 0n, flags = 0n] = raw.subarray(7);
  return {
    ...{ blocks, freeBlocks, availableBlocks, files, freeFiles, fileSystemId },
    blockSize: Number(blockSize),
    fragmentSize: Number(fragmentSize === 0n ? blockSize : fragmentSize),
    flags: Number(flags) & ~ST_VALID,
    longestName: Number(longestName),
  };
}

/**
 * Changes what is open, be it only for its name (O_PATH), the owner before the mode: a change of owner clears the bits setuid
 * and setgid. Of a link itself neither size nor mode can be changed.
 */
export function changeOpen(paths: UserPaths, fd: number, { sizeBytes, owner, mode, times }: FileChange): void {
  paths.refuseProc(fd);
  const kind = statOf(paths, fd).mode & S_IFMT;
  if (kind === S_IFLNK && (sizeBytes !== undefined || mode !== undefined)) throw new FileFault(EOPNOTSUPP);
  if (kind !== S_IFREG && sizeBytes !== undefined) throw new FileFault(ERRNO.EINVAL);
  // What is open for its name alone takes no other calls (open(2)); krun's own link in /proc leads to just this file.
  const self = `/proc/self/fd/${fd}`;
  if (sizeBytes !== undefined) resize(paths, self, sizeBytes);
  if (owner !== undefined) paths.call("fchownat", fd, "", owner.uid, owner.gid, AT_EMPTY_PATH);
  if (mode !== undefined) paths.call("fchmodat", AT_FDCWD, self, mode & 0o7777);
  if (times === undefined) return;
  const { accessedSeconds, modifiedSeconds } = times;
  const pair = new BigInt64Array([BigInt(accessedSeconds), 0n, BigInt(modifiedSeconds), 0n]);
  paths.call("utimensat", AT_FDCWD, self, bytesOf(pair), 0);
}

/** Not by truncate(2), which waits up to 45 s for whoever has a lease on the file (fcntl(2)): a program of the user could stop krun. */
function resize(paths: UserPaths, path: string, sizeBytes: number): void {
  const fd = paths.call("openat", AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
  try {
    paths.call("ftruncate", fd, sizeBytes);
  } finally {
    paths.close(fd);
  }
}

/** One after the other: each holds one of the few threads that all of krun shares. */
let lastSync: Promise<unknown> = Promise.resolve();

/** A file that is open. */
export class UserOpenFile implements OpenFile {
  readonly #caller: Caller;
  readonly #fd: number;
  #isOpen = true;
  #syncing: Promise<unknown> | undefined;

  constructor(caller: Caller, fd: number) {
    this.#caller = caller;
    this.#fd = fd;
  }

  read(into: Bytes, offset: number): number {
    // The right to it was asked when it was opened.
    return this.#paths.call("pread64", this.#open(), into, into.length, offset);
  }

  write(bytes: Bytes, offset: number): void {
    const fd = this.#open();
    // As the user also here: root's write leaves the bits setuid and setgid, and takes what is kept free for root.
    this.#caller.as(() => {
      for (let done = 0; done < bytes.length;) {
        const rest = bytes.subarray(done);
        const count = this.#paths.call("pwrite64", fd, rest, rest.length, offset + done);
        if (count === 0) throw new FileFault(ERRNO.EIO);
        done += count;
      }
    });
  }

  stat(): FileStat {
    return statOf(this.#paths, this.#open());
  }

  change({ sizeBytes, ...rest }: FileChange): void {
    const fd = this.#open();
    this.#caller.as(() => {
      // The right to it was asked when it was opened, and may be gone since.
      if (sizeBytes !== undefined) this.#paths.call("ftruncate", fd, sizeBytes);
      changeOpen(this.#paths, fd, rest);
    });
  }

  fileSystem(): FileSystemStat {
    return fileSystemOf(this.#paths, this.#open());
  }

  async sync(): Promise<void> {
    const fd = this.#open();
    const { libc } = this.#caller;
    const synced = lastSync.then(() => libc.c.fsyncLater(fd));
    lastSync = synced;
    this.#syncing = synced;
    // Its errno is another thread's.
    if (await synced !== 0) throw new FileFault(ERRNO.EIO);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const close = () => this.#paths.close(this.#fd);
    // Its number must not be another file's before then.
    if (this.#syncing === undefined) close();
    else void this.#syncing.then(close);
  }

  get #paths(): UserPaths {
    return this.#caller.paths;
  }

  #open(): number {
    if (!this.#isOpen) throw new FileFault(ERRNO.EBADF);
    return this.#fd;
  }
}

/** Shared by all listings: none is in the middle of another. Some 250 names, whose state takes less than a millisecond. */
const direntBuffer = new Uint8Array(8 * 1024);

/** A folder that is open. */
export class UserOpenFolder implements OpenFolder {
  readonly #paths: UserPaths;
  readonly #caller: Caller;
  readonly #fd: number;
  #isOpen = true;

  constructor(caller: Caller, fd: number) {
    this.#caller = caller;
    this.#paths = caller.paths;
    this.#fd = fd;
  }

  entries(): FolderEntry[] {
    for (;;) {
      const length = this.#paths.call("getdents64", this.#open(), direntBuffer, direntBuffer.length);
      if (length === 0) return [];
      const names = namesIn(direntBuffer.subarray(0, length));
      const entries = this.#caller.as(() => names.flatMap((name) => this.#entry(name)));
      if (entries.length > 0) return entries;
    }
  }

  /** None when it is gone meanwhile. */
  #entry(name: string): FolderEntry[] {
    try {
      return [{ name, stat: statOf(this.#paths, this.#fd, name) }];
    } catch (error) {
      if (!(error instanceof FileFault)) throw error;
      return error.errno === ERRNO.ENOENT ? [] : [{ name }];
    }
  }

  close(): void {
    if (this.#isOpen) this.#paths.close(this.#fd);
    this.#isOpen = false;
  }

  #open(): number {
    if (!this.#isOpen) throw new FileFault(ERRNO.EBADF);
    return this.#fd;
  }
}

/** Layout of `struct linux_dirent64`: record length at 16, name from 19 to its NUL (getdents64(2)). */
function namesIn(records: Bytes): string[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const names: string[] = [];
  for (let at = 0, length = 0; at < records.length; at += length) {
    length = view.getUint16(at + 16, true);
    const text = records.subarray(at + 19, at + length);
    names.push(textOfBytes(text.subarray(0, text.indexOf(0))));
  }
  return names;
}
