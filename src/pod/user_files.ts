/**
 * Files as a session's user sees them: system calls of krun that are made as that user. In: who that is, and where relative paths
 * begin. Out: {@linkcode UserFiles}.
 *
 * No file of Deno's takes part: they would be krun's own, and are limited by its permissions. A call is made in a bracket
 * (`userBracket` of pod/user.ts, about 20 µs) unless krun is that user itself. The umask is krun's, which is the program's too. What
 * hangs by itself, as a file system over a network that is gone, hangs krun as well.
 *
 * @module
 */
import { textOfBytes } from "../core/byte_text.ts";
import {
  type FileChange,
  FileFault,
  type FileOpening,
  type FileStat,
  type FileSystemStat,
  type OpenFile,
  type OpenFolder,
  type UserFiles,
} from "../core/user_files.ts";
import { AT_FDCWD, type Libc, O_NOCTTY, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } from "./libc.ts";
import { ERRNO } from "./libc_files.ts";
import { actingAs, type User } from "./user.ts";
import { type Caller, changeOpen, fileSystemOf, statOf, UserOpenFile, UserOpenFolder } from "./user_open_file.ts";
import { AT_REMOVEDIR, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC, type Place, UserPaths } from "./user_path.ts";

const PATH_MAX = 4096;
const ENOSYS = 38, EOPNOTSUPP = 95;

const S_IFMT = 0o170000, S_IFREG = 0o100000, S_IFDIR = 0o040000, S_IFCHR = 0o020000;

/** Names of the devices that are opened: nothing happens by that, and they never wait. */
const DEVICES: ReadonlySet<string> = new Set(["1:3", "1:5", "1:7", "1:8", "1:9"]);

/** Options of {@linkcode userFiles}. */
export interface UserFilesOptions {
  /** Whose files. */
  readonly user: User;
  /** Where a relative path begins; absolute. */
  readonly cwd: string;
  /** Whether openat2(2) is used. @default {where the kernel has it} */
  readonly atOnce?: boolean;
}

/**
 * The files of a session. To be made when krun's own ids have come to stay. Works after the permission `ffi` was revoked.
 */
export function userFiles(libc: Libc, { user, cwd, ...how }: UserFilesOptions): UserFiles {
  const paths = new UserPaths(libc, { cwd, ...how });
  return new SystemFiles({ libc, paths, as: actingAs(libc, user) });
}

class SystemFiles implements UserFiles {
  readonly #caller: Caller;
  readonly #paths: UserPaths;

  constructor(caller: Caller) {
    this.#caller = caller;
    this.#paths = caller.paths;
  }

  open(path: string, opening: FileOpening): OpenFile {
    const flags = flagsOf(opening) | O_NONBLOCK | O_NOCTTY;
    const mode = (opening.mode ?? 0o666) & 0o7777;
    const fd = this.#caller.as(() => {
      if (!opening.exclusive) this.#refuseKind(path);
      return this.#checked(this.#paths.open(path, { flags, mode }));
    });
    return new UserOpenFile(this.#caller, fd);
  }

  openFolder(path: string): OpenFolder {
    const fd = this.#caller.as(() => this.#checked(this.#paths.open(path, { flags: O_RDONLY | O_DIRECTORY })));
    return new UserOpenFolder(this.#caller, fd);
  }

  stat(path: string): FileStat {
    return this.#with(path, { follow: true }, (fd) => statOf(this.#paths, fd));
  }

  linkStat(path: string): FileStat {
    return this.#with(path, { follow: false }, (fd) => statOf(this.#paths, fd));
  }

  change(path: string, change: FileChange): void {
    this.#with(path, { follow: true }, (fd) => changeOpen(this.#paths, fd, change));
  }

  changeLink(path: string, change: FileChange): void {
    this.#with(path, { follow: false }, (fd) => changeOpen(this.#paths, fd, change));
  }

  makeFolder(path: string, mode: number): void {
    this.#at(path, ({ fd, name }) => this.#paths.call("mkdirat", fd, name, mode & 0o7777));
  }

  removeFolder(path: string): void {
    this.#at(path, ({ fd, name }) => this.#paths.call("unlinkat", fd, name, AT_REMOVEDIR));
  }

  remove(path: string): void {
    this.#at(path, ({ fd, name }) => this.#paths.call("unlinkat", fd, name, 0));
  }

  rename(from: string, to: string, { replace = true }: { readonly replace?: boolean } = {}): void {
    this.#at(from, (old) =>
      this.#paths.at(to, (place) => {
        if (!replace) return this.#renameAside(old, place);
        this.#paths.call("renameat", old.fd, old.name, place.fd, place.name);
      }));
  }

  makeLink(path: string, target: string): void {
    if (target.includes("\0")) throw new FileFault(ERRNO.EINVAL);
    this.#at(path, ({ fd, name }) => this.#paths.call("symlinkat", target, fd, name));
  }

  makeHardLink(path: string, existing: string): void {
    this.#at(existing, (old) =>
      this.#paths.at(path, (place) => {
        this.#paths.call("linkat", old.fd, old.name, place.fd, place.name, 0);
      }));
  }

  readLink(path: string): string {
    return this.#with(path, { follow: false }, (fd) => {
      this.#paths.refuseProc(fd);
      return this.#readLink(fd, "");
    });
  }

  realPath(path: string): string {
    return this.#caller.as(() => {
      try {
        return this.#paths.with(path, { follow: true }, (fd) => this.#pathOf(fd));
      } catch (error) {
        if (!(error instanceof FileFault) || error.errno !== ERRNO.ENOENT) throw error;
        return this.#paths.at(path, ({ fd, name }) => {
          return `${this.#pathOf(fd)}/${name.replace(/\/+$/, "")}`.replace(/^\/\//, "/");
        });
      }
    });
  }

  fileSystem(path: string): FileSystemStat {
    return this.#with(path, { follow: true }, (fd) => fileSystemOf(this.#paths, fd));
  }

  #with<Result>(path: string, options: { readonly follow: boolean }, body: (fd: number) => Result): Result {
    return this.#caller.as(() => this.#paths.with(path, options, body));
  }

  #at(path: string, body: (place: Place) => unknown): void {
    this.#caller.as(() => void this.#paths.at(path, body));
  }

  /** The descriptor, closed when it is nothing that may be open. */
  #checked(fd: number): number {
    try {
      this.#refuseOpen(fd);
      this.#paths.refuseProc(fd);
      return fd;
    } catch (error) {
      this.#paths.close(fd);
      throw error;
    }
  }

  /** Before it is opened, since opening alone may do something: a watchdog starts, a pipe's other end goes on. */
  #refuseKind(path: string): void {
    try {
      this.#paths.with(path, { follow: true }, (fd) => this.#refuseOpen(fd));
    } catch (error) {
      // It is to be made, or its opening tells.
      if (!(error instanceof FileFault) || error.errno !== ERRNO.ENOENT) throw error;
    }
  }

  #refuseOpen(fd: number): void {
    const raw = new Uint8Array(256);
    const STATX_TYPE = 1, AT_EMPTY_PATH = 0x1000;
    this.#paths.call("statx", fd, "", AT_EMPTY_PATH, STATX_TYPE, raw);
    const view = new DataView(raw.buffer);
    const kind = view.getUint16(28, true) & S_IFMT;
    if (kind === S_IFREG || kind === S_IFDIR) return;
    const device = `${view.getUint32(128, true)}:${view.getUint32(132, true)}`;
    if (kind !== S_IFCHR || !DEVICES.has(device)) throw new FileFault(ERRNO.EACCES);
  }

  /** Without RENAME_NOREPLACE a file gets its second name, which never replaces, before it loses the first (as OpenSSH does). */
  #renameAside(old: Place, place: Place): void {
    const RENAME_NOREPLACE = 1;
    const { fd, name } = place;
    const errno = -this.#paths.attempt("renameat2", old.fd, old.name, fd, name, RENAME_NOREPLACE);
    if (errno <= 0) return;
    if (errno !== ENOSYS && errno !== ERRNO.EINVAL) throw new FileFault(errno);
    if ((statOf(this.#paths, old.fd, old.name).mode & S_IFMT) !== S_IFDIR) {
      const linked = -this.#paths.attempt("linkat", old.fd, old.name, fd, name, 0);
      if (linked <= 0) return void this.#paths.call("unlinkat", old.fd, old.name, 0);
      if (![EOPNOTSUPP, ENOSYS, ERRNO.EPERM].includes(linked)) throw new FileFault(linked);
    }
    const STATX_TYPE = 1, AT_SYMLINK_NOFOLLOW = 0x100;
    const there = this.#paths.attempt("statx", fd, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, new Uint8Array(256));
    if (there === 0) throw new FileFault(ERRNO.EEXIST);
    this.#paths.call("renameat", old.fd, old.name, fd, name);
  }

  /** Where what is open lies, as the kernel says it. */
  #pathOf(fd: number): string {
    return this.#readLink(AT_FDCWD, `/proc/self/fd/${fd}`);
  }

  #readLink(fd: number, name: string): string {
    const text = new Uint8Array(PATH_MAX);
    const length = this.#paths.attempt("readlinkat", fd, name, text, PATH_MAX);
    // What is open and is no link has another errno than what has a name (readlink(2)).
    if (length < 0) throw new FileFault(name === "" && length === -ERRNO.ENOENT ? ERRNO.EINVAL : -length);
    return textOfBytes(text.subarray(0, length));
  }
}

function flagsOf({ read, write, append, create, exclusive, truncate }: FileOpening): number {
  const access = read && (write || append) ? O_RDWR : write || append ? O_WRONLY : O_RDONLY;
  return access | (append ? O_APPEND : 0) | (create ? O_CREAT : 0) | (create && exclusive ? O_EXCL : 0) |
    (truncate ? O_TRUNC : 0);
}
