/**
 * The status krun exits with. In: how the program ended. Out: a number from 0 to 255, as a shell would report it.
 *
 * @module
 */

/** How a process ended, or why it never began. */
export type ChildEnd =
  /** It called `exit`; `code` is 0 to 255. */
  | { readonly kind: "exited"; readonly code: number }
  /** A signal ended it; `signal` is the signal's number. */
  | { readonly kind: "signaled"; readonly signal: number }
  /** The file exists but could not be executed. */
  | { readonly kind: "not-executable" }
  /** There is no such file. */
  | { readonly kind: "not-found" };

/**
 * The status krun exits with: what a shell would have reported for the same end.
 *
 * The program's own status is never changed. 128 + signal, 126 and 127 are POSIX.1-2017, Shell Command Language, 2.8.2.
 *
 * @example
 * ```ts
 * import { exitStatus } from "./exit_status.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(exitStatus({ kind: "signaled", signal: 15 }), 143);
 * ```
 */
export function exitStatus(end: ChildEnd): number {
  switch (end.kind) {
    case "exited":
      return end.code;
    case "signaled":
      return 128 + end.signal;
    case "not-executable":
      return 126;
    case "not-found":
      return 127;
  }
}
