/**
 * All failures of a start in one. In: each failure and the setting that asked. Out: the one error that a person reads.
 *
 * @module
 */
import { KrunError } from "./errors.ts";

/** One failure. */
export interface StartFailure {
  /** The same one for everybody who met it. */
  readonly error: KrunError;
  /** The setting that asked for what failed. */
  readonly askedBy: string;
}

/** A person reads no more than these; the rest is counted. */
const LISTED = 20;

/** One failure with everybody who asked. */
interface AskedFailure {
  readonly error: KrunError;
  readonly askedBy: ReadonlySet<string>;
}

/**
 * One error for all failures: the code, message and hint of the first that will not pass by itself, else of the first;
 * every failure and what each would have liked to say (the Role for a 403) in `details`. One error that several settings
 * met is told once, with all of them.
 *
 * @throws {RangeError} when there is none.
 */
export function startFailure(failures: readonly StartFailure[]): KrunError {
  const distinct = distinctFailures(failures);
  const first = distinct.find(({ error }) => !error.transient) ?? distinct[0];
  if (first === undefined) throw new RangeError("Cannot describe a start without failures");
  const { error } = first;
  const others = distinct.length - 1;
  const more = others === 0 ? "" : others === 1 ? ", and 1 more failure" : `, and ${others} more failures`;
  const details = [...(others > 0 ? list(distinct) : []), ...allDetails(distinct)].join("\n");
  return new KrunError(error.code, describe(first) + more, error.hint, {
    cause: others === 0 ? error : new AggregateError(distinct.map((failure) => failure.error), describe(first)),
    transient: error.transient,
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(details !== "" && { details }),
  });
}

/** All failures for a report: a line each, with what to do, and what each would have liked to say besides. */
export function failureTexts(failures: readonly StartFailure[]): { lines: string[]; details: string[] } {
  const distinct = distinctFailures(failures);
  return { lines: [...new Set(distinct.map(lineOf))], details: allDetails(distinct) };
}

function distinctFailures(failures: readonly StartFailure[]): AskedFailure[] {
  const found = new Map<KrunError, AskedFailure>();
  for (const { error, askedBy } of failures) {
    found.set(error, { error, askedBy: new Set([...found.get(error)?.askedBy ?? [], askedBy]) });
  }
  return [...found.values()];
}

/** A setting that the message names already is not named twice. */
function describe({ error: { message }, askedBy }: AskedFailure): string {
  const unnamed = [...askedBy].filter((setting) => !message.includes(setting));
  return unnamed.length === 0 ? message : `${message} (asked for by ${unnamed.join(", ")})`;
}

function list(failures: readonly AskedFailure[]): string[] {
  const lines = failures.slice(0, LISTED).map((failure) => `- ${lineOf(failure)}`);
  return failures.length > LISTED ? [...lines, `- and ${failures.length - LISTED} more`] : lines;
}

function lineOf(failure: AskedFailure): string {
  return `${describe(failure)}; ${failure.error.hint}`;
}

/** What each failure would have liked to say, once. */
function allDetails(failures: readonly AskedFailure[]): string[] {
  const texts = [...new Set(failures.flatMap(({ error }) => error.details === undefined ? [] : [error.details]))];
  // Roles come last and as YAML documents, so that all of them are applied together as they are printed.
  const roles = texts.filter((text) => text.startsWith("apiVersion:"));
  const words = texts.filter((text) => !roles.includes(text));
  return roles.length > 0 ? [...words, roles.join("---\n")] : words;
}
