/**
 * Processes as a session's user sees them: /proc, read by krun as that user, for a mount with `hidepid=` shows others less than root
 * (proc_pid(5)). In: who that is. Out: process ids, and texts.
 *
 * @module
 */
import { FileFault } from "../core/user_files.ts";
import type { Libc } from "./libc.ts";
import { actingAs, type User } from "./user.ts";

/** What a user sees of /proc, and krun itself, which nothing hides from itself. For files that everybody may read, as `stat`. */
export interface UserProc {
  pids(): readonly number[];
  /** `undefined` for what cannot be read. */
  text(path: string): string | undefined;
}

/** To be made when krun's own ids have come to stay. Works after the permission `ffi` was revoked. */
export function userProc(libc: Libc, user: User): UserProc {
  const as = actingAs(libc, user);
  const attempt = <Result>(body: () => Result): Result | undefined => {
    try {
      return as(body);
    } catch (error) {
      if (!(error instanceof FileFault)) throw error;
      return undefined;
    }
  };
  return { pids: () => attempt(() => libc.pids()) ?? [], text: (path) => attempt(() => libc.procText(path)) };
}
