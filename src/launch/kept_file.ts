/**
 * Files that an earlier krun left in its state folder for the next one. In: a path. Out: the text, if it is krun's own.
 *
 * @module
 */

/**
 * The text of a kept file; `undefined` where there is none, or others could have written it.
 *
 * @param uid krun's own
 * @param options `isSecret`: nor may others be able to read it
 */
export function keptText(path: string, uid: number, { isSecret = false } = {}): string | undefined {
  const ofOthers = isSecret ? 0o077 : 0o022;
  try {
    const { isFile, uid: owner, mode } = Deno.lstatSync(path);
    const isOwn = isFile && owner === uid && mode !== null && (mode & ofOthers) === 0;
    return isOwn ? Deno.readTextFileSync(path) : undefined;
  } catch {
    return undefined;
  }
}
