/**
 * Where the arrays of a JSON object stand in its text. In: the text of an object, well formed. Out: places of arrays and elements.
 *
 * @module
 */

/** From the first letter to the one after the last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A value of the object; its elements where it is an array. */
export interface ValueSpan extends Span {
  readonly elements?: readonly Span[];
}

/** The values of the outermost object by their keys; empty when the text is no such object. */
export function jsonArrays(text: string): ReadonlyMap<string, ValueSpan> {
  const values = new Map<string, ValueSpan>();
  let at = skipBlank(text, 0);
  if (text[at] !== "{") return values;
  at = skipBlank(text, at + 1);
  while (at < text.length && text[at] !== "}") {
    const key = { start: at, end: endOf(text, at) };
    const start = skipBlank(text, skipBlank(text, key.end) + 1);
    const end = endOf(text, start);
    const elements = text[start] === "[" ? elementsOf(text, start) : undefined;
    values.set(textOf(text.slice(key.start, key.end)), { start, end, ...(elements && { elements }) });
    at = skipBlank(text, end);
    if (text[at] === ",") at = skipBlank(text, at + 1);
  }
  return values;
}

function elementsOf(text: string, start: number): Span[] {
  const elements: Span[] = [];
  let at = skipBlank(text, start + 1);
  while (at < text.length && text[at] !== "]") {
    const end = endOf(text, at);
    elements.push({ start: at, end });
    at = skipBlank(text, end);
    if (text[at] === ",") at = skipBlank(text, at + 1);
  }
  return elements;
}

/** The end of the value that begins there. Always beyond its start, so that no text makes a loop endless. */
function endOf(text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start);
  if (text[start] !== "{" && text[start] !== "[") {
    const [word = ""] = /^[^\s,:{}[\]"]+/.exec(text.slice(start)) ?? [];
    return start + Math.max(word.length, 1);
  }
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const letter = text[at]!;
    if (letter === '"') at = endOfString(text, at) - 1;
    else if ("{[".includes(letter)) depth++;
    else if ("}]".includes(letter) && --depth === 0) return at + 1;
  }
  return text.length;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

function skipBlank(text: string, at: number): number {
  while (at < text.length && /\s/.test(text[at]!)) at++;
  return at;
}

function textOf(json: string): string {
  try {
    return String(JSON.parse(json));
  } catch {
    return json;
  }
}
