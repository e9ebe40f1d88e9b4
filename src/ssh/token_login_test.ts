import fc from "fast-check";
import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import type { AccessVerdict, TokenVerdict } from "../core/cluster.ts";
import { judgeToken, sshAudience } from "./token_login.ts";
import { Turns } from "../core/turns.ts";

const AUDIENCE = "krun-ssh/shop";
const ANN = { username: "system:serviceaccount:shop:ann", groups: ["system:serviceaccounts"] };

/** A cluster that notes what it is asked. */
function cluster(
  { token = { authenticated: true, user: ANN }, access = { allowed: true, reason: "" } }: {
    token?: TokenVerdict;
    access?: AccessVerdict;
  } = {},
) {
  const asked: unknown[] = [];
  return {
    asked,
    reviewToken: (text: string, { audience }: { audience: string }) => {
      asked.push([text, audience]);
      return Promise.resolve(token);
    },
    accessOf: (request: unknown) => {
      asked.push(request);
      return Promise.resolve(access);
    },
  };
}

function token(claims: unknown): string {
  const text = new TextEncoder().encode(typeof claims === "string" ? claims : JSON.stringify(claims));
  return `e30.${text.toBase64({ alphabet: "base64url", omitPadding: true })}.c2ln`;
}

function judge(text: string, by = cluster()) {
  const { signal } = new AbortController();
  return judgeToken(text, { cluster: by, namespace: "shop", signal, turns: new Turns(1), clock: new FakeClock() });
}

Deno.test("judgeToken() lets in whose token the cluster knows and who may create pods/exec in the namespace", async () => {
  const by = cluster();
  const shown = token({ aud: [AUDIENCE], sub: "anything" });
  assert.deepEqual(await judge(shown, by), { allowed: true, username: ANN.username });
  const access = { user: ANN, verb: "create", resource: "pods/exec", namespace: "shop" };
  assert.deepEqual(by.asked, [[shown, AUDIENCE], access]);
  assert.equal((await judge(token({ aud: AUDIENCE }))).allowed, true, "RFC 7519: one audience need not be a list");
});

Deno.test("judgeToken() says when the token ends, to the millisecond, where it says so itself", async () => {
  const ends = async (claims: object) => {
    const verdict = await judge(token({ aud: [AUDIENCE], ...claims }));
    return verdict.allowed && verdict.expiresAtMs;
  };
  assert.equal(await ends({ exp: 1_938_000_000 }), 1_938_000_000_000);
  assert.equal(await ends({ exp: 1_938_000_000.5, nbf: 1, iat: 2 }), 1_938_000_000_500);
  assert.equal(await ends({ exp: "1938000000" }), undefined);
  assert.equal(await ends({}), undefined);
});

Deno.test("judgeToken() shows nobody a token that is for anybody else, or that says nothing of that", async () => {
  const API = "https://kubernetes.default.svc";
  const others: unknown[] = [
    { aud: [API] },
    { aud: [AUDIENCE, API] },
    { aud: [AUDIENCE, AUDIENCE] },
    { aud: ["krun-ssh/other"] },
    { aud: [`${AUDIENCE} `] },
    { aud: [AUDIENCE, 7] },
    { aud: [] },
    { aud: { 0: AUDIENCE, length: 1 } },
    { aud: 7 },
    { aud: null },
    {},
    [],
    "no JSON",
  ];
  for (const claims of others) {
    const by = cluster();
    const verdict = await judge(token(claims), by);
    assert.equal(verdict.allowed, false, JSON.stringify(claims));
    assert.ok(!verdict.allowed && verdict.reason.endsWith(`and must have ${AUDIENCE} alone`), JSON.stringify(verdict));
    assert.deepEqual(by.asked, []);
  }
  for (const text of ["", "token", "a.b", "a.b.c.d", token({ aud: [AUDIENCE] }) + ".x"]) {
    const by = cluster();
    assert.equal((await judge(text, by)).allowed, false);
    assert.deepEqual(by.asked, []);
  }
});

Deno.test("judgeToken() shows no token on, whatever a stranger says, unless it is for this namespace's logins alone", async () => {
  const text = fc.oneof(fc.string(), fc.json().map(token), fc.record({ aud: fc.jsonValue() }).map(token));
  await fc.assert(fc.asyncProperty(text, async (shown) => {
    const by = cluster();
    assert.equal((await judge(shown, by)).allowed, false);
    assert.deepEqual(by.asked, []);
  }));
});

Deno.test("judgeToken() never has the token in a reason", async () => {
  const shown = token({ aud: ["x".repeat(5_000)] });
  const verdict = await judge(shown);
  assert.ok(!verdict.allowed && verdict.reason.length < 400 && !verdict.reason.includes(shown.slice(4, 40)));
});

Deno.test("judgeToken() refuses what the cluster does not know, for the cluster's reason", async () => {
  const by = cluster({ token: { authenticated: false, reason: "token has expired" } });
  assert.deepEqual(await judge(token({ aud: [AUDIENCE] }), by), { allowed: false, reason: "token has expired" });
  assert.equal(by.asked.length, 1);
});

Deno.test("judgeToken() refuses who may not create pods/exec, and names them", async () => {
  const shown = token({ aud: [AUDIENCE] });
  const refusal = (why: string) => ({
    allowed: false,
    reason: `may not create pods/exec in namespace "shop"${why}`,
    username: ANN.username,
  });
  assert.deepEqual(await judge(shown, cluster({ access: { allowed: false, reason: "" } })), refusal(""));
  assert.deepEqual(await judge(shown, cluster({ access: { allowed: false, reason: "no" } })), refusal(": no"));
});

Deno.test("sshAudience() is the namespace's own", () => assert.equal(sshAudience("shop"), AUDIENCE));

Deno.test("judgeToken() asks about so many tokens at once, and about none when krun ends", async () => {
  let underWay = 0, most = 0;
  const by = cluster();
  const reviewToken: typeof by.reviewToken = async (...args) => {
    most = Math.max(most, ++underWay);
    const verdict = await by.reviewToken(...args);
    underWay--;
    return verdict;
  };
  const over = new AbortController();
  const options = {
    ...{ cluster: { ...by, reviewToken }, namespace: "shop", signal: over.signal, turns: new Turns(2) },
    clock: new FakeClock(),
  };
  const shown = token({ aud: [AUDIENCE] });
  const all = await Promise.all(Array.from({ length: 10 }, () => judgeToken(shown, options)));
  assert.ok(all.every(({ allowed }) => allowed));
  assert.equal(most, 2);
  const { length } = by.asked;
  over.abort();
  await assert.rejects(judgeToken(shown, options), { name: "AbortError" });
  assert.equal(by.asked.length, length);
});

Deno.test("judgeToken() gives up an API server that does not answer, and whoever waits for their turn meanwhile", async () => {
  const clock = new FakeClock();
  const aborted: unknown[] = [];
  const by = cluster();
  let hangs = true;
  const reviewToken: typeof by.reviewToken = (
    text,
    { signal, ...options }: { audience: string; signal?: AbortSignal },
  ) => {
    if (!hangs) return by.reviewToken(text, options);
    return new Promise((_, reject) =>
      signal!.addEventListener("abort", () => {
        aborted.push(text);
        reject(new Error("aborted"));
      })
    );
  };
  const { signal } = new AbortController();
  const options = { cluster: { ...by, reviewToken }, namespace: "shop", signal, turns: new Turns(1), clock };
  const shown = token({ aud: [AUDIENCE] });
  const refused = [1, 2].map(() => assert.rejects(judgeToken(shown, options), { code: "ClusterUnreachable" }));
  await clock.pass(4_999);
  assert.deepEqual(aborted, []);
  await clock.pass(1);
  await Promise.all(refused);
  assert.equal(aborted[0], shown);
  hangs = false;
  assert.equal((await judgeToken(shown, options)).allowed, true);
});
