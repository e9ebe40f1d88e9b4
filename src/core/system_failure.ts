/**
 * Why a call to the machine failed, in words for a person. In: an error with an errno, of Deno or of libc. Out: one clause.
 *
 * @module
 */

/** By the name of the errno. */
const STATES: ReadonlyMap<unknown, string> = new Map([
  ["ENOENT", "it does not exist"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["ENOTDIR", "a part of its path is no folder"],
  ["EISDIR", "it is a folder"],
  ["ELOOP", "its links lead in a circle"],
  ["ENOSPC", "no space is left"],
  ["EROFS", "the file system is read-only"],
  ["EADDRINUSE", "another program has that address"],
  ["EADDRNOTAVAIL", "this machine has no such address"],
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "the connection was cut off"],
  ["ETIMEDOUT", "the connection timed out"],
  ["EHOSTUNREACH", "there is no way to that host"],
  ["ENETUNREACH", "there is no way to that network"],
  ["EPIPE", "the connection was cut off"],
  ["ENOTFOUND", "that name has no address"],
]);

/** The state found; for an errno without words of krun's own the system's, without its number, call and path. */
export function systemFailure(error: Error): string {
  // Deno's words end in the errno and the call, which name nothing that the message around them does not.
  return STATES.get((error as { code?: unknown }).code) ?? error.message.replace(/ \(os error \d+\)(: .*)?$/s, "");
}
