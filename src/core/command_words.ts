/**
 * One command as words, for a session in an image without a shell. In: a line. Out: its words. Quotes and backslashes as a shell has
 * them (POSIX, section 2.2); nothing is expanded, and nothing is a pipe or a redirection.
 *
 * @module
 */

/** A piece of a word. */
export interface WordPart {
  /** Without its quotes. */
  readonly text: string;
  /** Whether its characters stand for themselves. */
  readonly isQuoted: boolean;
  /** Whether a shell would put something else in its place: `$` or a backquote. */
  readonly isExpanded: boolean;
}

/** The words of a line; `undefined` when a quote does not end. */
export function commandWords(line: string): string[] | undefined {
  return quotedWords(line)?.map((parts) => parts.map(({ text }) => text).join(""));
}

/** The words of a line with what of them was quoted; `undefined` when a quote does not end. */
export function quotedWords(line: string): WordPart[][] | undefined {
  const words: WordPart[][] = [];
  const pattern = /([ \t\r\n]+)|'([^']*)'|"((?:[^"\\]|\\[^])*)"|\\([^])|([^ \t\r\n'"\\]+)/gy;
  let word: WordPart[] | undefined;
  for (let at = 0; at < line.length; at = pattern.lastIndex) {
    const [, blank, single, double, escaped, plain] = pattern.exec(line) ?? [];
    if (blank !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const text = single ?? double?.replace(/\\([$`"\\])/g, "$1") ?? escaped ?? plain;
    if (text === undefined) return undefined;
    const isExpanded = /[$`]/.test(double?.replace(/\\[^]/g, "") ?? plain ?? "");
    (word ??= []).push({ text, isQuoted: plain === undefined, isExpanded });
  }
  return word === undefined ? words : [...words, word];
}

/** A word as a line of words shows it, so that it can be typed again. */
export function quotedWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
