/**
 * Files as the program's user sees them. One implementation (`pod/user_files.ts`): system calls of krun that are made as that user.
 *
 * @module
 */

/** What the kernel says of a file (stat(2)). */
export interface FileStat {
  /** Type and permissions, as `st_mode`. */
  readonly mode: number;
  readonly sizeBytes: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Seconds since the epoch. */
  readonly accessedSeconds: number;
  /** Seconds since the epoch. */
  readonly modifiedSeconds: number;
}

/** What is to be changed of a file; what is unset stays. */
export interface FileChange {
  readonly sizeBytes?: number;
  /** Both or none. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Permission bits, at most `0o7777`. */
  readonly mode?: number;
  /** Seconds since the epoch. */
  readonly times?: { readonly accessedSeconds: number; readonly modifiedSeconds: number };
}

/** A file system, as statvfs(3) tells of it. */
export interface FileSystemStat {
  readonly blockSize: number;
  readonly fragmentSize: number;
  readonly blocks: bigint;
  readonly freeBlocks: bigint;
  readonly availableBlocks: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
  readonly fileSystemId: bigint;
  /** As `f_flag`. */
  readonly flags: number;
  readonly longestName: number;
}

/** A system call that failed. */
export class FileFault extends Error {
  override readonly name = "FileFault";
  /** Its error number. */
  readonly errno: number;

  constructor(errno: number) {
    super(`error number ${errno}`);
    this.errno = errno;
  }
}

/** A file or folder that is open. */
export interface OpenFile {
  /** Fills `into` from an offset of a file; returns how many bytes, 0 at its end. */
  read(into: Uint8Array<ArrayBuffer>, offset: number): number;
  /** Writes all of the bytes at an offset; at the end of a file that was opened to be appended to. */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): void;
  stat(): FileStat;
  change(change: FileChange): void;
  fileSystem(): FileSystemStat;
  /** Resolves when the content is on the disk (fsync(2)). The only call that waits, on a thread of its own. */
  sync(): Promise<void>;
  close(): void;
}

/** What is in a folder. */
export interface FolderEntry {
  /** A text of `core/byte_text.ts`. */
  readonly name: string;
  /** Of a link itself; unset where the user may know the name alone. */
  readonly stat?: FileStat;
}

/** A folder that is open. */
export interface OpenFolder {
  /** Some more of what is in it, `.` and `..` too; empty at the end. */
  entries(): FolderEntry[];
  close(): void;
}

/** How a file is to be opened. */
export interface FileOpening {
  readonly read?: boolean;
  readonly write?: boolean;
  readonly append?: boolean;
  readonly create?: boolean;
  /** With `create`: it must not be there. */
  readonly exclusive?: boolean;
  readonly truncate?: boolean;
  /** Of a file that is made, before the umask. @default {0o666} */
  readonly mode?: number;
}

/**
 * The calls. Paths are texts of `core/byte_text.ts`; a relative one begins at the session's working directory.
 *
 * Files, folders and the devices null, zero, full, random and urandom are opened, nothing else: a named pipe could wait. Neither is
 * what lies on a proc file system, nor does a path go through a link of a process (`/proc/self/cwd`, `/dev/stdin`): the calls are
 * krun's, and so would be what is found there.
 *
 * Every method throws {@linkcode FileFault}.
 */
export interface UserFiles {
  open(path: string, opening: FileOpening): OpenFile;
  openFolder(path: string): OpenFolder;
  stat(path: string): FileStat;
  /** Of a link itself. */
  linkStat(path: string): FileStat;
  change(path: string, change: FileChange): void;
  /** Of a link itself; its permissions cannot be changed. */
  changeLink(path: string, change: FileChange): void;
  makeFolder(path: string, mode: number): void;
  removeFolder(path: string): void;
  remove(path: string): void;
  /** Replaces what is there, unless told otherwise (rename(2), renameat2(2)). */
  rename(from: string, to: string, options?: { readonly replace?: boolean }): void;
  makeLink(path: string, target: string): void;
  makeHardLink(path: string, existing: string): void;
  readLink(path: string): string;
  /** Absolute and without links; the last part need not exist. */
  realPath(path: string): string;
  fileSystem(path: string): FileSystemStat;
}
