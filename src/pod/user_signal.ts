/**
 * Signals that another user sends. In: whose, to which process group. Out: errno.
 *
 * The kernel judges by the sender's real id too (kill(2)), and krun's stays its own: so a child sends it, which is that user wholly.
 *
 * @module
 */
import { must, startChild } from "./child.ts";
import { bytesOf, type Libc } from "./libc.ts";
import { becomingCalls } from "./spawn.ts";
import { asUser, type User } from "./user.ts";

/** Sends a signal to a process group as a user. Returns errno: EPERM where that user may signal none of its processes. */
export function signalAsUser(
  libc: Libc,
  user: User,
  { group, signal }: { readonly group: number; readonly signal: number },
): number {
  const calls = [...becomingCalls(user), must("kill", -group, signal), must("exit_group", 0)];
  const nothing = {
    mask: bytesOf(new BigUint64Array(1)),
    path: "",
    argv: 0n,
    env: 0n,
    pid: bytesOf(new Int32Array(1)),
  };
  let started = 0;
  const errno = asUser(libc, user, () => void (started = startChild(libc, { calls, ...nothing })));
  if (started > 0) libc.call("wait4", started, 0, 0, 0);
  return errno || Math.max(0, -started);
}
