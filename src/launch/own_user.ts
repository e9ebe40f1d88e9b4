/**
 * Who krun is.
 *
 * @module
 */
import type { RunAs } from "../core/run_as.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser as userOf } from "../pod/user.ts";

/** Effective user, group and the whole list of supplementary groups of this process. Needs ffi permission, once. */
export function ownUser(): RunAs {
  return userOf(loadLibc());
}
