/**
 * Lines of the mesh agent and of Envoy as events of krun's log. In: one line. Out: level, words, fields.
 *
 * Both write JSON here (`--log_as_json`): agent `{level, time, scope, msg, ...}`, Envoy the same by the bootstrap's log format. Before
 * the agent has read its flags, it writes as Go's log/slog does, or as Istio does by default. What is of another form is a line
 * of an access log.
 *
 * @module
 */
import type { LogFields, LogLevel } from "./log.ts";

/** One event. */
export interface AgentEvent {
  /** `undefined` for a line that has none: of an access log. */
  readonly level: "debug" | "info" | "warn" | "error" | undefined;
  readonly message: string;
  /** The part that speaks, as `xdsproxy` or `envoy config`. */
  readonly scope: string | undefined;
  /** What the words are about, such as the `type` of a request. @default {nothing} */
  readonly fields?: LogFields;
}

const LEVELS: Readonly<Record<string, AgentEvent["level"]>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warn: "warn",
  warning: "warn",
  error: "error",
  critical: "error",
  fatal: "error",
};

/** `2026/11/30 07:22:40 ERROR message key=value` */
const SLOG_LINE = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARN|ERROR) (.+)$/;

/** Time, level, the part that speaks if it is one, and words, with tabs in between. */
const PLAIN_LINE = /^\d{4}-\d\d-\d\dT[\d:.]+Z\t(debug|info|warn|error|fatal)\t(?:([^\t]+)\t)?([^\t]+)$/;

/** krun's log has its own time; where in Envoy a line was written says nothing to its reader. */
const LEFT_OUT = ["time", "caller", "thread"];

/** Reads a line. Never throws. */
export function parseAgentLine(line: string): AgentEvent {
  const [, word, text] = SLOG_LINE.exec(line) ?? [];
  if (word !== undefined && text !== undefined) {
    return { level: LEVELS[word.toLowerCase()], message: text, scope: undefined };
  }
  const [, plainLevel, part, words] = PLAIN_LINE.exec(line) ?? [];
  if (plainLevel !== undefined && words !== undefined) {
    return { level: LEVELS[plainLevel], message: words, scope: part };
  }
  const { level, msg, scope, error, ...others } = recordOf(line);
  const known = typeof level === "string" && Object.hasOwn(LEVELS, level) ? LEVELS[level] : undefined;
  if (known === undefined || typeof msg !== "string") return { level: undefined, message: line, scope: undefined };
  // Some failures stand in a field of their own.
  const message = (typeof error === "string" && !msg.includes(error) ? `${msg}: ${error}` : msg).trimEnd();
  const fields = Object.entries(others).filter((entry): entry is [string, string | number | boolean] =>
    !LEFT_OUT.includes(entry[0]) && ["string", "number", "boolean"].includes(typeof entry[1])
  );
  return {
    level: known,
    message,
    scope: typeof scope === "string" ? scope : undefined,
    ...(fields.length > 0 && { fields: Object.fromEntries(fields) }),
  };
}

function recordOf(line: string): Readonly<Record<string, unknown>> {
  if (!line.startsWith("{")) return {};
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
}

/** How far this run of the proxy is. As long as it starts, its word that it is not ready is what krun has just asked. */
export type ProxyPhase = "starting" | "running" | "ending";

/** Options of {@linkcode agentLogLine}. */
export interface AgentLogOptions {
  /** XDS_AGENT_DEBUG is set: somebody wants to read what the agent has to say. */
  readonly loud: boolean;
  readonly phase: ProxyPhase;
}

/** How the agent answers the question whether it is ready. */
export const NOT_READY = /^Envoy proxy is NOT ready/;

/**
 * The event for krun's log. What the agent calls info is about its own workings, some 60 lines a start: it is krun's debug
 * unless somebody asked for it. So is what agent and Envoy warn of while krun ends them, which is that they are ended.
 */
export function agentLogLine(
  { level, message, scope, fields = {} }: AgentEvent,
  { loud, phase }: AgentLogOptions,
): { readonly level: LogLevel; readonly event: string; readonly fields: LogFields } {
  const all = { ...fields, source: "istio-proxy", ...(scope !== undefined && { scope }) };
  if (level === undefined) return { level: "info", event: message, fields: all };
  const quiet = level === "info" || level === "debug" || phase === "ending" ||
    phase === "starting" && NOT_READY.test(message);
  return { level: quiet ? loud ? "info" : "debug" : level, event: message, fields: all };
}
