/**
 * Whether the effective user may use a file, for kernels that tell it of the real user only. In: a path. Out: errno.
 *
 * @module
 */
import { AT_FDCWD, type Libc } from "./libc.ts";

/** Rights of access(2), as bits: to execute (a folder: to enter), to write. */
export const X_OK = 1, W_OK = 2;

const EACCES = 13;

/** What statx(2) is asked for: type, mode, user and group. */
const STATX_WANTED = 0xf;

const S_IFMT = 0o170000, S_IFDIR = 0o040000;

/**
 * What faccessat2(2) says with AT_EACCESS, from the owner and the mode of a file: access control lists are not looked at, and a
 * file system that cannot be written is not seen. The way to the file is judged by the kernel. Returns errno.
 */
export function accessByMode(libc: Libc, path: string, mode: number): number {
  const raw = new Uint8Array(256);
  const errno = libc.attempt("statx", AT_FDCWD, path, 0, STATX_WANTED, raw);
  if (errno !== 0 || mode === 0) return errno;
  const view = new DataView(raw.buffer);
  const [owner, group, bits] = [view.getUint32(20, true), view.getUint32(24, true), view.getUint16(28, true)];
  const isFolder = (bits & S_IFMT) === S_IFDIR;
  if ((mode & X_OK) !== 0 && !isFolder && libc.isNoexec(path)) return EACCES;
  const [[, uid], [, gid]] = [libc.userIds(), libc.groupIds()];
  // Root may do anything but execute what nobody may.
  if (uid === 0) return (mode & X_OK) === 0 || isFolder || (bits & 0o111) !== 0 ? 0 : EACCES;
  const isOfGroup = group === gid || groupsOf(libc).includes(group);
  const shift = owner === uid ? 6 : isOfGroup ? 3 : 0;
  return (bits >> shift & mode) === mode ? 0 : EACCES;
}

function groupsOf(libc: Libc): number[] {
  const groups = new Uint32Array(libc.call("getgroups", 0, 0));
  libc.call("getgroups", groups.length, new Uint8Array(groups.buffer));
  return [...groups];
}
