/**
 * Sockets as the program's user may have them, for the forwards of a session. In: that user. Out: connections and listeners.
 *
 * Unix sockets are system calls of krun that are made as that user, so that the kernel decides, and tells the far side who it is
 * (SO_PEERCRED). They are none of Deno's: that removes the file of one by its path when it is collected, as krun, and so whatever
 * the user has put there meanwhile; and it takes no path below /dev and /proc.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import type { UserConnection, UserListener, UserSockets } from "../core/user_sockets.ts";
import { DescriptorInput, DescriptorOutput } from "./descriptor_stream.ts";
import {
  AT_FDCWD,
  type Bytes,
  bytesOf,
  EAGAIN,
  EINTR,
  EMFILE,
  ENFILE,
  type Libc,
  O_CLOEXEC,
  O_NONBLOCK,
} from "./libc.ts";
import { ERRNO, statAt } from "./libc_files.ts";
import { readable, stopWaiting } from "./readable.ts";
import { asUser, ownUser, sameUser, type User } from "./user.ts";

/** Ports that only a privileged user may listen on; of a machine without the setting, what it was before there was one. */
const UNPRIVILEGED_FROM = { setting: "/proc/sys/net/ipv4/ip_unprivileged_port_start", otherwise: 1024 };

/** For its owner alone, as OpenSSH's StreamLocalBindMask has it. */
const SOCKET_MASK = 0o177;

/** The longest path of a socket, bytes (unix(7)). */
const LONGEST_PATH = 107;

const AF_UNIX = 1, SOCK_STREAM = 1, BACKLOG = 128;

/** How long a connection may wait for room at a socket that many connect to, milliseconds, and how often it is tried. */
const CONNECT = { timeoutMs: 30_000, everyMs: 20 };

/** How long nothing is accepted when no descriptor is left, milliseconds. */
const SHORTAGE_MS = 200;

/** The sockets of one user. Unix sockets need no permission. */
export class ProgramSockets implements UserSockets {
  readonly #libc: Libc;
  readonly #user: User;

  constructor(libc: Libc, user: User) {
    this.#libc = libc;
    this.#user = user;
  }

  async connectUnix(path: string): Promise<UserConnection> {
    const address = socketAddress(path);
    const fd = openSocket(this.#libc);
    const deadline = performance.now() + CONNECT.timeoutMs;
    for (;;) {
      const errno = this.#as(() => this.#libc.attempt("connect", fd, address, address.length));
      if (errno === 0) return new SocketConnection(this.#libc, fd);
      // Its queue is full: connect(2) would wait, were the socket one that waits.
      if (errno === EAGAIN && performance.now() < deadline) await later(CONNECT.everyMs);
      else if (errno !== EINTR) throw this.#refused(fd, errno);
    }
  }

  listenUnix(path: string): UserListener {
    const address = socketAddress(path);
    const fd = openSocket(this.#libc);
    const before = Deno.umask(SOCKET_MASK);
    try {
      const errno = this.#as(() =>
        this.#libc.attempt("bind", fd, address, address.length) || this.#libc.attempt("listen", fd, BACKLOG)
      );
      if (errno !== 0) throw this.#refused(fd, errno);
    } finally {
      Deno.umask(before);
    }
    const made = this.#as(() => identityOf(path));
    const remove = () =>
      this.#as(() => {
        // Somebody may have put something else there.
        if (made !== undefined && identityOf(path) === made) this.#libc.call("unlinkat", AT_FDCWD, path, 0);
      });
    return new SocketListener(this.#libc, { fd, remove });
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

  #refused(fd: number, errno: number): Error {
    this.#libc.call("close", fd);
    return new Error(words(errno));
  }

  #as<Result>(act: () => Result): Result {
    if (sameUser(ownUser(this.#libc), this.#user)) return act();
    let result: { readonly value: Result } | undefined;
    const errno = asUser(this.#libc, this.#user, () => void (result = { value: act() }));
    if (!result) throw new Error(`krun may not become user ${this.#user.uid} (error number ${errno})`);
    return result.value;
  }
}

function identityOf(path: string): string | undefined {
  try {
    return statAt(AT_FDCWD, path, path)?.identity;
  } catch {
    return undefined; // Its folder cannot be entered any more.
  }
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

/** `struct sockaddr_un`. */
function socketAddress(path: string): Bytes {
  const name = bytesOfText(path);
  if (name.length === 0 || name.includes(0)) throw new Error("that is no path of a socket");
  if (name.length > LONGEST_PATH) throw new Error(`the path is longer than ${LONGEST_PATH} bytes`);
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
