/**
 * How many of krun's file descriptors its callers may have. In: the text of /proc/self/limits. Out: a number.
 *
 * @module
 */

/** What a process has where nobody says anything else (getrlimit(2), RLIMIT_NOFILE). */
const USUAL_SOFT_LIMIT = 1024;

/** More than any front end opens to one instance. */
const MOST = 8192;

/**
 * Half of the soft limit: the other half is krun's own, for its files, its programs' pipes and its API server, which must not
 * suffer for whoever knocks.
 */
export function callersDescriptors(limits: string | undefined): number {
  const [, soft] = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits ?? "") ?? [];
  const limit = soft === undefined ? USUAL_SOFT_LIMIT : soft === "unlimited" ? 2 * MOST : Number(soft);
  return Math.min(Math.floor(limit / 2), MOST);
}
