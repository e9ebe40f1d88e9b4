import fc from "fast-check";
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { jwtClaims } from "./jwt.ts";

/** A token with these claims and no valid signature. */
function token(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
}

Deno.test("jwtClaims() reads the claims, in any characters", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (claims) => {
    assert.equal(JSON.stringify(jwtClaims(token(claims))), JSON.stringify(claims));
  }));
});

Deno.test("jwtClaims() gives nothing for what is no token", () => {
  for (const text of ["", "a", "a.b", "a.b.c", "a.e30.c.d", token(1), token(null), "t0ken.%%%.x"]) {
    assert.equal(jwtClaims(text), undefined, text);
  }
  fc.assert(fc.property(fc.string(), (text) => void jwtClaims(text)));
});
