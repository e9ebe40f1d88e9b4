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

/** A word without its quotes. */
export function textOfWord(parts: readonly WordPart[]): string {
  return parts.map(({ text }) => text).join("");
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

/**
 * What of a line only a shell can do, the first of it as it was written: an operator that is not quoted, or `NAME=` before a command
 * (POSIX, sections 2.9.1 and 2.10.2); `undefined` where there is none.
 */
export function shellSyntax(words: readonly (readonly WordPart[])[]): string | undefined {
  const [first] = words[0] ?? [];
  const assignment = first?.isQuoted === false ? /^[A-Za-z_]\w*=/.exec(first.text) : null;
  if (assignment) return assignment[0];
  for (const { text, isQuoted } of words.flat()) {
    const operator = isQuoted ? null : /&&|\|\||>>|<<|[;|&<>]/.exec(text);
    if (operator) return operator[0];
  }
  return undefined;
}

/** A word as a line of words shows it, so that it can be typed again. */
export function quotedWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
