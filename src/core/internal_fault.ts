/**
 * Failures that krun's authors did not foresee, in the shape of all others.
 *
 * @module
 */
import { KrunError } from "./errors.ts";

/**
 * A failure as a {@linkcode KrunError}: itself if it is one, else `Internal`, naming only the error's class, since the
 * words of an unforeseen error could hold a Secret's content.
 *
 * @param what verb and object, as after `Cannot`
 */
export function foreseen(what: string, error: unknown): KrunError {
  if (error instanceof KrunError) return error;
  const kind = error instanceof Error ? error.name : typeof error;
  return new KrunError("Internal", `Cannot ${what}: ${kind}`, "report this as a fault of krun", { cause: error });
}
