/**
 * The logger of the program: one event, one line, to whoever writes lines.
 *
 * @module
 */
import type { LogFields, Logger, LogLevel } from "../core/log.ts";
import { type LogFormat, logLine, type LogTrace } from "../core/log_format.ts";

/** Options of {@linkcode createLogger}. */
export interface LoggerOptions {
  /** The quietest level that is still written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** To what every line belongs, for Cloud Logging. */
  readonly trace?: LogTrace | undefined;
  /** Takes one line, without its line break. */
  write(line: string): void;
}

const LEVELS: readonly LogLevel[] = ["error", "warn", "info", "debug"];

/** A logger that formats each event as one line and hands it to `write` at once. */
export function createLogger({ level, format, trace, write }: LoggerOptions): Logger {
  const loudest = LEVELS.indexOf(level);
  const at = (own: LogLevel) => (event: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(own) > loudest) return;
    write(logLine({ time: new Date(), level: own, event, fields, trace }, format));
  };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") };
}
