/**
 * Doing something as another user. In: user, group and the whole list of groups. Out: a thread of krun that is that user,
 * for an instant or for good.
 *
 * Only the calling thread changes, by raw system calls: glibc's own functions would change every thread (nptl(7)).
 *
 * Whoever has krun's real or saved user may signal krun (kill(2)), and a killed thread is a killed krun. So krun is another user by
 * its effective ids alone, which is what files and sockets are judged by (credentials(7)); a program that is started takes over the
 * others itself (`spawn.ts`).
 *
 * @module
 */
import { FileFault } from "../core/user_files.ts";
import {
  bytesOf,
  type Libc,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_GET_DUMPABLE,
  PR_SET_DUMPABLE,
} from "./libc.ts";

/** A user as the kernel knows it. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, the whole list. */
  readonly groups: readonly number[];
}

/** Instead of an id that stays what it is (setresuid(2)). */
const KEEP = -1;

/** Who krun is: effective ids, the group being that of its files and programs, and supplementary groups. */
export function ownUser(libc: Libc): User {
  const groups = new Uint32Array(libc.call("getgroups", 0, 0));
  libc.call("getgroups", groups.length, bytesOf(groups));
  const [[, uid = 0], [, gid = 0]] = [libc.userIds(), libc.groupIds()];
  return { uid, gid: libc.fileGroup ?? gid, groups: [...groups] };
}

/** True when two users have the same rights: equal ids, and equal sets of groups. */
export function sameUser(one: User, other: User): boolean {
  const groups = (user: User) => [...new Set([...user.groups, user.gid])].sort((a, b) => a - b).join();
  return one.uid === other.uid && one.gid === other.gid && groups(one) === groups(other);
}

/** LINUX_CAPABILITY_VERSION_3 and CAP_KILL of linux/capability.h. */
const CAPABILITY_VERSION = 0x2008_0522, CAP_KILL = 5, EPERM = 1;

/** What this thread may do as root or by a grant: effective, permitted and inheritable capabilities, twice 32 bits, as capset(2) takes them. */
function capabilities(libc: Libc): Uint32Array<ArrayBuffer> {
  const sets = new Uint32Array(6);
  libc.call("capget", bytesOf(new Uint32Array([CAPABILITY_VERSION, 0])), bytesOf(sets));
  return sets;
}

/** Whether krun may signal what runs as a user (kill(2)). A program that it cannot end it does not start. */
function mayEnd(libc: Libc, { uid }: User): boolean {
  if (libc.userIds().slice(0, 2).includes(uid)) return true;
  return (capabilities(libc)[0]! >> CAP_KILL & 1) === 1;
}

/**
 * Calls `body` while this thread acts as another user: effective ids, the whole list of groups, no capabilities but those of root.
 * What `body` makes is that user's. It must be synchronous.
 *
 * Returns errno; when it is not 0, `body` was not called; EPERM also where krun could not end such a program. Throws what `body` throws; krun is itself again in any case.
 */
export function asUser(libc: Libc, user: User, body: () => void): number {
  return userBracket(libc, user)(body);
}

/**
 * As {@linkcode asUser}, for many bodies: who krun itself is and whether it may is looked up once, which halves the cost. To be
 * made anew after krun's own ids have changed.
 */
export function userBracket(libc: Libc, user: User): (body: () => void) => number {
  if (!mayEnd(libc, user)) return () => EPERM;
  const { groups } = ownUser(libc);
  const [uids, gids] = [libc.userIds(), libc.groupIds()];
  const own = { uid: uids[1] ?? 0, gid: gids[1] ?? 0 };
  const dumpable = libc.call("prctl", PR_GET_DUMPABLE);
  const granted = grantedCapabilities(libc, uids);
  return (body) => {
    try {
      const errno = setGroups(libc, user.groups) ||
        libc.attempt("setresgid", KEEP, user.gid, KEEP) ||
        libc.attempt("setresuid", KEEP, user.uid, KEEP);
      if (errno !== 0) return errno;
      granted?.set("none");
      // Not in the group of krun's own files: this thread has the user's now.
      libc.makingFilesAsItself(body);
      return 0;
    } finally {
      granted?.set("all");
      // The user first: it brings back the right to change the groups.
      libc.call("setresuid", KEEP, own.uid, KEEP);
      libc.call("setresuid", ...uids);
      libc.call("setresgid", ...gids);
      setGroups(libc, groups);
      // The kernel clears it with every change of user (PR_SET_DUMPABLE(2const)); krun's files in /proc would belong to root.
      libc.call("prctl", PR_SET_DUMPABLE, dumpable);
    }
  };
}

/**
 * What calls bodies as another user, as {@linkcode userBracket}, or at once where krun is that user itself. It throws
 * {@linkcode FileFault} where krun may not.
 */
export function actingAs(libc: Libc, user: User): <Result>(body: () => Result) => Result {
  if (sameUser(ownUser(libc), user)) return (body) => body();
  const enter = userBracket(libc, user);
  return <Result>(body: () => Result) => {
    const results: Result[] = [];
    const errno = enter(() => void results.push(body()));
    if (errno !== 0) throw new FileFault(errno);
    return results[0]!;
  };
}

/**
 * Those that the kernel leaves when the user changes: it takes away only root's own (capabilities(7)), and not even these where
 * krun was started so.
 */
function grantedCapabilities(libc: Libc, [, uid]: readonly number[]) {
  const PR_GET_SECUREBITS = 27, SECBIT_NO_SETUID_FIXUP = 4;
  const all = capabilities(libc);
  const areTaken = uid === 0 && (libc.call("prctl", PR_GET_SECUREBITS) & SECBIT_NO_SETUID_FIXUP) === 0;
  if (areTaken || (all[0] === 0 && all[3] === 0)) return undefined;
  const none = all.slice();
  none[0] = none[3] = 0;
  const header = bytesOf(new Uint32Array([CAPABILITY_VERSION, 0]));
  return { set: (which: "all" | "none") => void libc.call("capset", header, bytesOf(which === "all" ? all : none)) };
}

/** Makes this thread another user for good, for a program that is about to replace krun. Returns errno. */
export function becomeUser(libc: Libc, user: User): number {
  libc.call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  return setGroups(libc, user.groups) ||
    libc.attempt("setresgid", user.gid, user.gid, user.gid) ||
    libc.attempt("setresuid", user.uid, user.uid, user.uid);
}

/** Returns errno. */
function setGroups(libc: Libc, groups: readonly number[]): number {
  return libc.attempt("setgroups", groups.length, bytesOf(new Uint32Array(groups)));
}
