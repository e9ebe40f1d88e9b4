import assert from "node:assert/strict";
import { lacksKey } from "./missing_key.ts";

Deno.test("lacksKey() names the keys that there are, each once and in order", () => {
  assert.equal(lacksKey("pasword", ["user", "password", "user"]), 'has no key "pasword" (it has "password", "user")');
  assert.equal(lacksKey("a", []), 'has no key "a" (it has none)');
});

Deno.test("lacksKey() names no more than a person would read", () => {
  const words = lacksKey("x", Array.from({ length: 1000 }, (_, i) => `k${i}`));
  assert.match(words, /, "k106" and 990 more\)$/);
});
