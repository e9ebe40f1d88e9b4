/**
 * The shape of a log and the text of one line. Where the line goes is decided by `main.ts`.
 *
 * @module
 */

/** How loud a line is: `error` someone must act, `warn` krun coped, `info` a state changed, `debug` the rest. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** Values of one line; `undefined` leaves the pair out. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where events go. It is always an argument, never a global. A field must not hold a Secret's or token's content. */
export interface Logger {
  /** Someone must act. */
  error(event: string, fields?: LogFields): void;
  /** Something was wrong and krun coped. */
  warn(event: string, fields?: LogFields): void;
  /** A state changed: started, ready, renewed, rotated, stopped. */
  info(event: string, fields?: LogFields): void;
  /** The rest. */
  debug(event: string, fields?: LogFields): void;
}

/** A log that says nothing. */
export const silentLog: Logger = { error() {}, warn() {}, info() {}, debug() {} };

/** A log whose lines begin with these fields. */
export function withFields(log: Logger, fields: LogFields): Logger {
  const level = (name: LogLevel): Logger["info"] => (event, more) => log[name](event, { ...fields, ...more });
  return { error: level("error"), warn: level("warn"), info: level("info"), debug: level("debug") };
}
