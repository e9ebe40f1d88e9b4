/**
 * Sockets as the program's user may have them, for the forwards of a session. In: that user. Out: connections and listeners.
 *
 * Unix sockets are system calls of krun that are made as that user, so that the kernel decides, and tells the far side who it is
 * (SO_PEERCRED). They are none of Deno's: that removes the file of one by its path when it is collected, as krun, and so whatever
 * the user has put there meanwhile; and it takes no path below /dev and /proc.
 *
 * The kernel looks a socket's path up as krun's thread, for which the links of /proc are krun's own (`user_path.ts`). So the path is resolved
 * before, and the kernel is given what is open then: for connect(2) the socket itself, in whose place nobody can put a link any more, for
 * bind(2), which follows none, its folder.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import { FileFault } from "../core/user_files.ts";
import type { UserConnection, UserListener, UserSockets } from "../core/user_sockets.ts";
import { DescriptorInput, DescriptorOutput } from "./descriptor_stream.ts";
import { type Bytes, bytesOf, EAGAIN, EINTR, EMFILE, ENFILE, type Libc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";
import { ERRNO, FileError, statAt } from "./libc_files.ts";
import { readable, stopWaiting } from "./readable.ts";
import { asUser, ownUser, sameUser, type User } from "./user.ts";
import { type Place, UserPaths } from "./user_path.ts";

/** Ports that only a privileged user may listen on; of a machine without the setting, what it was before there was one. */
const UNPRIVILEGED_FROM = { setting: "/proc/sys/net/ipv4/ip_unprivileged_port_start", otherwise: 1024 };

/** For its owner alone, as OpenSSH's StreamLocalBindMask has it. */
const SOCKET_MASK = 0o177;

/** The longest path of a socket, bytes (unix(7)). */
const LONGEST_PATH = 107;

/** What is open here, as a path. That is as long as this one at most, and leaves so much for the name of a socket in a folder, bytes. */
const OPEN_HERE = "/proc/self/fd/", LONGEST_NAME = LONGEST_PATH - `${OPEN_HERE}1048576/`.length;

const AF_UNIX = 1, SOCK_STREAM = 1, BACKLOG = 128;

/** How long a connection may wait for room at a socket that many connect to, milliseconds, and how often it is tried. */
const CONNECT = { timeoutMs: 30_000, everyMs: 20 };

/** How long nothing is accepted when no descriptor is left, milliseconds. */
const SHORTAGE_MS = 200;

/** Options of {@linkcode ProgramSockets}. */
export interface ProgramSocketsOptions {
  /** Whose sockets. */
  readonly user: User;
  /** Where a relative path begins; absolute. */
  readonly cwd: string;
  /** Whether openat2(2) is used. @default {where the kernel has it} */
  readonly atOnce?: boolean;
}

/** The sockets of one user. Unix sockets need no permission. */
export class ProgramSockets implements UserSockets {
  readonly #libc: Libc;
  readonly #user: User;
  readonly #paths: UserPaths;

  constructor(libc: Libc, { user, ...how }: ProgramSocketsOptions) {
    this.#libc = libc;
    this.#user = user;
    this.#paths = new UserPaths(libc, how);
  }

  async connectUnix(path: string): Promise<UserConnection> {
    checkPath(path);
    const fd = openSocket(this.#libc);
    const deadline = performance.now() + CONNECT.timeoutMs;
    try {
      for (;;) {
        const errno = this.#as(() => this.#connect(fd, path));
        if (errno === 0) return new SocketConnection(this.#libc, fd);
        // Its queue is full: connect(2) would wait, were the socket one that waits.
        if (errno === EAGAIN && performance.now() < deadline) await later(CONNECT.everyMs);
        else if (errno !== EINTR) throw new FileFault(errno);
      }
    } catch (cause) {
      throw this.#refused(fd, cause);
    }
  }

  listenUnix(path: string): UserListener {
    checkPath(path);
    const fd = openSocket(this.#libc);
    const before = Deno.umask(SOCKET_MASK);
    try {
      const made = this.#as(() => this.#paths.at(path, (place) => this.#bind(fd, place)));
      return new SocketListener(this.#libc, { fd, remove: () => this.#as(() => this.#remove(path, made)) });
    } catch (cause) {
      throw this.#refused(fd, cause);
    } finally {
      Deno.umask(before);
    }
  }

  mayListen(port: number): boolean {
    const { setting, otherwise } = UNPRIVILEGED_FROM;
    const from = Number(this.#libc.procText(setting) ?? otherwise);
    return port === 0 || port >= from || this.#user.uid === 0;
  }

  /** Whether the user may execute a file. */
  mayExecute(path: string): boolean {
    return this.#as(() => this.#libc.access(path, "execute") === 0 && Deno.statSync(path).isFile);
  }

  /** Returns errno. */
  #connect(fd: number, path: string): number {
    return this.#paths.with(path, { follow: true }, (found) => {
      this.#paths.refuseProc(found);
      // As connect(2) says of it.
      if (statAt(found, path, "")?.kind !== "socket") return ECONNREFUSED;
      const address = socketAddress(`${OPEN_HERE}${found}`);
      return this.#libc.attempt("connect", fd, address, address.length);
    });
  }

  /** Returns what tells the file from any that stands there later. */
  #bind(fd: number, { fd: folder, name }: Place): string | undefined {
    if (bytesOfText(name).length > LONGEST_NAME) throw new Error(`the name is longer than ${LONGEST_NAME} bytes`);
    const address = socketAddress(`${OPEN_HERE}${folder}/${name}`);
    this.#paths.call("bind", fd, address, address.length);
    this.#paths.call("listen", fd, BACKLOG);
    return statAt(folder, name, name)?.identity;
  }

  /** Somebody may have put something else there, or closed its folder. */
  #remove(path: string, made: string | undefined): void {
    try {
      this.#paths.at(path, ({ fd, name }) => {
        if (made !== undefined && statAt(fd, path, name)?.identity === made) this.#paths.call("unlinkat", fd, name, 0);
      });
    } catch (cause) {
      if (errnoOf(cause) === undefined) throw cause;
    }
  }

  #refused(fd: number, cause: unknown): Error {
    this.#libc.call("close", fd);
    const errno = errnoOf(cause);
    return errno === undefined ? cause as Error : new Error(words(errno));
  }

  #as<Result>(act: () => Result): Result {
    if (sameUser(ownUser(this.#libc), this.#user)) return act();
    let result: { readonly value: Result } | undefined;
    const errno = asUser(this.#libc, this.#user, () => void (result = { value: act() }));
    if (!result) throw new Error(`krun may not become user ${this.#user.uid} (error number ${errno})`);
    return result.value;
  }
}

function errnoOf(cause: unknown): number | undefined {
  return cause instanceof FileFault || cause instanceof FileError ? cause.errno : undefined;
}

class SocketConnection implements UserConnection {
  readonly input: DescriptorInput;
  readonly output: DescriptorOutput;
  readonly #libc: Libc;
  readonly #fd: number;
  #isClosed = false;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
    this.input = new DescriptorInput(libc, fd, { kind: "socket" });
    this.output = new DescriptorOutput(libc, fd, { kind: "socket" });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.input.close();
    this.output.close();
    this.#libc.call("close", this.#fd);
  }
}

class SocketListener implements UserListener {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #remove: () => void;
  #isClosed = false;

  constructor(libc: Libc, { fd, remove }: { readonly fd: number; readonly remove: () => void }) {
    this.#libc = libc;
    this.#fd = fd;
    this.#remove = remove;
  }

  async accept(): Promise<UserConnection | undefined> {
    while (!this.#isClosed) {
      const fd = this.#libc.call("accept4", this.#fd, 0, 0, O_NONBLOCK | O_CLOEXEC);
      if (fd >= 0) return new SocketConnection(this.#libc, fd);
      if (fd === -EAGAIN) await readable(this.#fd);
      else if (fd === -EMFILE || fd === -ENFILE) await later(SHORTAGE_MS);
    }
    return undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    stopWaiting(this.#fd);
    this.#libc.call("close", this.#fd);
    this.#remove();
  }
}

function openSocket(libc: Libc): number {
  // SOCK_NONBLOCK and SOCK_CLOEXEC are O_NONBLOCK and O_CLOEXEC (socket(2)).
  const fd = libc.call("socket", AF_UNIX, SOCK_STREAM | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) throw new Error(words(-fd));
  return fd;
}

function checkPath(path: string): void {
  if (path === "" || path.includes("\0")) throw new Error("that is no path of a socket");
  if (bytesOfText(path).length > LONGEST_PATH) throw new Error(`the path is longer than ${LONGEST_PATH} bytes`);
}

/** `struct sockaddr_un`. */
function socketAddress(path: string): Bytes {
  const name = bytesOfText(path);
  const address = new Uint8Array(2 + name.length + 1);
  bytesOf(new Uint16Array([AF_UNIX])).forEach((byte, at) => address[at] = byte);
  address.set(name, 2);
  return address;
}

const EADDRINUSE = 98, ECONNREFUSED = 111;

function words(errno: number): string {
  switch (errno) {
    case ERRNO.ENOENT:
      return "there is no such file";
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return "permission denied";
    case EADDRINUSE:
      return "there is a file already: remove it first";
    case ECONNREFUSED:
      return "nobody listens there";
    case EMFILE:
    case ENFILE:
      return "no file descriptor is left";
  }
  return `error number ${errno}`;
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
