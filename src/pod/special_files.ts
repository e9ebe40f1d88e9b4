/**
 * Files below /dev, /proc and /sys, which Deno opens only to a program with every permission: `/dev/stdin`, `/dev/fd/63` of a
 * shell's `<(...)`, `/dev/shm`. In: paths. Out: what is in the files, by libc.
 *
 * @module
 */
import type { FileReader } from "../core/file_reader.ts";
import { type Bytes, loadLibc, O_RDONLY } from "./libc.ts";
import { closeFile, ERRNO, FileError, readAll } from "./libc_files.ts";

/** Reads any file that krun's user may read: by Deno, and by libc where Deno refuses. Needs that libc was loaded. */
export const anyFile: FileReader = {
  text: (path) => Deno.readTextFile(path).catch((error) => elsewhere(error, () => textLater(path))),
  textSync: (path) => {
    try {
      return Deno.readTextFileSync(path);
    } catch (error) {
      return elsewhere(error, () => decode(bytesOfFile(path)));
    }
  },
};

/** Tries again what Deno has refused. 2.6.10 says so with the same name. */
function elsewhere<T>(error: unknown, read: () => T): T {
  if (!(error instanceof Deno.errors.NotCapable)) throw error;
  return read();
}

/** The bytes of a file, by libc. @throws {Deno.errors.NotFound} @throws {FileError} */
export function bytesOfFile(path: string): Bytes {
  const fd = open(path);
  try {
    return readAll(fd, path);
  } finally {
    closeFile(fd);
  }
}

/** Reads on another thread, since the other end of a pipe may take its time. */
async function textLater(path: string): Promise<string> {
  const decoder = new TextDecoder();
  const libc = loadLibc();
  const fd = open(path);
  try {
    let text = "";
    const chunk: Bytes = new Uint8Array(16 * 1024);
    for (;;) {
      const length = await libc.readLater(fd, chunk);
      if (length < 0) throw new FileError(ERRNO.EIO, "read", path);
      if (length === 0) return text + decoder.decode();
      text += decoder.decode(chunk.subarray(0, length), { stream: true });
    }
  } finally {
    closeFile(fd);
  }
}

function open(path: string): number {
  const fd = loadLibc().open(path, O_RDONLY);
  if (fd === -ERRNO.ENOENT) throw new Deno.errors.NotFound(`No such file: ${path}`);
  if (fd < 0) throw new FileError(-fd, "open", path);
  return fd;
}

function decode(bytes: Bytes): string {
  return new TextDecoder().decode(bytes);
}
