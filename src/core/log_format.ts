/**
 * One event as one line. In: an event. Out: text for a person, or a JSON object.
 *
 * @module
 */
import type { LogFields, LogLevel } from "./log.ts";

/** Form of a line; `google` is JSON with the fields that Cloud Logging takes out of it. */
export type LogFormat = "text" | "json" | "google";

/** What a line belongs to in Cloud Trace. */
export interface LogTrace {
  /** As `projects/P/traces/4bf92f3577b34da6a3ce929d0e0e4736`, or the id alone. */
  readonly trace: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/**
 * Reads a `traceparent` (W3C Trace Context, section 3.2): who starts krun may say by TRACEPARENT to what it belongs, as
 * OpenTelemetry has it. `undefined` when it is none.
 */
export function readTrace(traceparent: string, project?: string): LogTrace | undefined {
  const [, id, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) ?? [];
  if (id === undefined || spanId === undefined || /^0+$/.test(id) || /^0+$/.test(spanId)) return undefined;
  const trace = project === undefined ? id : `projects/${project}/traces/${id}`;
  return { trace, spanId, sampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

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
  /** To what it belongs, for Cloud Logging. */
  readonly trace?: LogTrace | undefined;
}

/** LogSeverity of Cloud Logging. */
const SEVERITIES: Readonly<Record<LogLevel, string>> = {
  error: "ERROR",
  warn: "WARNING",
  info: "INFO",
  debug: "DEBUG",
};

/**
 * The line of an event, without its line break. It never holds another line break or a control character, whatever the
 * event and its fields hold, so that nobody can forge a line or a terminal's escape code.
 *
 * Time is RFC 3339 in UTC with milliseconds. As JSON, a field named like one of `time`, `level`, `event` gives way to it; for
 * Cloud Logging, one named like a field of its own does
 * (https://cloud.google.com/logging/docs/structured-logging#special-payload-fields).
 */
export function logLine({ time, level, event, fields, trace }: LogEvent, format: LogFormat): string {
  const pairs = Object.entries(fields).filter(([, value]) => value !== undefined);
  if (format === "json") {
    const others = pairs.filter(([name]) => !["time", "level", "event"].includes(name));
    return escaped(JSON.stringify({ time: time.toISOString(), level, event, ...Object.fromEntries(others) }));
  }
  const words = pairs.map(([name, value]) => `${bare(name)}=${bare(String(value))}`);
  if (format === "google") {
    const others = pairs.filter(([name]) =>
      !/^(severity|message|time|httpRequest|logging\.googleapis\.com\/.*)$/.test(name)
    );
    return escaped(JSON.stringify({
      severity: SEVERITIES[level],
      time: time.toISOString(),
      // With its fields, since a list of entries shows nothing else.
      message: [event, ...words].join(" "),
      ...Object.fromEntries(others),
      ...(trace && {
        "logging.googleapis.com/trace": trace.trace,
        "logging.googleapis.com/spanId": trace.spanId,
        "logging.googleapis.com/trace_sampled": trace.sampled,
      }),
    }));
  }
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
