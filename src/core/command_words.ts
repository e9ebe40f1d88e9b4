/**
 * One command as words, for a session in an image without a shell. In: a line. Out: its words. Quotes and backslashes as a shell has
 * them (POSIX, section 2.2); nothing is expanded, and nothing is a pipe or a redirection.
 *
 * @module
 */

/** The words of a line; `undefined` when a quote does not end. */
export function commandWords(line: string): string[] | undefined {
  const words: string[] = [];
  const part = /([ \t\r\n]+)|'([^']*)'|"((?:[^"\\]|\\[^])*)"|\\([^])|([^ \t\r\n'"\\]+)/gy;
  let word: string | undefined;
  for (let at = 0; at < line.length; at = part.lastIndex) {
    const [, blank, single, double, escaped, plain] = part.exec(line) ?? [];
    if (blank !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const text = single ?? double?.replace(/\\([$`"\\])/g, "$1") ?? escaped ?? plain;
    if (text === undefined) return undefined;
    word = (word ?? "") + text;
  }
  return word === undefined ? words : [...words, word];
}

/** A word as a line of words shows it, so that it can be typed again. */
export function quotedWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
