/**
 * A name that a process holds in its network namespace as long as it lives. In: a name. Out: the hold.
 *
 * It is an abstract Unix socket (unix(7)): it lies in no folder, whoever shares the network namespace sees it in
 * /proc/self/net/unix, whatever PID or mount namespace they are in, and the kernel lets go of it when the process has ended,
 * however it did.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { bytesOf, loadLibc, O_CLOEXEC } from "./libc.ts";

const AF_UNIX = 1, SOCK_STREAM = 1;

/**
 * Takes a name until it is disposed; nobody can connect to it.
 *
 * @throws {KrunError} `InterceptionUnavailable` when the system refuses
 */
export function claimNetworkName(name: string): Disposable {
  const libc = loadLibc();
  const fd = libc.call("socket", AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0);
  // sockaddr_un: the family, then a NUL and the name, without an end.
  const path = new TextEncoder().encode(`\0${name}`);
  const address = new Uint8Array(2 + path.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(path, 2);
  const errno = fd < 0 ? -fd : libc.attempt("bind", fd, bytesOf(address), address.length);
  const close = () => void libc.call("close", fd);
  if (errno === 0) return { [Symbol.dispose]: close };
  if (fd >= 0) close();
  throw new KrunError(
    "InterceptionUnavailable",
    `Cannot intercept traffic: the system refuses the socket by which another krun sees that this one lives (error number ${errno})`,
    "allow Unix sockets, or choose a mode without interception",
  );
}
