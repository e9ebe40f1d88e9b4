import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { googleSign, missingWithoutMetadata, type PlatformClues, settingsMissing } from "./google_platform.ts";
import type { GoogleSettings } from "./google_settings.ts";

for (const { id, why, input, expect } of loadVectors<PlatformClues, string | null>("google_sign")) {
  Deno.test(`googleSign() ${id}: ${why}`, () => assert.equal(googleSign(input) ?? null, expect));
}

for (const v of loadVectors<{ google: GoogleSettings; namesNamespace: boolean }, string[]>("google_missing")) {
  Deno.test(`missingWithoutMetadata() ${v.id}: ${v.why}`, () => {
    assert.deepEqual(missingWithoutMetadata(v.input.google, v.input), v.expect);
  });
}

Deno.test("settingsMissing() names all of them in one line when several are missing", () => {
  const { code, message, hint } = settingsMissing(["A", "B", "C or D"], "nobody answers");
  assert.equal(code, "GoogleSettingsMissing");
  assert.match(message, /: nobody answers, and A, B and C or D are not set$/);
  assert.equal(hint, "set them");
});
