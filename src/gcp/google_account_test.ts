import assert from "node:assert/strict";
import { KrunError } from "../core/errors.ts";
import { CLOUD_PLATFORM, type GoogleToken } from "../core/google_token.ts";
import { GoogleAccount, type TokenSource } from "./google_account.ts";
import { type GoogleCall, GoogleHttp } from "./google_http.ts";

const HOUR_MS = 3_600_000;

/** Tokens `t1`, `t2` and so on. */
class CountingSource implements TokenSource {
  readonly describe = "the test";
  asked = 0;
  lifeMs = HOUR_MS;
  failing = false;

  constructor(private readonly nowMs: () => number) {}

  async token(): Promise<GoogleToken> {
    this.asked++;
    await Promise.resolve();
    if (this.failing) throw new KrunError("GoogleCredentialsUnavailable", "Cannot", "do");
    return { token: `t${this.asked}`, expiresAtMs: this.nowMs() + this.lifeMs };
  }

  email(): Promise<string> {
    return Promise.resolve("a@b");
  }
}

function trial(http: GoogleHttp = new GoogleHttp()) {
  const time = { nowMs: 1_000_000 };
  const source = new CountingSource(() => time.nowMs);
  return { time, source, account: new GoogleAccount(source, { http, nowMs: () => time.nowMs }) };
}

Deno.test("GoogleAccount asks once for those who want one token at once, and keeps it until 5 minutes before its end", async () => {
  const { time, source, account } = trial();
  const three = await Promise.all([account.accessToken(), account.accessToken(), account.accessToken()]);
  assert.deepEqual(three.map(({ token }) => token), ["t1", "t1", "t1"]);
  time.nowMs += HOUR_MS - 5 * 60_000 - 1;
  assert.equal((await account.accessToken()).token, "t1");
  time.nowMs += 1;
  assert.equal((await account.accessToken()).token, "t2");
  assert.equal(source.asked, 2);
});

Deno.test("GoogleAccount keeps tokens of other scopes and audiences apart", async () => {
  const { account } = trial();
  const tokens = [
    await account.accessToken([CLOUD_PLATFORM]),
    await account.accessToken(["https://www.googleapis.com/auth/pubsub"]),
    await account.token({ kind: "identity", audience: "a" }),
    await account.token({ kind: "identity", audience: "b" }),
    await account.accessToken([CLOUD_PLATFORM]),
  ];
  assert.deepEqual(tokens.map(({ token }) => token), ["t1", "t2", "t3", "t4", "t1"]);
});

Deno.test("GoogleAccount uses half the life of a token that has little left", async () => {
  const { time, source, account } = trial();
  source.lifeMs = 60_000;
  await account.accessToken();
  time.nowMs += 29_999;
  assert.equal((await account.accessToken()).token, "t1");
  time.nowMs += 1;
  assert.equal((await account.accessToken()).token, "t2");
});

Deno.test("GoogleAccount.grant() counts a token's life from now on, however old the token is", async () => {
  const { time, account } = trial();
  await account.accessToken([CLOUD_PLATFORM]);
  time.nowMs += HOUR_MS / 2;
  const { token, issuedAtMs, expiresAtMs } = await account.grant({ kind: "access", scopes: [CLOUD_PLATFORM] }, {});
  assert.deepEqual([token, expiresAtMs - issuedAtMs], ["t1", HOUR_MS / 2]);
});

Deno.test("GoogleAccount keeps no failure", async () => {
  const { source, account } = trial();
  source.failing = true;
  await assert.rejects(account.accessToken(), { code: "GoogleCredentialsUnavailable" });
  source.failing = false;
  assert.equal((await account.accessToken()).token, "t2");
});

Deno.test("GoogleAccount lets one who waits give up without the others", async () => {
  const { account } = trial();
  const stop = new AbortController();
  const given = account.accessToken(undefined, { signal: stop.signal });
  const other = account.accessToken();
  stop.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  assert.equal((await other).token, "t1");
});

/** Answers 401 to the first token. */
class RefusingHttp extends GoogleHttp {
  readonly bearers: (string | undefined)[] = [];

  override json<T>(call: GoogleCall): Promise<T | undefined> {
    this.bearers.push(call.bearer);
    if (call.bearer === "t1") {
      return Promise.reject(new KrunError("GoogleCredentialsUnavailable", "Cannot: 401", "renew"));
    }
    return Promise.resolve({ ok: true } as T);
  }
}

Deno.test("GoogleAccount.json() asks once more with a new token after a 401, and no third time", async () => {
  const http = new RefusingHttp();
  const { account } = trial(http);
  const request = { what: "try", host: "x.googleapis.com", path: "/" };
  assert.deepEqual(await account.json(request), { ok: true });
  assert.deepEqual(http.bearers, ["t1", "t2"]);
});

Deno.test("GoogleHttp sends nothing to a host that is not Google's, and nothing in the clear beyond this machine", async () => {
  await using http = new GoogleHttp();
  for (
    const host of [
      "evil.example",
      "googleapis.com.evil.example",
      "x.googleapis.com:8443",
      "a@x.googleapis.com",
      "googleapis.com/x",
      "xgoogleapis.com",
    ]
  ) {
    await assert.rejects(http.json({ what: "try", host, path: "/", bearer: "t" }), /no host of Google's/, host);
  }
  await assert.rejects(
    http.raw(new URL("http://x.example/"), { what: "try", method: "GET", headers: [] }),
    /only https is safe/,
  );
});
