import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { accountNames } from "./account_names.ts";
import { type ListedFile, longLine, modeText, timeText } from "./ls_lines.ts";

const accounts = accountNames({
  passwd: "root:x:0:0::/root:/bin/sh\nbob:x:1000:100::/home/bob:\n",
  group: "root:x:0:\nusers:x:100:bob\n",
});

for (const { id, why, input, expect } of loadVectors<ListedFile, string>("ls_line")) {
  Deno.test(`longLine() ${id}: ${why}`, () =>
    assert.equal(longLine(input, { accounts, nowSeconds: 1_700_000_000 }), expect));
}

Deno.test("modeText() has ten characters for any mode", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 0o177777 }),
      (mode) => assert.match(modeText(mode), /^[-?slbdcp][-r][-w][-xsS][-r][-w][-xsS][-r][-w][-xtT]$/),
    ),
  );
});

Deno.test("timeText() gives something for any number", () => {
  fc.assert(fc.property(fc.maxSafeInteger(), (seconds) => assert.ok(timeText(seconds, 0).length >= 12)));
});
