/**
 * Lines of the mesh agent and of Envoy as events of krun's log. In: one line. Out: level, words, fields.
 *
 * Both write JSON here (`--log_as_json`): agent `{level, time, scope, msg, ...}`, Envoy the same by the bootstrap's log format. Before
 * the agent has read its flags, it writes as Go's log/slog does. What is of another form is a line of an access log.
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

/** Reads a line. Never throws. */
export function parseAgentLine(line: string): AgentEvent {
  const [, word, text] = SLOG_LINE.exec(line) ?? [];
  if (word !== undefined && text !== undefined) {
    return { level: LEVELS[word.toLowerCase()], message: text, scope: undefined };
  }
  const { level, msg, scope, error } = recordOf(line);
  const known = typeof level === "string" && Object.hasOwn(LEVELS, level) ? LEVELS[level] : undefined;
  if (known === undefined || typeof msg !== "string") return { level: undefined, message: line, scope: undefined };
  // Some failures stand in a field of their own.
  const message = typeof error === "string" && !msg.includes(error) ? `${msg}: ${error}` : msg;
  return { level: known, message, scope: typeof scope === "string" ? scope : undefined };
}

function recordOf(line: string): Readonly<Record<string, unknown>> {
  if (!line.startsWith("{")) return {};
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
}

/** Options of {@linkcode agentLogLine}. */
export interface AgentLogOptions {
  /** XDS_AGENT_DEBUG is set: somebody wants to read what the agent has to say. */
  readonly loud: boolean;
  /** The proxy was never ready yet: that it is not is what krun has just asked. */
  readonly starting: boolean;
}

/** How the agent answers the question whether it is ready. */
const NOT_READY = /^Envoy proxy is NOT ready/;

/** How Envoy, where no agent ends it, tells that krun does. */
const STOPPED = /^caught ENVOY_SIGTERM$/;

/**
 * The event for krun's log. What the agent calls info is about its own workings, some 60 lines a start: it is krun's debug
 * unless somebody asked for it.
 */
export function agentLogLine(
  { level, message, scope }: AgentEvent,
  { loud, starting }: AgentLogOptions,
): { readonly level: LogLevel; readonly event: string; readonly fields: LogFields } {
  const source = { source: "istio-proxy", ...(scope !== undefined && { scope }) };
  if (level === undefined) return { level: "info", event: message, fields: source };
  const quiet = level === "info" || level === "debug" || starting && NOT_READY.test(message) ||
    STOPPED.test(message);
  return { level: quiet ? loud ? "info" : "debug" : level, event: message, fields: source };
}
