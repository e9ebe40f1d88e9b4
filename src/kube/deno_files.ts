/**
 * Files as Deno reads them, and what it says when it does not.
 *
 * @module
 */
import type { FileReader } from "../core/file_reader.ts";
import { systemFailure } from "../core/system_failure.ts";

/** Reads files by Deno alone. Needs `--allow-read` for them. */
export const denoFiles: FileReader = {
  text: (path) => Deno.readTextFile(path),
  textSync: (path) => Deno.readTextFileSync(path),
};

/**
 * Why a call to the machine failed: a file that could not be read or made, an address that could not be listened on. On one
 * line, without Deno's advice, which is not for krun's user.
 */
export function readFailure(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (!(cause instanceof Deno.errors.NotCapable)) {
    return cause instanceof Deno.errors.NotFound ? "it does not exist" : systemFailure(cause);
  }
  return /^Requires all access/.test(cause.message)
    ? "the runtime opens nothing below /dev, /proc and /sys for krun, also not by a link"
    : "krun was not given the permission";
}
