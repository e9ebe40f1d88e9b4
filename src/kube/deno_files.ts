/**
 * Files as Deno reads them, and what it says when it does not.
 *
 * @module
 */
import type { FileReader } from "../core/file_reader.ts";

/** Reads files by Deno alone. Needs `--allow-read` for them. */
export const denoFiles: FileReader = {
  text: (path) => Deno.readTextFile(path),
  textSync: (path) => Deno.readTextFileSync(path),
};

/** By errno: Deno's errors and those of libc say it alike. */
const STATES: ReadonlyMap<unknown, string> = new Map([
  ["ENOENT", "it does not exist"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["ENOTDIR", "a part of its path is no folder"],
  ["EISDIR", "it is a folder"],
  ["ELOOP", "its links lead in a circle"],
]);

/** Why a file or folder could not be read or made, on one line; without Deno's advice, which is not for krun's user. */
export function readFailure(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (!(cause instanceof Deno.errors.NotCapable)) {
    if (cause instanceof Deno.errors.NotFound) return STATES.get("ENOENT")!;
    // Deno's words end in the errno and the call, which name nothing that the message around them does not.
    return STATES.get((cause as { code?: unknown }).code) ?? cause.message.replace(/ \(os error \d+\)(: .*)?$/s, "");
  }
  return /^Requires all access/.test(cause.message)
    ? "the runtime opens nothing below /dev, /proc and /sys for krun, also not by a link"
    : "krun was not given the permission";
}
