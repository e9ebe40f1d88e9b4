/**
 * What a failed file call means to a person. In: a {@linkcode FileError}. Out: a `KrunError`.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { ERRNO, FileError, realPath } from "./libc_files.ts";
import { memoryFileSystem } from "./memory_folder.ts";

const ELSEWHERE = "or mount elsewhere";
const WRITABLE = "mount below a folder that this user may write, or set MESH_BASE_DIR to one";

/** What was found, and what to do about it. */
const FAULTS: ReadonlyMap<number, readonly [state: string, hint: string]> = new Map([
  [ERRNO.EACCES, ["permission is denied", WRITABLE]],
  [ERRNO.EPERM, ["the operation is not permitted", `take the attributes i and a from it (chattr -i -a), ${ELSEWHERE}`]],
  [ERRNO.EROFS, ["the file system is read-only", "mount below a writable folder, or set MESH_BASE_DIR to one"]],
  [ERRNO.ENOSPC, ["no space is left", "make room there, or set MESH_BASE_DIR to a larger file system"]],
  [ERRNO.EDQUOT, [
    "the disk quota is used up",
    "make room there, raise the quota, or set MESH_BASE_DIR to another file system",
  ]],
  [ERRNO.ENOENT, ["it does not exist", "start krun again, and leave its folders alone while it runs"]],
  [ERRNO.ENOTDIR, ["a folder on its way is something else", `move that away, ${ELSEWHERE}`]],
  [ERRNO.ELOOP, ["a link stands there", `remove the link, ${ELSEWHERE}`]],
  [ERRNO.EBUSY, ["it is in use as a mount point", `unmount it, ${ELSEWHERE}`]],
  [ERRNO.EEXIST, ["something else stands there", `move it away, ${ELSEWHERE}`]],
  [ERRNO.ENAMETOOLONG, ["its name is too long", "use shorter names"]],
  [ERRNO.EIO, ["the device does not read or write", "check the disk and the kernel's log"]],
  [ERRNO.EMFILE, ["too many files are open", "raise the limit of open files (ulimit -n)"]],
]);

/** For calls whose `EPERM` has another cause than an attribute of the folder. */
const NOT_PERMITTED: Readonly<Record<string, string>> = {
  chown: "start krun as root, or remove KRUN_RUN_AS, runAsUser and fsGroup",
  symlink: "mount on a file system that has symlinks",
};

/**
 * A {@linkcode FileError} as `NoSpace` or `TargetUnwritable`; anything else as it is. `doing` completes "Cannot ...".
 */
export function fileFault(error: unknown, doing: string): unknown {
  if (!(error instanceof FileError)) return error;
  const full = error.errno === ERRNO.ENOSPC || error.errno === ERRNO.EDQUOT;
  const [state, hint] = faultOf(error);
  const message = `Cannot ${doing}: ${error.call} "${error.path}": ${state}`;
  return new KrunError(full ? "NoSpace" : "TargetUnwritable", message, hint, { cause: error });
}

function faultOf({ errno, code, call, path }: FileError): readonly [state: string, hint: string] {
  const [state, hint] = FAULTS.get(errno) ?? [code, WRITABLE];
  // For what lies below it the same number would mean that it is on the way.
  if (errno === ERRNO.ENOTDIR && call === "open" && realPath(path) !== undefined) {
    return ["it is no folder", "move it away, or name a folder in its place (MESH_BASE_DIR, or the mount's path)"];
  }
  const memory = memoryFileSystem(path);
  if (errno === ERRNO.ENOSPC && memory !== undefined) {
    return [
      `${state} in memory file system "${memory}"`,
      `give "${memory}" more room (docker run --shm-size, or mount -o remount,size=), or remove files there`,
    ];
  }
  return [state, errno === ERRNO.EPERM ? NOT_PERMITTED[call] ?? hint : hint];
}

/** Runs `action`; a {@linkcode FileError} leaves as {@linkcode fileFault} has it. */
export function explained<Result>(doing: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw fileFault(error, doing);
  }
}
