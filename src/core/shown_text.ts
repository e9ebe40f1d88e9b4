/**
 * Texts of others on a person's terminal. In: a text. Out: one that moves no cursor and changes no terminal.
 *
 * @module
 */

/** The text with `?` for each control character and each byte that is no UTF-8, as ls(1) shows names. */
export function shownText(text: string): string {
  return text.toWellFormed().replaceAll("\ufffd", "?").replace(/\p{Cc}/gu, "?");
}
