import assert from "node:assert/strict";
import fc from "fast-check";
import { hasPlaces, isOf, type Place, placesOf } from "./name_places.ts";

/** A list that counts how often it is read. */
function counted<Item>(items: readonly Item[]): { readonly list: ArrayLike<Item>; reads: number } {
  const result = {
    reads: 0,
    list: new Proxy(items, {
      get(target, key) {
        if (key !== "length") result.reads++;
        return Reflect.get(target, key);
      },
    }),
  };
  return result;
}

function codesOf(name: string): number[] {
  return Array.from(name, (character) => character.codePointAt(0)!);
}

/** The shell's rules as they are written down, one after the other, with no thought of time. */
function isMeant(name: string, pattern: string): boolean {
  const [first, ...rest] = [...pattern];
  const [character, ...others] = [...name];
  if (first === undefined) return character === undefined;
  const after = rest.join(""), next = others.join("");
  if (first === "*") return isMeant(name, after) || (character !== undefined && isMeant(next, pattern));
  if (character === undefined) return false;
  if (first === "?") return isMeant(next, after);
  const set = /^\[([!^]?)((?:\\[^]|[^\\])(?:\\[^]|[^\]\\])*)\](.*)$/su.exec(pattern);
  // With a negation taken for a member where it cannot be one, the set would end at its first member.
  if (set !== null && !(set[1] === "" && /^[!^]$/.test(set[2]![0]!))) {
    const [, negation, members, tail] = set;
    return isMember(character, members!) !== (negation !== "") && isMeant(next, tail!);
  }
  if (first === "\\" && rest.length > 0) return character === rest[0] && isMeant(next, rest.slice(1).join(""));
  return character === first && isMeant(next, after);
}

function isMember(character: string, members: string): boolean {
  const [, first, dash, last, rest] = /^(\\[^]|[^])(?:(-)(\\[^]|[^]))?(.*)$/su.exec(members) ?? [];
  if (first === undefined) return false;
  const [from, to] = [first, dash ? last! : first].map((one) => one.replace(/^\\(?=.)/s, "").codePointAt(0)!);
  const code = character.codePointAt(0)!;
  return from! <= code && code <= to! || isMember(character, rest!);
}

Deno.test("hasPlaces() means what the rules say, for any pattern", () => {
  const unit = fc.constantFrom("a", "b", "c", "*", "?", "[", "[", "]", "]", "!", "^", "-", "\\", "\u{1f600}", "\udcff");
  const names = fc.string({ unit: fc.constantFrom("a", "b", "c", "[", "]", "!", "-", "\\", "\u{1f600}", "\udcff") });
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 8 }), fc.array(names, { minLength: 5 }), (pattern, some) => {
      const places = placesOf([...pattern])!;
      for (const name of [...some, pattern, pattern.slice(0, 1), pattern.slice(0, 2)]) {
        assert.equal(hasPlaces(codesOf(name), places), isMeant(name, pattern), `${pattern} ${name}`);
      }
    }),
    { numRuns: 3000 },
  );
});

Deno.test("placesOf() looks at each character a few times, whether its brackets end or not", () => {
  const patterns = ["[", "[a", "[]", "[!", "[^]", "[\\", "[a-", "\\[", "*[", "[]]", "[!]-]"];
  const many = patterns.flatMap((part) => {
    const whole = part.repeat(8000 / part.length);
    return [whole, `*${whole}]`, `[${whole}]b`, `${"a".repeat(100)}${whole}`];
  });
  for (const pattern of [...many, "*[" + "a".repeat(8000) + "]b"]) {
    const watch = counted([...pattern]);
    placesOf(watch.list);
    assert.ok(watch.reads <= 10 * pattern.length, `${watch.reads} for ${pattern.slice(0, 10)}`);
  }
});

Deno.test("placesOf() keeps a set as few ranges, and stars as one", () => {
  assert.deepEqual(placesOf([..."*[" + "a".repeat(8000) + "]**b"]), [
    "some",
    { bounds: [97, 97], isNegated: false },
    "some",
    { bounds: [98, 98], isNegated: false },
  ]);
  assert.deepEqual(placesOf([..."[!xa-cb-fz-y0gy]"]), [{ bounds: [48, 48, 97, 103, 120, 121], isNegated: true }]);
});

Deno.test("isOf() looks at few of the ranges of a set", () => {
  const ranges = Array.from({ length: 4000 }, (_, index) => [4 * index, 4 * index + 1]).flat();
  for (const [code, expected] of [[0, true], [8001, true], [8002, false], [15_997, true], [20_000, false]] as const) {
    const bounds = counted(ranges);
    assert.equal(isOf({ bounds: bounds.list, isNegated: false }, code), expected);
    assert.ok(bounds.reads <= 15, `${bounds.reads} reads`);
    assert.equal(isOf({ bounds: ranges, isNegated: true }, code), !expected);
  }
});

Deno.test("hasPlaces() compares no more than length times length", () => {
  const name = codesOf("a".repeat(255));
  for (const pattern of ["*a".repeat(254) + "b", "*" + "a".repeat(127) + "b", "*[!b]".repeat(100) + "[b-d]", "*?b*"]) {
    const watch = counted(name);
    assert.equal(hasPlaces(watch.list, placesOf([...pattern]) as Place[]), false);
    assert.ok(watch.reads <= 255 * 256, `${watch.reads} for ${pattern.slice(0, 10)}`);
  }
});
