/**
 * The words for a setting that cannot be read.
 *
 * @module
 */
import { KrunError } from "./errors.ts";

/** The error for a malformed value: the variable, the fault, and a value that would do. It is returned, not thrown. */
export function settingInvalid(env: string, fault: string, example: string): KrunError {
  const hint = `write for example ${printable(`${env}=${example}`)}`;
  return new KrunError("SettingInvalid", `Cannot read setting ${quoted(env)}: ${fault}`, hint);
}

/** A text between quotation marks, on one line, and cut to a length that a person can read. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}

/** A text as it is where that is one line without control characters, else quoted. */
export function printable(text: string): string {
  return /\p{Cc}/u.test(text) ? quoted(text) : text;
}
