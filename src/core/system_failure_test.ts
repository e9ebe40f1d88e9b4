import assert from "node:assert/strict";
import { systemFailure } from "./system_failure.ts";

Deno.test("systemFailure() says what a person can use, and of an errno without words the system's, without its number", () => {
  const of = (code: string | undefined, message = "Some words (os error 7): connect x") =>
    systemFailure(Object.assign(new Error(message), code === undefined ? {} : { code }));
  assert.equal(of("ECONNREFUSED", "Connection refused (os error 111)"), "connection refused");
  assert.equal(of("ETIMEDOUT"), "the connection timed out");
  assert.equal(of("EHOSTUNREACH"), "there is no way to that host");
  assert.equal(of("ENETUNREACH"), "there is no way to that network");
  for (const code of [undefined, "ESTRANGE", "constructor"]) assert.equal(of(code), "Some words");
});
