/**
 * The patterns that a shell has for paths: `*`, `?` and `[...]`. In: a pattern, in which a backslash makes the next character stand
 * for itself. Out: whether a name is meant. Rules: POSIX, section 2.13, without its classes in brackets (`[[:digit:]]`).
 *
 * @module
 */

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

/** One place of a pattern: any characters, or one of those that it takes. */
type Place = "*" | ((character: string) => boolean);

/**
 * What tells whether a name is one that the pattern means. A dot at a name's begin is only met by a dot. Takes time of length times
 * length at most.
 */
export function nameMatcher(pattern: string): (name: string) => boolean {
  const places = placesOf(pattern);
  const isHiddenMeant = textOfPattern(pattern).startsWith(".");
  return (name) => (isHiddenMeant || !name.startsWith(".")) && isMet([...name], places);
}

function isMet(characters: readonly string[], places: readonly Place[]): boolean {
  let at = 0, place = 0;
  // Where the last star was, and what it has swallowed: only that one ever has to take more.
  let star = -1, swallowed = 0;
  while (at < characters.length) {
    const current = places[place];
    if (current === "*") {
      star = place++;
      swallowed = at;
    } else if (current?.(characters[at]!)) {
      at++;
      place++;
    } else if (star >= 0) {
      place = star + 1;
      at = ++swallowed;
    } else return false;
  }
  while (places[place] === "*") place++;
  return place === places.length;
}

function placesOf(pattern: string): Place[] {
  const places: Place[] = [];
  const part = /\\([^])|(\*)|(\?)|\[([!^]?)(\](?:\\[^]|[^\]\\])*|(?:\\[^]|[^\]\\])+)\]|([^])/gyu;
  for (const [, escaped, star, any, negation, set, plain] of pattern.matchAll(part)) {
    if (star) places.push("*");
    else if (any) places.push(() => true);
    else if (set !== undefined) places.push(setOf(set, negation !== ""));
    else places.push((character) => character === (escaped ?? plain));
  }
  return places;
}

/** What stands in brackets: characters, and ranges by code point. */
function setOf(set: string, isNegated: boolean): (character: string) => boolean {
  const ranges = [...set.matchAll(/(?:\\([^])|([^]))(?:-(?:\\([^])|([^])))?/gu)].map(([, first, plain, last, end]) => {
    const from = (first ?? plain)!;
    return [from, last ?? end ?? from].map((character) => character.codePointAt(0)!);
  });
  return (character) => {
    const code = character.codePointAt(0)!;
    return ranges.some(([from, to]) => from! <= code && code <= to!) !== isNegated;
  };
}
