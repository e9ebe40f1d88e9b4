import assert from "node:assert/strict";
import { GoogleAccount, type TokenSource } from "./google_account.ts";
import { GoogleCredentials } from "./google_credentials.ts";
import { GoogleHttp } from "./google_http.ts";

function trial() {
  let asked = 0;
  const state = { isFailing: false };
  const source: TokenSource = {
    describe: "the test",
    token: () =>
      state.isFailing
        ? Promise.reject(new Error("no"))
        : Promise.resolve({ token: `t${++asked}`, expiresAtMs: Date.now() + 3_600_000 }),
    email: () => Promise.resolve(undefined),
  };
  return { state, credentials: new GoogleCredentials(new GoogleAccount(source, { http: new GoogleHttp() })) };
}

Deno.test("GoogleCredentials is the same object as long as the token is the same", async () => {
  const { credentials } = trial();
  const first = await credentials.current();
  assert.deepEqual(first.headers, [["authorization", "Bearer t1"]]);
  assert.equal(await credentials.current(), first);
});

Deno.test("GoogleCredentials.refused() gets another token once, for however many requests the old one was refused", async () => {
  const { credentials } = trial();
  const first = await credentials.current();
  assert.deepEqual(await Promise.all([credentials.refused(first), credentials.refused(first)]), [true, true]);
  assert.deepEqual((await credentials.current()).headers, [["authorization", "Bearer t2"]]);
});
