/**
 * Go's way to quote a text, which the files of the downward API use. In: a text. Out: the text between double quotes.
 *
 * @module
 */

/** What has a short escape. */
const SHORT: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

/** `unicode.IsPrint` of Go: letters, marks, numbers, punctuation, symbols, and of all spaces only U+0020. */
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/**
 * Quotes as `strconv.Quote` of Go does: short escapes, `\x7f` below U+0080, `\u00a0` and `\U0001f000` (lower case hex) for
 * what is not printable, the rest as it is. A lone surrogate becomes U+FFFD, since no UTF-8 text can hold one.
 *
 * Characters that Unicode got after version 15.0 are written as they are where the runtime knows them; the kubelet of
 * v1.34 (built with Go 1.24) escapes them.
 *
 * Rule: https://pkg.go.dev/strconv#Quote, called by pkg/fieldpath/fieldpath.go `FormatMap` of Kubernetes v1.34.
 */
export function goQuote(text: string): string {
  return `"${Array.from(text.toWellFormed(), quoted).join("")}"`;
}

function quoted(character: string): string {
  const short = SHORT[character];
  if (short !== undefined) return short;
  if (PRINTABLE.test(character)) return character;
  const code = character.codePointAt(0)!;
  const hex = code.toString(16);
  if (code < 0x80) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
