/**
 * The patterns that a shell has for paths: `*`, `?` and `[...]`. In: a pattern, in which a backslash makes the next character stand
 * for itself. Out: whether a name is meant. Rules: POSIX, section 2.13, without its classes in brackets (`[[:digit:]]`).
 *
 * @module
 */
import { hasPlaces, placesOf } from "./name_places.ts";

/** A part of a pattern. */
export type PathPart =
  /** Means itself; perhaps of several names, and their slashes. */
  | { readonly text: string }
  /** Means the names of a folder that match it. */
  | { readonly wildcard: string };

/** A text as a pattern that means that text alone. */
export function patternOfText(text: string): string {
  return text.replace(/[*?[\]\\!^-]/g, "\\$&");
}

/** The text of a pattern that means one text alone; of any other, what a shell takes where nothing matches. */
export function textOfPattern(pattern: string): string {
  return pattern.replace(/\\([^])/g, "$1");
}

/** Whether a pattern may mean more than one text. */
export function isWildcard(pattern: string): boolean {
  return /[*?[]/.test(pattern.replace(/\\[^]/g, ""));
}

/**
 * What tells whether a name is one that the pattern means; `undefined` when no name can be, for want of length. A dot at a name's begin
 * is only met by a dot.
 */
export function nameMatcher(pattern: string): ((name: string) => boolean) | undefined {
  const places = placesOf([...pattern]);
  if (places === undefined) return undefined;
  const isHiddenMeant = textOfPattern(pattern).startsWith(".");
  return (name) =>
    (isHiddenMeant || !name.startsWith(".")) &&
    hasPlaces(Array.from(name, (character) => character.codePointAt(0)!), places);
}

/** The parts of a pattern: its names that are wildcards, and between them all that means itself, as that text. Joined they are the whole. */
export function pathParts(pattern: string): PathPart[] {
  const parts: PathPart[] = [];
  let text = "";
  for (const part of pattern.split(/(\/+)/)) {
    if (!isWildcard(part)) {
      text += textOfPattern(part);
      continue;
    }
    if (text !== "") parts.push({ text });
    text = "";
    parts.push({ wildcard: part });
  }
  return text === "" ? parts : [...parts, { text }];
}
