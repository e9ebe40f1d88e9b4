/**
 * The C library, for what Deno has no call for: processes, users, signals, terminals and /proc. In: numbers and texts. Out: numbers
 * and texts.
 *
 * Everything is looked up once, by {@linkcode loadLibc}. That needs the permission `ffi` and goes on working when it is
 * revoked afterwards, which is why `Deno.UnsafePointer` (refused then) is not used. Deno compiles each function that is
 * declared, at 0.15 ms; so whatever the kernel offers is one function and a number. Numbers and structures are those of
 * 64-bit Linux, on x86_64 and aarch64; glibc 2.27 or later.
 *
 * Why not syscall(2) of libc: it leaves the fault in `errno`, and between it and a second call that reads errno, V8 collects
 * garbage on the same thread and writes its own there: one failed call in 90,000 then tells EAGAIN instead of ENOENT. So the
 * system call is a few instructions of ours that keep the kernel's answer, and bsearch(3), which calls what it is given, is
 * how they are reached: of what runs after the revocation, only declared functions.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import { KrunError } from "../core/errors.ts";
import { SIGCHLD, SIGPIPE } from "../core/signals.ts";
import { accessByMode, W_OK, X_OK } from "./access_by_mode.ts";
import { FRAME_ANSWER, FRAME_LENGTH, systemCallCode } from "./machine_code.ts";
import { type SystemCall, systemCallNumber } from "./system_calls.ts";

const INT = "i32", LONG = "i64", SIZE = "usize", ADDRESS = "u64", BYTES = "buffer";

const FUNCTIONS = {
  memcpy: { parameters: [BYTES, BYTES, SIZE], result: ADDRESS },
  copyIn: { name: "memcpy", parameters: [LONG, BYTES, SIZE], result: ADDRESS },
  mmap: { parameters: [ADDRESS, SIZE, INT, INT, INT, LONG], result: LONG },
  mprotect: { parameters: [LONG, SIZE, INT], result: INT },
  bsearch: { parameters: [BYTES, BYTES, SIZE, SIZE, LONG], result: ADDRESS },
  epollWaitLater: { name: "epoll_wait", parameters: [INT, BYTES, INT, INT], result: INT, nonblocking: true },
  fsyncLater: { name: "fsync", parameters: [INT], result: INT, nonblocking: true },
  readLater: { name: "read", parameters: [INT, BYTES, SIZE], result: "isize", nonblocking: true },
  realpath: { parameters: [BYTES, BYTES], result: ADDRESS },
  sigaction: { parameters: [INT, BYTES, BYTES], result: INT },
} as const satisfies Deno.ForeignLibraryInterface;

/** What a system call is given: a text and bytes by their address. */
export type Argument = number | bigint | string | Bytes;

/** Those that may make a file. */
const MAKES_FILES: ReadonlySet<SystemCall> = new Set<SystemCall>(["openat", "openat2", "mkdirat", "symlinkat"]);

/** Flags of open(2) that both machines share. */
export const O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NOCTTY = 0o400, O_NONBLOCK = 0o4000, O_CLOEXEC = 0o2000000;

/** The errno numbers that krun's rules name. */
export const EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, EAGAIN = 11, EACCES = 13, ENOTDIR = 20, EINVAL = 22;
export const ENFILE = 23, EMFILE = 24, ECANCELED = 125;

/** What prlimit(2) calls the limit of open files. */
export const RLIMIT_NOFILE = 7;

/** Instead of a folder's descriptor: krun's working directory (open(2)). */
export const AT_FDCWD = -100;

/** What prctl(2) and ioctl(2) are asked for. */
export const PR_GET_DUMPABLE = 3,
  PR_SET_DUMPABLE = 4,
  PR_CAP_AMBIENT = 47,
  PR_CAP_AMBIENT_CLEAR_ALL = 4,
  TIOCSPGRP = 0x5410;

/** Bytes that C code may read and write. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** What a signal does: the system's default, nothing, or the code at an address, as `void (int, siginfo_t *, void *)`. */
export type SignalAction = "default" | "ignore" | { readonly code: bigint };

let loaded: Libc | undefined;

/**
 * The C library, opened at the first call.
 *
 * Call it before the permission `ffi` is revoked, and before anything listens to signals: it notes with which signals
 * ignored krun was started.
 *
 * @throws {KrunError} `RuntimeTooOld` when there is no glibc.
 */
export function loadLibc(): Libc {
  return loaded ??= new Libc(open(FUNCTIONS));
}

function open<Functions extends Deno.ForeignLibraryInterface>(functions: Functions) {
  try {
    return Deno.dlopen("libc.so.6", functions).symbols;
  } catch (cause) {
    throw new KrunError(
      "RuntimeTooOld",
      'Cannot open library "libc.so.6": krun needs glibc 2.27 or later, and the permission ffi',
      "run krun where there is glibc",
      { cause },
    );
  }
}

/**
 * The C library. Calls are synchronous unless they say otherwise and belong to the thread that loaded it. A method that
 * "returns errno" returns 0 when it worked.
 */
export class Libc {
  /** The functions as they are, for the files beside this one. */
  readonly c: ReturnType<typeof open<typeof FUNCTIONS>>;
  /** Signals that were ignored when krun was started. A program inherits that; nohup(1) relies on it. */
  readonly ignoredAtStart: readonly number[];
  readonly #systemCall: bigint;
  /** Number, six arguments and answer of a system call. */
  readonly #frame = new BigInt64Array(FRAME_LENGTH);
  readonly #frameBytes = bytesOf(this.#frame);
  #fileGroup: number | undefined;
  /** A descriptor that is there to be closed when another one is needed. */
  #spare = -1;
  /** Keeps the memory of the last call's arguments from being collected while C code uses it. */
  #inUse: readonly Bytes[] = [];

  /** Use {@linkcode loadLibc}. */
  constructor(symbols: Libc["c"]) {
    this.c = symbols;
    this.#systemCall = this.executable(systemCallCode(Deno.build.arch));
    const ignored = BigInt("0x" + (/^SigIgn:\t(.+)$/m.exec(this.procText("/proc/self/status") ?? "")?.[1] ?? "0"));
    // SIGPIPE: Rust's runtime ignores it before anything of ours runs, so how krun was started cannot be told any more.
    // SIGCHLD: ignored, no program could wait for its children, and krun itself listens to it.
    // 32 and 33: glibc's own; its posix_spawn(3) leaves them ignored in every child.
    this.ignoredAtStart = Array.from({ length: 64 }, (_, index) => index + 1)
      .filter((signal) => (ignored >> BigInt(signal - 1) & 1n) === 1n && ![SIGPIPE, SIGCHLD, 32, 33].includes(signal));
  }

  /** Makes a system call. A text is given as its address, as are bytes, which the kernel may change. Returns the result, or -errno. */
  call(name: SystemCall, ...args: readonly Argument[]): number {
    if (this.#fileGroup === undefined || !MAKES_FILES.has(name)) return this.#make(name, args);
    const ofSockets = this.#make("setfsgid", [this.#fileGroup]);
    const answer = this.#make(name, args);
    this.#make("setfsgid", [ofSockets]);
    return answer;
  }

  #make(name: SystemCall, args: readonly Argument[]): number {
    this.#inUse = this.layOut(this.#frame, name, args);
    this.run(this.#systemCall, this.#frame);
    return Number(this.#frame[FRAME_ANSWER]);
  }

  /**
   * Writes a system call down in a frame of `machine_code.ts`. Returns the memory of its arguments, which is to be kept until the call
   * was made.
   */
  layOut(frame: BigInt64Array<ArrayBuffer>, name: SystemCall, args: readonly Argument[]): readonly Bytes[] {
    frame[0] = BigInt(systemCallNumber(name));
    const inUse: Bytes[] = [];
    for (let index = 0; index < 6; index++) {
      const argument = args[index] ?? 0;
      if (typeof argument === "number") frame[index + 1] = BigInt(argument);
      else if (typeof argument === "bigint") frame[index + 1] = argument;
      else {
        const bytes = typeof argument === "string" ? cString(argument) : bytesOf(argument);
        inUse.push(bytes);
        frame[index + 1] = this.addressOf(bytes);
      }
    }
    return inUse;
  }

  /** Runs machine code, by its address, on frames. */
  run(code: bigint, frames: BigInt64Array<ArrayBuffer>): void {
    const bytes = frames === this.#frame ? this.#frameBytes : bytesOf(frames);
    this.c.bsearch(bytes, bytes, 1n, 1n, code);
  }

  /** Makes a system call of which only the success matters. Returns errno, 0 when it worked. */
  attempt(name: SystemCall, ...args: readonly Argument[]): number {
    return Math.max(0, -this.call(name, ...args));
  }

  /**
   * From now on sockets of this thread, and of threads that it starts, are another group's, by which netfilter tells them
   * apart; files that krun makes, and programs that it starts as a Pod's, stay its own group's. Needs the right to change
   * groups. Returns errno.
   *
   * The kernel has one group for both (credentials(7)), so each call that makes a file changes it for the time of the call.
   * The real group goes along: with another one, what krun starts by Deno would run as a set-group-ID program does.
   */
  openSocketsAs(gid: number): number {
    const KEEP = -1;
    const dumpable = this.call("prctl", PR_GET_DUMPABLE);
    const [, own = 0] = this.groupIds();
    const errno = this.attempt("setresgid", gid, gid, KEEP);
    if (errno !== 0) return errno;
    // The kernel clears it with every change of a group (PR_SET_DUMPABLE(2const)).
    this.call("prctl", PR_SET_DUMPABLE, dumpable);
    this.#fileGroup ??= own;
    return 0;
  }

  /** Calls `body`, in which files are made in the group of whoever this thread is then, not in krun's own. It must be synchronous. */
  makingFilesAsItself<Result>(body: () => Result): Result {
    const own = this.#fileGroup;
    this.#fileGroup = undefined;
    try {
      return body();
    } finally {
      this.#fileGroup = own;
    }
  }

  /** The group that files and programs of krun's have, where its sockets have another; `undefined`: all have the same. */
  get fileGroup(): number | undefined {
    return this.#fileGroup;
  }

  /** Real, effective and saved group of this thread. */
  groupIds(): number[] {
    return this.#ids("getresgid");
  }

  /** Real, effective and saved user of this thread. */
  userIds(): number[] {
    return this.#ids("getresuid");
  }

  #ids(call: "getresuid" | "getresgid"): number[] {
    const ids = [new Uint32Array(1), new Uint32Array(1), new Uint32Array(1)];
    this.call(call, ...ids.map(bytesOf));
    return ids.map(([id = 0]) => id);
  }

  /** Where bytes lie in memory. They must be kept in a variable as long as the address is used; then they stay there. */
  addressOf(bytes: Bytes): bigint {
    // memcpy(3) of no bytes returns its first argument.
    return this.c.memcpy(bytes, bytes, 0n);
  }

  /** Sends a signal to a process, or to a process group by its negative id. Returns errno. */
  kill(pid: number, signal: number): number {
    return this.attempt("kill", pid, signal);
  }

  /** The process group of krun. */
  ownGroup(): number {
    return this.call("getpgid", 0);
  }

  /** Reaps a child, or sees that it stopped, without waiting: its wait status, `undefined` when there is nothing to tell. */
  wait(pid: number): number | undefined {
    const WNOHANG = 1, WUNTRACED = 2;
    const status = new Int32Array(1);
    return this.call("wait4", pid, bytesOf(status), WNOHANG | WUNTRACED) === pid ? status[0] : undefined;
  }

  /** True when a child has ended and was not reaped; it is left as it is. */
  hasZombie(): boolean {
    const P_ALL = 0, WNOHANG = 1, WEXITED = 4, WNOWAIT = 0x1000000;
    const info = new Int32Array(32);
    return this.call("waitid", P_ALL, 0, bytesOf(info), WEXITED | WNOHANG | WNOWAIT) === 0 && info[0] !== 0;
  }

  /** Makes krun the new parent of orphaned descendants, or not any more (PR_SET_CHILD_SUBREAPER). Returns errno. */
  setSubreaper(on: boolean): number {
    const PR_SET_CHILD_SUBREAPER = 36;
    return this.attempt("prctl", PR_SET_CHILD_SUBREAPER, on ? 1 : 0);
  }

  /** The soft and the hard limit of open files of this process. */
  openFilesLimit(): { readonly soft: bigint; readonly hard: bigint } {
    const limit = new BigUint64Array(2);
    this.call("prlimit64", 0, RLIMIT_NOFILE, 0, bytesOf(limit));
    return { soft: limit[0] ?? 0n, hard: limit[1] ?? 0n };
  }

  /** Sets the soft limit of open files of this process and of children started from now on. Returns errno. */
  setOpenFilesLimit(soft: bigint): number {
    const limit = new BigUint64Array([soft, this.openFilesLimit().hard]);
    return this.attempt("prlimit64", 0, RLIMIT_NOFILE, bytesOf(limit), 0);
  }

  /** Sets what a signal does. Returns a function that puts back what it did before. */
  setAction(signal: number, action: SignalAction): () => void {
    const SIG_DFL = 0, SIG_IGN = 1, SA_SIGINFO = 4n, SA_RESTART = 0x10000000n, FLAGS = 17;
    const struct = new BigUint64Array(19);
    struct[0] = BigInt(action === "default" ? SIG_DFL : action === "ignore" ? SIG_IGN : action.code);
    if (typeof action !== "string") struct[FLAGS] = SA_SIGINFO | SA_RESTART;
    const before = new BigUint64Array(19);
    this.c.sigaction(signal, bytesOf(struct), bytesOf(before));
    return () => void this.c.sigaction(signal, bytesOf(before), null);
  }

  /** Memory that holds machine code; it is never given back. Returns its address. */
  executable(code: Bytes): bigint {
    const PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_PRIVATE_ANONYMOUS = 0x22;
    const address = this.c.mmap(0n, BigInt(code.length), PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    if (address === -1n) throw internal("memory for code");
    this.c.copyIn(address, code, BigInt(code.length));
    if (this.c.mprotect(address, BigInt(code.length), PROT_READ | PROT_EXEC) !== 0) throw internal("executable memory");
    return address;
  }

  /** A pipe, both ends close-on-exec; writing to it never waits. It holds a mebibyte, where the system grants that to a user. */
  pipe(): { readonly readFd: number; readonly writeFd: number } {
    const F_SETFL = 4, F_SETPIPE_SZ = 1031, MEBIBYTE = 1 << 20;
    const fds = new Int32Array(2);
    const errno = this.attempt("pipe2", bytesOf(fds), O_CLOEXEC);
    if (errno !== 0) throw internal(`pipe (error number ${errno})`);
    const [readFd = -1, writeFd = -1] = fds;
    this.call("fcntl", writeFd, F_SETFL, O_NONBLOCK);
    this.call("fcntl", writeFd, F_SETPIPE_SZ, MEBIBYTE);
    return { readFd, writeFd };
  }

  /** The foreground process group of a terminal; -errno when it has none. */
  foregroundGroup(terminalFd: number): number {
    const TIOCGPGRP = 0x540f;
    const group = new Int32Array(1);
    const result = this.call("ioctl", terminalFd, TIOCGPGRP, bytesOf(group));
    return result < 0 ? result : group[0] ?? 0;
  }

  /** Makes a process group of krun's session the foreground one. SIGTTOU must be ignored, or krun may be stopped. */
  setForegroundGroup(terminalFd: number, group: number): void {
    this.call("ioctl", terminalFd, TIOCSPGRP, bytesOf(new Int32Array([group])));
  }

  /** Waits on a thread of Deno's pool until there is something to read; resolves to the number of bytes, -1 for a failure. */
  async readLater(fd: number, into: Bytes): Promise<number> {
    return Number(await this.c.readLater(fd, into, BigInt(into.length)));
  }

  /**
   * Whether this thread's effective user sees a path, may execute it (a folder: enter it), or may make files in it. Returns errno.
   * With a kernel before 5.8, where the real user is another one, access control lists are not looked at.
   */
  access(path: string, right: "exists" | "execute" | "write"): number {
    const AT_EACCESS = 0x200, ENOSYS = 38;
    const mode = { exists: 0, execute: X_OK, write: X_OK | W_OK }[right];
    const errno = this.attempt("faccessat2", AT_FDCWD, path, mode, AT_EACCESS);
    // EPERM is also what a filter says of a call that it does not know (seccomp(2)).
    if (errno !== ENOSYS && errno !== EPERM) return errno;
    const isOne = [this.userIds(), this.groupIds()].every(([real, effective]) => real === effective);
    return isOne ? this.attempt("faccessat", AT_FDCWD, path, mode) : accessByMode(this, path, mode);
  }

  /** True when the file system of a path is mounted with `noexec`. */
  isNoexec(path: string): boolean {
    const ST_NOEXEC = 8n, FLAGS = 10;
    const info = new BigUint64Array(15);
    return this.call("statfs", path, bytesOf(info)) === 0 && ((info[FLAGS] ?? 0n) & ST_NOEXEC) !== 0n;
  }

  /** Opens a file without following the rules of Deno's permissions. Returns the descriptor, close-on-exec, or -errno. */
  open(path: string, flags: number): number {
    return this.call("openat", AT_FDCWD, path, flags | O_CLOEXEC, 0);
  }

  /** A path with every link resolved, in `resolved` up to its NUL; that must hold 4096 bytes. Returns errno. */
  realPath(path: string, resolved: Bytes): number {
    const STATX_TYPE = 1, ENAMETOOLONG = 36;
    // Why it failed is asked of the kernel: what realpath(3) left in errno may be gone. Again when the path came just now.
    for (let tries = 0; tries < 2; tries++) {
      if (this.c.realpath(cString(path), resolved) !== 0n) return 0;
      const errno = this.attempt("statx", AT_FDCWD, path, 0, STATX_TYPE, new Uint8Array(256));
      if (errno !== 0) return errno;
    }
    return ENAMETOOLONG;
  }

  /** The text of a file in /proc, which Deno refuses to a program of limited permissions; `undefined` when it cannot be read. */
  procText(path: string): string | undefined {
    const decoder = new TextDecoder();
    let text = "";
    const complete = this.#readAll("read", path, (chunk) => text += decoder.decode(chunk, { stream: true }));
    return complete ? text : undefined;
  }

  /** The names in a folder of /proc, as {@linkcode Libc.procText}; empty when it cannot be read. */
  procNames(path: string): string[] {
    const names: string[] = [];
    const complete = this.#readAll("getdents64", path, (chunk) => names.push(...entryNames(chunk)));
    return complete ? names.filter((name) => name !== "." && name !== "..") : [];
  }

  /** The text of a link in /proc, as {@linkcode Libc.procText}; `undefined` when it cannot be read. */
  procLink(path: string): string | undefined {
    const text = new Uint8Array(4096);
    const length = this.call("readlinkat", AT_FDCWD, path, text, text.length);
    return length < 0 ? undefined : new TextDecoder().decode(text.subarray(0, length));
  }

  /** The ids of all processes that /proc shows. */
  pids(): number[] {
    return this.procNames("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  }

  /** Hands a file or folder over in pieces. Returns false when it could not be read to its end. */
  #readAll(call: "read" | "getdents64", path: string, take: (chunk: Bytes) => void): boolean {
    const fd = this.#openSurely(path);
    if (fd < 0) return false;
    const chunk = new Uint8Array(16 * 1024);
    let length: number;
    while ((length = this.call(call, fd, chunk, chunk.length)) > 0) take(chunk.subarray(0, length));
    this.call("close", fd);
    if (this.#spare < 0) this.#spare = this.open("/", O_RDONLY);
    return length === 0;
  }

  /** Opens for reading also where this process has no descriptor left: /proc would look as if nobody was alive. */
  #openSurely(path: string): number {
    const fd = this.open(path, O_RDONLY);
    if (fd !== -EMFILE || this.#spare < 0) return fd;
    this.call("close", this.#spare);
    this.#spare = -1;
    return this.open(path, O_RDONLY);
  }
}

function internal(what: string): KrunError {
  return new KrunError("Internal", `Cannot make "${what}": refused by the system`, "report it");
}

/** The bytes of a view, not copied. Asking for its buffer also takes a small array out of the heap, where it could be moved. */
export function bytesOf(view: ArrayBufferView<ArrayBuffer>): Bytes {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** A text as C has it: its bytes (`core/byte_text.ts`) and a NUL at the end. */
export function cString(text: string): Bytes {
  return bytesOf(bytesOfText(text + "\0"));
}

/** The names in what getdents64(2) filled. */
function* entryNames(entries: Bytes): Generator<string> {
  const LENGTH = 16, NAME = 19;
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  const decoder = new TextDecoder();
  for (let at = 0; at < entries.length; at += view.getUint16(at + LENGTH, true)) {
    yield decoder.decode(entries.subarray(at + NAME, entries.indexOf(0, at + NAME)));
  }
}
