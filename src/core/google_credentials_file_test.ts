import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { parseGoogleCredentials } from "./google_credentials_file.ts";

type Expect = { readonly kind: string; readonly email?: string } | { readonly says: string };

for (const { id, why, input, expect } of loadVectors<{ text: string }, Expect>("google_credentials_file")) {
  Deno.test(`parseGoogleCredentials() ${id}: ${why}`, () => {
    if (!("says" in expect)) {
      const { kind, email } = parseGoogleCredentials("/k.json", input.text);
      return assert.deepEqual({ kind, ...(email !== undefined && { email }) }, expect);
    }
    assert.throws(() => parseGoogleCredentials("/k.json", input.text), (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, "GoogleCredentialsInvalid");
      assert.ok(error.message.includes(expect.says), error.message);
      return true;
    });
  });
}

Deno.test("parseGoogleCredentials() throws nothing but a KrunError that quotes nothing of the file", () => {
  const secret = "s3cret-of-the-file";
  const value = fc.oneof(fc.constant(secret), fc.anything({ values: [fc.constant(secret), fc.string()] }));
  const type = fc.constantFrom(
    "service_account",
    "authorized_user",
    "external_account",
    "impersonated_service_account",
    secret,
  );
  const fields = fc.record({
    type,
    private_key: value,
    token_uri: value,
    token_url: value,
    audience: value,
    source_credentials: value,
  });
  fc.assert(fc.property(fc.oneof(fc.constant(secret), fields.map((f) => JSON.stringify(f))), (text) => {
    try {
      parseGoogleCredentials("/k.json", text);
    } catch (error) {
      assert.ok(error instanceof KrunError, String(error));
      assert.ok(!`${error.message}${error.hint}${error.details}`.includes(secret));
    }
  }));
});
