import assert from "node:assert/strict";
import { posix } from "node:path";
import fc from "fast-check";
import { basename, dirname, join, normalize, relative, resolve } from "./posix_path.ts";

/** Paths of the characters that matter, and of any. */
const path = fc.oneof(
  fc.array(fc.constantFrom("a", "b", ".", "..", "/", "//", "...", "..a"), { maxLength: 8 }).map((parts) =>
    parts.join("")
  ),
  fc.array(fc.constantFrom("a", "b", ".", "..", ""), { maxLength: 8 }).map((parts) => parts.join("/")),
  fc.string(),
);
const absolute = path.map((text) => `/${text}`);

Deno.test("normalize(), dirname() and basename() do what node:path does", () => {
  fc.assert(
    fc.property(path, (text) => {
      const normal = posix.normalize(text);
      assert.equal(normalize(text), normal);
      assert.equal(dirname(normal), posix.dirname(normal));
      assert.equal(basename(normal), posix.basename(normal));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("join() does what node:path does", () => {
  fc.assert(
    fc.property(fc.array(path, { maxLength: 4 }), (parts) => assert.equal(join(...parts), posix.join(...parts))),
    {
      numRuns: 3000,
    },
  );
});

Deno.test("resolve() and relative() do what node:path does for absolute folders", () => {
  fc.assert(
    fc.property(absolute, path, (from, to) => {
      assert.equal(resolve(from, to), posix.resolve(from, to));
      assert.equal(relative(from, resolve(from, to)), posix.relative(from, posix.resolve(from, to)));
    }),
    { numRuns: 3000 },
  );
});
