/**
 * A log that a test reads.
 *
 * @module
 */
import type { LogFields, Logger, LogLevel } from "../src/core/log.ts";

/** One line of a {@linkcode RecordingLog}. */
export interface RecordedLine {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

/** Keeps every line. */
export class RecordingLog implements Logger {
  readonly lines: RecordedLine[] = [];

  error(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: "error", event, fields });
  }

  warn(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: "warn", event, fields });
  }

  info(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: "info", event, fields });
  }

  debug(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: "debug", event, fields });
  }

  /** `<level> <event>` of every line but `debug`. */
  get events(): string[] {
    return this.lines.filter(({ level }) => level !== "debug").map(({ level, event }) => `${level} ${event}`);
  }
}
