/**
 * How the path that a session names becomes what is open. In: an absolute path, a text of `core/byte_text.ts`. Out: descriptors,
 * or a {@linkcode FileFault}.
 *
 * The calls are krun's, so `/proc/self` is krun too, and the kernel lets a process follow its own links there whoever its user
 * is: `/proc/self/fd/7` would be a file that krun has open, `/proc/self/environ` its secrets, `/dev/stdin` its own input. So no
 * path goes through such a link (openat2(2), RESOLVE_NO_MAGICLINKS; where the kernel has no openat2, as gVisor, krun goes name
 * by name and follows no link of /proc), and nothing that lies on a proc file system is opened, wherever that is mounted.
 *
 * @module
 */
import { textOfBytes } from "../core/byte_text.ts";
import { FileFault } from "../core/user_files.ts";
import { AT_FDCWD, type Bytes, bytesOf, type Libc, O_CLOEXEC } from "./libc.ts";
import type { SystemCall } from "./system_calls.ts";
import { ERRNO } from "./libc_files.ts";

// The values of asm-generic/fcntl.h, but for the two that aarch64 has swapped (arch/arm64/include/uapi/asm/fcntl.h).
const ARM = Deno.build.arch === "aarch64";

/** Flags of open(2). */
export const O_CREAT = 0o100,
  O_EXCL = 0o200,
  O_TRUNC = 0o1000,
  O_APPEND = 0o2000,
  O_DIRECTORY = ARM ? 0o40000 : 0o200000,
  O_NOFOLLOW = ARM ? 0o100000 : 0o400000,
  O_PATH = 0o10000000;

/** The descriptor that means the working directory, and the flags of calls that work on what is open, or on a link itself. */
export const AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_EMPTY_PATH = 0x1000;

/** As many links as the kernel follows in one path (path_resolution(7)). */
const MOST_LINKS = 40;
const PATH_MAX = 4096;
const PROC_SUPER_MAGIC = 0x9fa0;

/** A name in a folder that is open. */
export interface Place {
  /** Of the folder. */
  readonly fd: number;
  /** Perhaps with slashes at its end, which say that it is a folder. */
  readonly name: string;
}

/** How something is opened by {@linkcode UserPaths.open}. */
export interface OpenFlags {
  readonly flags: number;
  /** Of what is made, before the umask. */
  readonly mode?: number;
}

/** Options of {@linkcode UserPaths}. */
export interface UserPathsOptions {
  /** Where a relative path begins; absolute. */
  readonly cwd: string;
  /** Whether openat2(2) is used. @default {where the kernel has it} */
  readonly atOnce?: boolean;
}

/** The paths of one session. Its methods run as whoever the thread is. */
export class UserPaths {
  readonly #libc: Libc;
  readonly #cwd: string;
  readonly #atOnce: boolean;

  constructor(libc: Libc, { cwd, atOnce }: UserPathsOptions) {
    this.#libc = libc;
    this.#cwd = cwd;
    this.#atOnce = atOnce ?? this.#hasOpenat2();
  }

  /** Makes a system call, again while a signal interrupts it. @throws {FileFault} */
  call(name: SystemCall, ...args: readonly (number | bigint | string | Bytes)[]): number {
    const answer = this.attempt(name, ...args);
    if (answer < 0) throw new FileFault(-answer);
    return answer;
  }

  /** As {@linkcode UserPaths.call}, with -errno as the answer of one that fails. */
  attempt(name: SystemCall, ...args: readonly (number | bigint | string | Bytes)[]): number {
    for (;;) {
      const answer = this.#libc.call(name, ...args);
      if (answer !== -ERRNO.EINTR) return answer;
    }
  }

  /** Opens it, as open(2) does; close-on-exec. */
  open(path: string, { flags, mode = 0 }: OpenFlags): number {
    const absolute = this.#absolute(path);
    const all = flags | O_CLOEXEC;
    if (!this.#atOnce) return this.#openByNames(absolute, { flags: all, mode });
    const answer = this.#openAtOnce(absolute, { flags: all, mode });
    if (answer < 0) throw new FileFault(this.#isRefusedLink(-answer, absolute) ? ERRNO.EACCES : -answer);
    return answer;
  }

  /** Opens it for calls on what it is, without a right to its content (O_PATH). */
  find(path: string, { follow = true }: { readonly follow?: boolean } = {}): number {
    return this.open(path, { flags: O_PATH | (follow ? 0 : O_NOFOLLOW) });
  }

  /** Calls `body` with what {@linkcode UserPaths.find} opens. */
  with<Result>(path: string, options: { readonly follow: boolean }, body: (fd: number) => Result): Result {
    return this.#closing(this.find(path, options), body);
  }

  /** Calls `body` with the last name of a path and the folder that it is in. */
  at<Result>(path: string, body: (place: Place) => Result): Result {
    const [, folder = "", name = "."] = /^(.*\/)?([^/]+\/*)$/s.exec(path === "" ? "" : this.#absolute(path)) ??
      [, path];
    return this.#closing(this.open(folder, { flags: O_PATH | O_DIRECTORY }), (fd) => body({ fd, name }));
  }

  /** Whether what is open lies on a proc file system. */
  isOfProc(fd: number): boolean {
    const raw = new Uint8Array(256);
    this.call("fstatfs", fd, raw);
    return new DataView(raw.buffer).getUint32(0, true) === PROC_SUPER_MAGIC;
  }

  /** @throws {FileFault} EACCES for what lies on a proc file system */
  refuseProc(fd: number): void {
    if (this.isOfProc(fd)) throw new FileFault(ERRNO.EACCES);
  }

  close(fd: number): void {
    this.#libc.call("close", fd);
  }

  #closing<Result>(fd: number, body: (fd: number) => Result): Result {
    try {
      return body(fd);
    } finally {
      this.close(fd);
    }
  }

  #absolute(path: string): string {
    if (path === "") throw new FileFault(ERRNO.ENOENT);
    if (path.includes("\0")) throw new FileFault(ERRNO.EINVAL);
    if (path.length >= PATH_MAX) throw new FileFault(ERRNO.ENAMETOOLONG);
    return path.startsWith("/") ? path : `${this.#cwd}/${path}`;
  }

  #hasOpenat2(): boolean {
    const fd = this.#openAtOnce("/", { flags: O_PATH | O_CLOEXEC, mode: 0 });
    if (fd < 0) return false;
    this.close(fd);
    return true;
  }

  #openAtOnce(path: string, { flags, mode }: Required<OpenFlags>): number {
    const RESOLVE_NO_MAGICLINKS = 2n;
    const makes = (flags & O_CREAT) !== 0;
    const how = new BigUint64Array([BigInt(flags), BigInt(makes ? mode : 0), RESOLVE_NO_MAGICLINKS]);
    return this.attempt("openat2", AT_FDCWD, path, bytesOf(how), how.byteLength);
  }

  /** Links that lead in a circle have the same errno; only those the kernel does not follow either. */
  #isRefusedLink(errno: number, path: string): boolean {
    if (errno !== ERRNO.ELOOP) return false;
    const STATX_TYPE = 1;
    return this.attempt("statx", AT_FDCWD, path, 0, STATX_TYPE, new Uint8Array(256)) !== -ERRNO.ELOOP;
  }

  #openByNames(path: string, { flags, mode }: Required<OpenFlags>): number {
    const follow = (flags & (O_NOFOLLOW | O_EXCL)) === 0;
    const { fd, name } = this.#walk(path, follow);
    return this.#closing(fd, () => this.call("openat", fd, name, flags | O_NOFOLLOW, mode));
  }

  /** Goes to the last name of a path, which is no link if that was to be followed. The folder must be closed. */
  #walk(path: string, follow: boolean): Place {
    const names = namesOf(path);
    let fd = this.call("openat", AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    try {
      for (let links = 0;;) {
        const name = names.shift() ?? ".";
        const isLast = names.length === 0;
        const link = isLast && !follow ? undefined : this.#linkAt({ fd, name });
        if (link === undefined && isLast) return { fd, name };
        if (link !== undefined && ++links > MOST_LINKS) throw new FileFault(ERRNO.ELOOP);
        if (link !== undefined) names.unshift(...namesOf(link));
        if (link !== undefined && !link.startsWith("/")) continue;
        const next = link === undefined ? name : "/";
        const entered = this.call("openat", fd, next, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        this.close(fd);
        fd = entered;
      }
    } catch (error) {
      this.close(fd);
      throw error;
    }
  }

  /** The text of a link; `undefined` for anything else, also for nothing. */
  #linkAt({ fd, name }: Place): string | undefined {
    const text = new Uint8Array(PATH_MAX);
    const length = this.attempt("readlinkat", fd, name, text, PATH_MAX);
    if (length === -ERRNO.EINVAL || length === -ERRNO.ENOENT) return undefined;
    if (length < 0) throw new FileFault(-length);
    this.refuseProc(fd);
    return textOfBytes(text.subarray(0, length));
  }
}

/** The names on a path's way. What ends in a slash is a folder. */
function namesOf(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return path.endsWith("/") ? [...names, "."] : names;
}
