/**
 * All failures of a start in one. In: each failure and the setting that asked. Out: the one error that a person reads.
 *
 * @module
 */
import { accessRoles } from "./access_role.ts";
import { KrunError } from "./errors.ts";

/** One failure. */
export interface StartFailure {
  /** The same one for everybody who met it. */
  readonly error: KrunError;
  /** The setting that asked for what failed. */
  readonly askedBy: string;
  /** It is told whatever else there is to tell. @default {20 are} */
  readonly isListed?: boolean;
}

/** A person reads no more than these; the rest is counted. */
const LISTED = 20;

/** The failures of one cause, with everybody who asked. */
interface AskedFailure {
  /** At least one. */
  readonly errors: ReadonlySet<KrunError>;
  readonly askedBy: ReadonlySet<string>;
  /** It is told whatever else there is to tell. */
  readonly isListed: boolean;
}

/**
 * One error for all failures: the code, message and hint of the first that will not pass by itself, else of the first;
 * every failure and what each would have liked to say (the Role for a 403) in `details`. What several objects or settings met
 * for one cause is one failure, which names them all.
 *
 * @throws {RangeError} when there is none.
 */
export function startFailure(failures: readonly StartFailure[]): KrunError {
  const distinct = distinctFailures(failures);
  const first = distinct.find((failure) => !errorOf(failure).transient) ?? distinct[0];
  if (first === undefined) throw new RangeError("Cannot describe a start without failures");
  const error = errorOf(first);
  const errors = distinct.flatMap((failure) => [...failure.errors]);
  const others = distinct.length - 1;
  const more = others === 0 ? "" : others === 1 ? ", and 1 more failure" : `, and ${others} more failures`;
  const details = [...(others > 0 ? list(distinct) : []), ...allDetails(distinct)].join("\n");
  return new KrunError(error.code, describe(first) + more, error.hint, {
    cause: errors.length === 1 ? error : new AggregateError(errors, describe(first)),
    transient: error.transient,
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(details !== "" && { details }),
    ...(errors.length === 1 && error.missing && { missing: error.missing }),
  });
}

/** The failures that are told as one, each by itself. */
export function singleFailures(error: KrunError): KrunError[] {
  const { cause } = error;
  const errors = cause instanceof AggregateError ? cause.errors.filter((one) => one instanceof KrunError) : [];
  return errors.length > 0 ? errors : [error];
}

/** All failures for a report: a line each, with what to do, and what each would have liked to say besides. */
export function failureTexts(failures: readonly StartFailure[]): { lines: string[]; details: string[] } {
  const distinct = distinctFailures(failures);
  return { lines: [...new Set(distinct.map(lineOf))], details: allDetails(distinct) };
}

function distinctFailures(failures: readonly StartFailure[]): AskedFailure[] {
  const found = new Map<string, { errors: Set<KrunError>; askedBy: Set<string>; isListed: boolean }>();
  for (const { error, askedBy, isListed = false } of failures) {
    const { code, message, sharedEnd = message, hint, details } = error;
    // What is to be listed has a line of its own, whatever others met the same.
    const id = JSON.stringify([code, isListed ? message : sharedEnd, hint, details]);
    const failure = found.get(id) ?? { errors: new Set(), askedBy: new Set(), isListed };
    failure.errors.add(error);
    failure.askedBy.add(askedBy);
    found.set(id, failure);
  }
  return [...found.values()];
}

function errorOf({ errors }: AskedFailure): KrunError {
  const [error] = errors;
  return error!;
}

/** What all have in common is said once. */
function messageOf(failure: AskedFailure): string {
  const { message, sharedEnd = "" } = errorOf(failure);
  const messages = new Set([...failure.errors].map((error) => error.message));
  if (messages.size === 1) return message;
  return `Cannot ${listed([...messages].map((text) => text.slice("Cannot ".length, -sharedEnd.length)))}${sharedEnd}`;
}

function listed(parts: readonly string[]): string {
  const more = parts.length - LISTED;
  return parts.slice(0, LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** A setting that the message names already is not named twice. */
function describe(failure: AskedFailure): string {
  const message = messageOf(failure);
  const unnamed = [...failure.askedBy].filter((setting) => !message.includes(setting));
  return unnamed.length === 0 ? message : `${message} (asked for by ${listed(unnamed)})`;
}

function list(failures: readonly AskedFailure[]): string[] {
  const listed = failures.filter(({ isListed }, at) => isListed || at < LISTED);
  const lines = listed.map((failure) => `- ${lineOf(failure)}`);
  return failures.length > listed.length ? [...lines, `- and ${failures.length - listed.length} more`] : lines;
}

function lineOf(failure: AskedFailure): string {
  return `${describe(failure)}; ${errorOf(failure).hint}`;
}

/** What each failure would have liked to say, once. */
function allDetails(failures: readonly AskedFailure[]): string[] {
  const errors = failures.map(errorOf);
  const words = [...new Set(errors.flatMap(({ details, missing }) => missing === undefined ? details ?? [] : []))];
  // Roles come last and as YAML documents, so that all of them are applied together as they are printed.
  const roles = accessRoles(errors.flatMap(({ missing }) => missing ?? []));
  return roles.length > 0 ? [...words, roles.join("---\n")] : words;
}
