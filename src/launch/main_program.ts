/**
 * krun as a program: reads arguments and settings, does what they ask, and says in one line what went wrong.
 *
 * @module
 */
import { parseCommandLine } from "../core/command_line.ts";
import { KrunError } from "../core/errors.ts";
import { helpText } from "../core/help.ts";
import type { Logger } from "../core/log.ts";
import { earlyLogFormat, parseSettings } from "../core/settings.ts";
import { loadLibc } from "../pod/libc.ts";
import { obeySignals } from "../pod/signals.ts";
import { createLogger } from "./logger.ts";
import { print } from "./output.ts";
import { refuseKeyLog } from "./own_network.ts";
import { start } from "./start.ts";
import type { Surroundings } from "./surroundings.ts";
import { VERSION } from "./version.ts";

/** krun's own failures; a shell uses 126 and 127 for a program that cannot be run. */
const KRUN_FAILED = 125;

/** Runs krun and resolves to the exit status. Never rejects: a failure is one line on standard error. */
export async function mainProgram(outer: Surroundings): Promise<number> {
  let report: (cause: unknown) => void = (cause) => outer.writeError(errorText(cause));
  try {
    const command = parseCommandLine(outer.args);
    if (command.action === "help") return print(outer, helpText()), 0;
    if (command.action === "version") return print(outer, `krun ${VERSION}\n`), 0;
    const reportBy = (log: Logger) => (cause: unknown) => logFailure(log, cause);
    // A setting that cannot be read is told in the form that the platform reads, too.
    const early = command.action === "run" ? earlyLogFormat(outer.env) : "text";
    if (early !== "text") report = reportBy(createLogger({ level: "error", format: early, write: outer.writeError }));
    refuseKeyLog(outer.env);
    if (command.action === "check") {
      await obeySignals();
      const { check } = await import("./check.ts");
      return await check(outer, { argv: command.argv, format: command.checkFormat });
    }
    if (command.action === "connect") {
      await obeySignals();
      const { connect } = await import("./connect.ts");
      return await connect(outer, command.address!);
    }
    if (command.action === "kubeconfig" || command.action === "exec-credential") {
      await obeySignals();
      loadLibc();
      const { execCredentialCommand, kubeconfigCommand } = await import("./kubeconfig_command.ts");
      return command.action === "kubeconfig"
        ? await kubeconfigCommand(outer, command.file)
        : await execCredentialCommand(outer);
    }
    const settings = parseSettings(outer.env);
    const { logLevel: level, logFormat: format, trace } = settings;
    const log = createLogger({ level, format, trace, write: outer.writeError });
    if (format !== "text") report = reportBy(log);
    return await start(outer, { settings, argv: command.argv, log });
  } catch (cause) {
    report(cause);
    return failureStatus(cause);
  }
}

/** Where lines are JSON, the failure is one too. */
function logFailure(log: Logger, cause: unknown): void {
  if (!(cause instanceof KrunError)) return log.error(errorText(cause), { code: "Internal" });
  const { code, message, hint, details } = cause;
  log.error(message, { code, hint, details });
}

/** `krun: <message>; <hint>`, then the details on lines of their own. */
function errorText(cause: unknown): string {
  if (!(cause instanceof KrunError)) {
    const words = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    return `krun: Internal: ${words}`;
  }
  const { message, hint, details } = cause;
  return `krun: ${message}; ${hint}${details === undefined ? "" : `\n${details}`}`;
}

function failureStatus(cause: unknown): number {
  if (!(cause instanceof KrunError)) return KRUN_FAILED;
  if (cause.code === "ProgramNotFound") return 127;
  return cause.code === "ProgramNotExecutable" ? 126 : KRUN_FAILED;
}
