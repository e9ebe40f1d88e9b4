/**
 * Texts for other programs that are kept in files: `tests/testdata/golden/`.
 *
 * @module
 */
import assert from "node:assert/strict";

/** Compares a text with the file; with UPDATE_GOLDEN set it writes the file instead. */
export function assertGolden(name: string, text: string): void {
  const file = new URL(`./testdata/golden/${name}`, import.meta.url);
  if (Deno.env.has("UPDATE_GOLDEN")) {
    Deno.mkdirSync(new URL("./", file), { recursive: true });
    Deno.writeTextFileSync(file, text);
  }
  assert.equal(text, Deno.readTextFileSync(file), "run the tests once with UPDATE_GOLDEN=1, and read the difference");
}

/** As {@linkcode assertGolden}, for a value: JSON, indented. */
export function assertGoldenJson(name: string, value: unknown): void {
  assertGolden(name, `${JSON.stringify(value, null, 2)}\n`);
}
