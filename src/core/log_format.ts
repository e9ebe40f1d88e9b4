/**
 * One event as one line. In: an event. Out: text for a person, or a JSON object.
 *
 * @module
 */
import type { LogFields, LogLevel } from "./log.ts";

/** Form of a line. */
export type LogFormat = "text" | "json";

/** One event. */
export interface LogEvent {
  /** When it happened. */
  readonly time: Date;
  /** How loud it is. */
  readonly level: LogLevel;
  /** Constant words; what varies is in `fields`. */
  readonly event: string;
  /** Never a Secret's or token's content. */
  readonly fields: LogFields;
}

/**
 * The line of an event, without its line break. It never holds another line break or a control character, whatever the
 * event and its fields hold, so that nobody can forge a line or a terminal's escape code.
 *
 * Time is RFC 3339 in UTC with milliseconds. As JSON, a field named like one of `time`, `level`, `event` gives way to it.
 */
export function logLine({ time, level, event, fields }: LogEvent, format: LogFormat): string {
  const pairs = Object.entries(fields).filter(([, value]) => value !== undefined);
  if (format === "json") {
    const others = pairs.filter(([name]) => !["time", "level", "event"].includes(name));
    return escaped(JSON.stringify({ time: time.toISOString(), level, event, ...Object.fromEntries(others) }));
  }
  const words = pairs.map(([name, value]) => `${bare(name)}=${bare(String(value))}`);
  return [time.toISOString(), level, escaped(event), ...words].join(" ");
}

/** Nearly every text is plain ASCII, and the first use of a Unicode class costs a start 0.7 ms and as many megabytes. */
const ASCII_TEXT = /^[ -~]*$/;
const ASCII_WORD = /^[!#-<>-~]+$/;

/** A value as it is when it is one word, else between quotation marks. */
function bare(value: string): string {
  if (ASCII_WORD.test(value)) return value;
  if (ASCII_TEXT.test(value)) return JSON.stringify(value);
  return /^[^\s"=\p{C}]+$/u.test(value) ? value : escaped(JSON.stringify(value));
}

/** Everything that a terminal, or a reader of lines, may take for more than a letter: `\u` and its code. */
function escaped(text: string): string {
  if (ASCII_TEXT.test(text)) return text;
  const code = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (letter) => letter.split("").map(code).join(""));
}
