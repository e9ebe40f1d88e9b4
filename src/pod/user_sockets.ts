/**
 * Sockets as the program's user may have them, for the forwards of a session. In: that user. Out: connections and listeners.
 *
 * Deno makes a Unix socket's system calls, connect(2) too, before the call returns, on the thread that calls: while that is the
 * user, the kernel decides as for the user (tests/live/ssh_forwards_test.ts holds it to that, on each version of Deno).
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import { asUser, ownUser, sameUser, type User } from "./user.ts";

/** Ports that only a privileged user may listen on; of a machine without the setting, what it was before there was one. */
const UNPRIVILEGED_FROM = { setting: "/proc/sys/net/ipv4/ip_unprivileged_port_start", otherwise: 1024 };

/** For its owner alone, as OpenSSH's StreamLocalBindMask has it. */
const SOCKET_MASK = 0o177;

/** The sockets of one user. Needs the permissions net, and read and write for the paths. */
export class ProgramSockets {
  readonly #libc: Libc;
  readonly #user: User;

  constructor(libc: Libc, user: User) {
    this.#libc = libc;
    this.#user = user;
  }

  /** Connects to a Unix socket. Rejects where there is none, or the user may not. */
  async connectUnix(path: string): Promise<Deno.Conn> {
    return await this.#as(() => Deno.connect({ transport: "unix", path }));
  }

  /** Listens on a Unix socket that only the user may connect to; closing it removes it. Throws where the user may not make it. */
  listenUnix(path: string): Deno.UnixListener {
    return this.#as(() => {
      const before = Deno.umask(SOCKET_MASK);
      try {
        return Deno.listen({ transport: "unix", path });
      } finally {
        Deno.umask(before);
      }
    });
  }

  /** Whether the user may listen on a TCP port; 0 is any free one. */
  mayListen(port: number): boolean {
    const { setting, otherwise } = UNPRIVILEGED_FROM;
    const from = Number(this.#libc.procText(setting) ?? otherwise);
    return port === 0 || port >= from || this.#user.uid === 0;
  }

  /** Whether the user may execute a file. */
  mayExecute(path: string): boolean {
    return this.#as(() => this.#libc.access(path, "execute") === 0 && Deno.statSync(path).isFile);
  }

  #as<Result>(act: () => Result): Result {
    if (sameUser(ownUser(this.#libc), this.#user)) return act();
    let result: { readonly value: Result } | undefined;
    const errno = asUser(this.#libc, this.#user, () => void (result = { value: act() }));
    if (!result) throw new Error(`krun may not become user ${this.#user.uid} (error number ${errno})`);
    return result.value;
  }
}
