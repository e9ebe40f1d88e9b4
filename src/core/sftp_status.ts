/**
 * How a request of SFTP has ended. In: the number of an error. Out: a code of the protocol, and words. Rules:
 * draft-ietf-secsh-filexfer-02, section 7; which code for which error: OpenSSH's sftp-server.
 *
 * @module
 */

/** A code of the protocol, and words for a person. */
export interface SftpStatus {
  readonly code: number;
  readonly words: string;
}

/** SSH_FX_*. */
const OK = 0, EOF = 1, NO_SUCH_FILE = 2, PERMISSION_DENIED = 3, FAILURE = 4, BAD_MESSAGE = 5, OP_UNSUPPORTED = 8;

/** It was done. */
export const DONE: SftpStatus = { code: OK, words: "Success" };
/** There is nothing more. */
export const AT_END: SftpStatus = { code: EOF, words: "End of file" };
/** The handle is none, or not of that kind. */
export const NO_HANDLE: SftpStatus = { code: FAILURE, words: "This handle is not open" };
/** {@linkcode SftpStatus} of what the server has not. */
export const NOT_THERE: SftpStatus = { code: OP_UNSUPPORTED, words: "Operation unsupported" };

/** Any failure, told in words. */
export function failure(words: string): SftpStatus {
  return { code: FAILURE, words };
}

/** A request that says nothing. */
export function badMessage(why: string): SftpStatus {
  return { code: BAD_MESSAGE, words: `Bad message: ${why}` };
}

/** Error number of Linux → what a person reads, and the code if it is not FAILURE (asm-generic/errno.h). */
const FAULTS: ReadonlyMap<number, readonly [words: string, code?: number]> = new Map([
  [1, ["Operation not permitted", PERMISSION_DENIED]],
  [2, ["No such file or directory", NO_SUCH_FILE]],
  [5, ["Input/output error"]],
  [6, ["No such device, or nobody at the other end of a pipe"]],
  [9, ["This handle is not open for that"]],
  [11, ["It would have to wait"]],
  [12, ["Out of memory"]],
  [13, ["Permission denied", PERMISSION_DENIED]],
  [16, ["It is in use"]],
  [17, ["Something else has that name"]],
  [18, ["That lies on another file system"]],
  [20, ["A part of the path is not a directory", NO_SUCH_FILE]],
  [21, ["It is a directory"]],
  [22, ["Invalid argument"]],
  [23, ["Too many open files on this machine"]],
  [24, ["Too many open files"]],
  [26, ["It is a program that runs"]],
  [27, ["The file is too large"]],
  [28, ["No space left on device"]],
  [30, ["The file system is read-only", PERMISSION_DENIED]],
  [31, ["It has too many links"]],
  [36, ["The name is too long"]],
  [38, ["The file system cannot do that", OP_UNSUPPORTED]],
  [39, ["The directory is not empty"]],
  [40, ["Links lead in a circle", NO_SUCH_FILE]],
  [95, ["The file system cannot do that", OP_UNSUPPORTED]],
  [116, ["The file is gone", NO_SUCH_FILE]],
  [122, ["The disk quota is used up"]],
]);

/** How a request has ended whose system call failed. */
export function statusOfErrno(errno: number): SftpStatus {
  const [words = `Error number ${errno}`, code = FAILURE] = FAULTS.get(errno) ?? [];
  return { code, words };
}
