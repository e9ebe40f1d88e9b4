/**
 * Reads the cases that live in data: `tests/testdata/vectors/<unit>/*.json`.
 *
 * @module
 */

/** One case: what goes in, what must come out, and why it is so. */
export interface Vector<Input, Expect> {
  readonly id: string;
  readonly why: string;
  readonly input: Input;
  readonly expect: Expect;
}

/**
 * Every case of a unit, in file order.
 *
 * @throws {Error} when the unit has none (a test without cases must not pass), or two of one id.
 */
export function loadVectors<Input, Expect>(unit: string): Vector<Input, Expect>[] {
  const folder = new URL(`./testdata/vectors/${unit}/`, import.meta.url);
  const names = [...Deno.readDirSync(folder)].map((e) => e.name).filter((n) => n.endsWith(".json")).sort();
  const vectors = names.flatMap((name): Vector<Input, Expect>[] =>
    JSON.parse(Deno.readTextFileSync(new URL(name, folder)))
  );
  if (vectors.length === 0) throw new Error(`no vectors below ${folder.pathname}`);
  const ids = new Set(vectors.map((v) => v.id));
  if (ids.size !== vectors.length) throw new Error(`two vectors of ${unit} share an id`);
  return vectors;
}
