/**
 * One field of a JSON value, for `?json=`. In: a path as `.users[0].name`, and a text. Out: the field as text.
 *
 * ```
 * PATH := STEP { STEP }
 * STEP := "." NAME | "[" INDEX "]" | "[" JSON_STRING "]"
 * ```
 *
 * @module
 */

/** Name of a member, or index of an element. */
export type JsonStep = string | number;

const STEP = /\.([^.[\]"]+)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]/y;

/** Reads a path; `undefined` when it is none. */
export function parseJsonPath(text: string): readonly JsonStep[] | undefined {
  const steps: JsonStep[] = [];
  STEP.lastIndex = 0;
  for (let at = 0; at < text.length; at = STEP.lastIndex) {
    const [, name, index, quoted] = STEP.exec(text) ?? [];
    const step = name ?? (index === undefined ? unquoted(quoted) : Number(index));
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return steps.length > 0 ? steps : undefined;
}

function unquoted(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : String(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A number as it is written: 12345678901234567890 is no JavaScript number. */
interface RawJson {
  rawJSON(text: string): unknown;
  isRawJSON(value: unknown): boolean;
}

const { rawJSON, isRawJSON } = JSON as unknown as RawJson;

/** What the reader of JSON tells of a value besides itself. */
interface ReviverContext {
  readonly source?: string;
}

/**
 * The field at a path: a string's own text, everything else as JSON, numbers digit by digit as they stand there. `undefined`
 * when there is none, or it is `null`.
 *
 * @throws {SyntaxError} when the text is not JSON, in words that quote none of it.
 */
export function jsonField(text: string, path: readonly JsonStep[]): string | undefined {
  let at = parsed(text);
  for (const step of path) {
    if (typeof at !== "object" || at === null || isRawJSON(at) || Array.isArray(at) !== (typeof step === "number")) {
      return undefined;
    }
    if (!Object.hasOwn(at, step)) return undefined;
    at = (at as Record<JsonStep, unknown>)[step];
  }
  if (at === null || at === undefined) return undefined;
  return typeof at === "string" ? at : JSON.stringify(at);
}

function parsed(text: string): unknown {
  const keepDigits = (_key: string, value: unknown, context?: ReviverContext) =>
    typeof value === "number" && context?.source !== undefined ? rawJSON(context.source) : value;
  try {
    return JSON.parse(text, keepDigits as (key: string, value: unknown) => unknown);
  } catch {
    // The parser's words quote the text, which is a secret.
    throw new SyntaxError("it is not JSON");
  }
}
