/**
 * Bytes that are no UTF-8 on their way to krun and out of its program: neither Deno's own processes nor its texts have them.
 *
 * @module
 */

/** A shell that does something, then `exec "$@"`: it becomes what it is given, krun. */
export const shell = (script: string): string[] => ["/bin/sh", "-c", script, "sh"];

/** A part of a shell's script that writes what it reads as hexadecimal text. */
export const HEX = "od -An -v -tx1 | tr -d ' \\n'";

/** What {@linkcode HEX} writes of texts and single bytes. */
export function hex(...parts: readonly (string | number)[]): string {
  const bytes = parts.flatMap((part) => typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]);
  return new Uint8Array(bytes).toHex();
}
