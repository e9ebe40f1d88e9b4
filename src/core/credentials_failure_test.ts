import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { type CredentialsContext, credentialsFailure } from "./credentials_failure.ts";
import { CREDENTIAL_KINDS } from "./google_credentials_file.ts";

type Input = CredentialsContext & { readonly name: string; readonly message: string };

for (const { id, why, input, expect } of loadVectors<Input, string>("credentials_failure")) {
  Deno.test(`credentialsFailure() ${id}: ${why}`, () => {
    const error = input.name === "SyntaxError" ? new SyntaxError(input.message) : new Error(input.message);
    assert.equal(credentialsFailure(error, input), expect);
  });
}

Deno.test("credentialsFailure() passes nothing on of what was thrown", () => {
  const source = fc.constantFrom(...["file", "url", "executable", "aws", undefined] as const);
  const before = fc.constantFrom(
    "",
    "The executable returned an invalid response: ",
    "Executable response must ",
    "AWS region ",
  );
  const property = fc.property(
    ...[fc.constantFrom(...CREDENTIAL_KINDS), source, before, fc.string({ minLength: 1 }), fc.boolean()] as const,
    (kind, source, words, text, isError) => {
      const token = `tok3n${text}`;
      const thrown = isError ? new Error(words + token) : token;
      assert.ok(!credentialsFailure(thrown, { kind, source }).includes("tok3n"));
    },
  );
  fc.assert(property);
});
