/**
 * The command by which a client of scp's legacy protocol starts the far side. In: a command line. Out: what it asks for. The options
 * are those of OpenSSH's scp.c and its relatives (`-f`, `-t`, `-d` are not in scp(1)); the rules for words are a shell's.
 *
 * @module
 */
import { quotedWords, textOfWord, type WordPart } from "./command_words.ts";
import { patternOfText } from "./path_pattern.ts";

/** A path as a shell would take it. */
export interface ScpPath {
  /** Before it comes the home folder of a user, `""` for the session's own. */
  readonly home?: string;
  /** A pattern of `core/path_pattern.ts`. */
  readonly pattern: string;
}

/** What a client asks for. */
export interface ScpCommand {
  /** The far side receives (`-t`), or sends (`-f`). */
  readonly side: "sink" | "source";
  /** `-r`: folders with all that is in them. */
  readonly isRecursive: boolean;
  /** `-p`: times and modes are kept. */
  readonly keepsTimes: boolean;
  /** `-d`: the target has to be a folder. */
  readonly wantsFolder: boolean;
  readonly paths: readonly ScpPath[];
}

/**
 * Reads a command line; `undefined` for one that no client of the protocol sends: another program or option, or anything that only a
 * shell can do, as `$HOME`, `;` or `>`.
 */
export function parseScpCommand(line: string): ScpCommand | undefined {
  if (/[\r\n\0]/.test(line)) return undefined;
  const [program, ...words] = quotedWords(line) ?? [];
  if (program === undefined || textOfWord(program) !== "scp" || words.some(needsShell)) return undefined;
  const texts = words.map(textOfWord);
  const end = texts.findIndex((text) => text === "--" || !/^-./s.test(text));
  const paths = end < 0 ? [] : words.slice(texts[end] === "--" ? end + 1 : end);
  const options = texts.slice(0, Math.max(0, end));
  const letters = new Set(options.flatMap((option) => [...option.slice(1)]));
  const isKnown = [...letters].every((letter) => "vrpdqtf".includes(letter));
  if (!isKnown || letters.has("t") === letters.has("f") || paths.length === 0) return undefined;
  return {
    side: letters.has("t") ? "sink" : "source",
    isRecursive: letters.has("r"),
    keepsTimes: letters.has("p"),
    wantsFolder: letters.has("d"),
    paths: paths.map(pathOf),
  };
}

/**
 * What of such a command only a shell can do, as it was written, where that is why {@linkcode parseScpCommand} does not read it; `undefined`
 * for any other command.
 */
export function unexpandedInScp(line: string): string | undefined {
  const [program, ...words] = quotedWords(line) ?? [];
  const isFarSide = words.some((word) => /^-[vrpdq]*[tf]/.test(textOfWord(word)));
  if (program === undefined || textOfWord(program) !== "scp" || !isFarSide) return undefined;
  return words.filter(needsShell).map(textOfWord)[0];
}

/** Operators, comments and expansions (POSIX, sections 2.2 and 2.3). */
function needsShell(word: readonly WordPart[]): boolean {
  return word.some(({ text, isQuoted, isExpanded }, index) =>
    isExpanded || (!isQuoted && (/[;|&<>()]/.test(text) || (index === 0 && text.startsWith("#"))))
  );
}

function pathOf(word: readonly WordPart[]): ScpPath {
  const pattern = (parts: readonly WordPart[]) =>
    parts.map(({ text, isQuoted }) => isQuoted ? patternOfText(text) : text).join("");
  const [first, ...rest] = word;
  // POSIX, section 2.6.1: none of the prefix may be quoted.
  const [, home, after = ""] = first && !first.isQuoted ? /^~([^/]*)(\/.*)?$/.exec(first.text) ?? [] : [];
  if (home === undefined || (after === "" && rest.length > 0)) return { pattern: pattern(word) };
  return { home, pattern: after + pattern(rest) };
}
