import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { exactPath, mountPath, type MountPathOptions } from "./mount_path.ts";

type Input = MountPathOptions & { readonly path: string };

for (const { id, why, input, expect } of loadVectors<Input, string | { error: string }>("mount_path")) {
  Deno.test(`mountPath() ${id}: ${why}`, () => {
    if (typeof expect === "string") assert.equal(mountPath(input.path, input), expect);
    else assert.throws(() => mountPath(input.path, input), { code: expect.error });
  });
}

Deno.test("mountPath() gives a path below the base and the same for its own result, or PathInvalid, when given any text", () => {
  const element = fc.oneof(fc.constantFrom("..", ".", "", "b", "a", ".krun"), fc.string());
  const text = fc.array(element).map((names) => names.join("/"));
  fc.assert(fc.property(text, fc.constantFrom("/", "/b", "/b/a"), (path, base) => {
    const options = { base, cwd: "/" };
    let full: string;
    try {
      full = mountPath(path, options);
    } catch (error) {
      assert.ok(error instanceof KrunError && error.code === "PathInvalid");
      return;
    }
    assert.ok(full.startsWith(base === "/" ? "/" : `${base}/`));
    assert.ok(!full.split("/").includes(".."));
    assert.equal(mountPath(full, options), full);
  }));
});

Deno.test("mountPath() says what is wrong with a path, and what to do about that", () => {
  const cases: [path: string, state: RegExp, hint: RegExp][] = [
    ["", /it is empty$/, /name a path/],
    ["a\0b", /NUL character$/, /without it/],
    ["a/../b", /the element "\.\."$/, /without two dots/],
    [".", /the base itself$/, /a path below the base/],
    [".krun/x", /krun's own folder$/, /another path/],
    ["d/".repeat(2100), /longer than 4095 bytes$/, /shorter path/],
    ["ä".repeat(128), /longer than 255 bytes$/, /shorter elements/],
  ];
  for (const [path, state, hint] of cases) {
    assert.throws(() => mountPath(path, { base: "/srv", cwd: "/" }), (error: KrunError) => {
      assert.equal(error.code, "PathInvalid");
      assert.match(error.message, state);
      assert.match(error.hint, hint);
      return true;
    });
  }
});

Deno.test("exactPath() gives the absolute path itself, cleaned, and refuses what no path can be", () => {
  assert.equal(exactPath("/etc/tls/../key.pem"), "/etc/key.pem");
  assert.equal(exactPath("/a//b/./c"), "/a/b/c");
  for (const none of ["/a\0b", `/${"x".repeat(256)}`, `/${"x/".repeat(2100)}y`]) {
    assert.throws(() => exactPath(none), { code: "PathInvalid" });
  }
});
