/**
 * Whole texts that a person reads when they change: `tests/testdata/golden/*`.
 *
 * @module
 */
import assert from "node:assert/strict";

/** Compares a text with a golden file; with UPDATE_GOLDEN in the environment the file becomes the text. */
export function assertGolden(file: string, text: string): void {
  const url = new URL(`./testdata/golden/${file}`, import.meta.url);
  if (Deno.env.has("UPDATE_GOLDEN")) Deno.writeTextFileSync(url, text);
  assert.equal(text, Deno.readTextFileSync(url), "run the tests once with UPDATE_GOLDEN=1, and read the difference");
}
