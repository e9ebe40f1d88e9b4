/**
 * What a pattern means at each place of a name. In: characters. Out: places, and whether a name has them. Rules: POSIX, section 2.13,
 * without its classes in brackets (`[[:digit:]]`).
 *
 * Patterns are a stranger's, and krun does nothing else meanwhile: reading one looks at each character a few times, and a name of n
 * characters is compared n times n times at most, however the pattern is made.
 *
 * @module
 */

/** No name has more bytes (NAME_MAX, limits.h), so none has more characters. */
export const LONGEST_NAME = 255;

/** One of some characters: ranges of code points one after the other, each as its first and its last; none touches the next. */
export interface CharacterSet {
  readonly bounds: ArrayLike<number>;
  /** It is a character that is in none of the ranges. */
  readonly isNegated: boolean;
}

/** Any characters, also none; any one; or one of a set. */
export type Place = "some" | "one" | CharacterSet;

/** The places of a pattern, given as its characters; `undefined` when no name is long enough for them. */
export function placesOf(characters: ArrayLike<string>): Place[] | undefined {
  const places: Place[] = [];
  const last = lastBracket(characters);
  let least = 0;
  for (let at = 0; at < characters.length;) {
    const character = characters[at]!;
    if (character === "*") {
      if (places.at(-1) !== "some") places.push("some");
      at++;
      continue;
    }
    if (++least > LONGEST_NAME) return undefined;
    const read = character === "?" ? { place: "one" as const, next: at + 1 } : setOrText(characters, { at, last });
    places.push(read.place);
    at = read.next;
  }
  return places;
}

/** Whether a name, given as its code points, is one that has these places. */
export function hasPlaces(codes: ArrayLike<number>, places: readonly Place[]): boolean {
  let at = 0, index = 0;
  // Where the last star was, and what it has swallowed: only that one ever has to take more.
  let star = -1, swallowed = 0;
  while (at < codes.length) {
    const place = places[index];
    if (place === "some") {
      star = index++;
      swallowed = at;
    } else if (place === "one" || (place !== undefined && isOf(place, codes[at]!))) {
      at++;
      index++;
    } else if (star >= 0) {
      index = star + 1;
      at = ++swallowed;
    } else return false;
  }
  while (places[index] === "some") index++;
  return index === places.length;
}

/** Whether a set has a code point. */
export function isOf({ bounds, isNegated }: CharacterSet, code: number): boolean {
  let low = 0, high = bounds.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[2 * middle + 1]! < code) low = middle + 1;
    else high = middle;
  }
  return (2 * low < bounds.length && bounds[2 * low]! <= code) !== isNegated;
}

/** Where the last bracket is that may end a set: before it every set ends, so that none is looked for in vain. */
function lastBracket(characters: ArrayLike<string>): number {
  let last = -1;
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    if (character === "\\") at++;
    else if (character === "]") last = at;
  }
  return last;
}

interface ReadPlace {
  readonly place: CharacterSet;
  /** Where the next begins. */
  readonly next: number;
}

/** A set, or a character that stands for itself: a bracket does where no other ends it. */
function setOrText(
  characters: ArrayLike<string>,
  { at, last }: { readonly at: number; readonly last: number },
): ReadPlace {
  const isNegated = characters[at + 1] === "!" || characters[at + 1] === "^";
  const first = at + (isNegated ? 2 : 1);
  if (characters[at] !== "[" || last <= first) {
    const { code, next } = member(characters, at);
    return { place: { bounds: [code, code], isNegated: false }, next };
  }
  const ranges: (readonly [number, number])[] = [];
  // A bracket that comes first is one of the set.
  for (at = first; at === first || characters[at] !== "]";) {
    const { code, next } = member(characters, at);
    const isRange = characters[next] === "-" && characters[next + 1] !== "]";
    const end = isRange ? member(characters, next + 1) : { code, next };
    if (code <= end.code) ranges.push([code, end.code]);
    at = end.next;
  }
  return { place: { bounds: joined(ranges), isNegated }, next: at + 1 };
}

function member(characters: ArrayLike<string>, at: number): { readonly code: number; readonly next: number } {
  const isEscaped = characters[at] === "\\" && at + 1 < characters.length;
  const place = isEscaped ? at + 1 : at;
  return { code: characters[place]!.codePointAt(0)!, next: place + 1 };
}

/** In order, those that overlap or touch as one. */
function joined(ranges: readonly (readonly [number, number])[]): number[] {
  const bounds: number[] = [];
  for (const [from, to] of ranges.toSorted(([one], [other]) => one - other)) {
    const end = bounds.at(-1);
    if (end !== undefined && from <= end + 1) bounds[bounds.length - 1] = Math.max(end, to);
    else bounds.push(from, to);
  }
  return bounds;
}
