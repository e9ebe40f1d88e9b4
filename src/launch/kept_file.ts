/**
 * Files that an earlier krun left in its state folder for the next one. In: a path. Out: the text, if it is krun's own.
 *
 * @module
 */
import { readFailure } from "../kube/deno_files.ts";

/** What stands at the place of a kept file: its text, or why it is not taken, in words. */
export type KeptFile = { readonly text: string } | { readonly fault: string };

/** Options of {@linkcode keptFile}. */
export interface KeptFileOptions {
  /** Nor may others be able to read it. @default {false} */
  readonly isSecret?: boolean;
}

/**
 * A kept file; `undefined` where there is none. One that others could have written is not taken.
 *
 * @param uid krun's own
 */
export function keptFile(path: string, uid: number, { isSecret = false }: KeptFileOptions = {}): KeptFile | undefined {
  try {
    const fault = ownerFault(Deno.lstatSync(path), { uid, isSecret });
    return fault === undefined ? { text: Deno.readTextFileSync(path) } : { fault };
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) return undefined;
    return { fault: readFailure(cause) };
  }
}

/** The text of a kept file; `undefined` where there is none, or it is not taken. Parameters as {@linkcode keptFile} has them. */
export function keptText(path: string, uid: number, options?: KeptFileOptions): string | undefined {
  const kept = keptFile(path, uid, options);
  return kept && "text" in kept ? kept.text : undefined;
}

function ownerFault(
  { isFile, isSymlink, uid: owner, mode }: Deno.FileInfo,
  { uid, isSecret }: { readonly uid: number; readonly isSecret: boolean },
): string | undefined {
  if (isSymlink) return "it is a link";
  if (!isFile) return "it is no file";
  if (owner !== uid) return `it is user ${owner}'s, and krun is user ${uid}`;
  if (mode === null || (mode & (isSecret ? 0o077 : 0o022)) === 0) return undefined;
  const done = isSecret ? "read or changed" : "changed";
  return `others could have ${done} it: its mode is ${(mode & 0o7777).toString(8).padStart(4, "0")}`;
}
