/** The fakes of Google's servers themselves: each refuses what Google refuses, or a test that passes with them would show nothing. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { FakeGoogle } from "./fakes/google_cloud.ts";
import { rsaKey } from "./fakes/google_tokens.ts";

const PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const KRUN = "krun@acme-shop-prod.iam.gserviceaccount.com";
const WEB = "web@acme-shop-prod.iam.gserviceaccount.com";

interface Ask {
  readonly host: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly method?: string;
}

async function ask(google: FakeGoogle, { host, path, headers = {}, body, method }: Ask) {
  const isForm = body instanceof URLSearchParams;
  const response = await google.answer(
    new Request(`https://${host}${path}`, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers: { ...(body === undefined || isForm ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    }),
    host,
  );
  return { status: response.status, text: await response.text(), headers: response.headers };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const flavor = { "metadata-flavor": "Google" };

Deno.test("the fake metadata server obeys the rules of the real one", async () => {
  const google = await FakeGoogle.create();
  const metadata = (path: string, headers: Record<string, string> = flavor, method?: string) =>
    ask(google, {
      host: "metadata.google.internal",
      path: `/computeMetadata/v1/${path}`,
      headers,
      ...(method && { method }),
    });
  const { text, headers } = await metadata("project/project-id");
  assert.equal(text, google.project.id);
  assert.equal(headers.get("metadata-flavor"), "Google");
  const token = JSON.parse((await metadata("instance/service-accounts/default/token")).text);
  assert.equal(google.tokens.worth(token.access_token)?.identity, KRUN);
  assert.deepEqual([token.token_type, token.expires_in], ["Bearer", 3600]);
  for (
    const [why, status, answer] of [
      ["no header", 403, metadata("project/project-id", {})],
      ["another flavour", 403, metadata("project/project-id", { "metadata-flavor": "google" })],
      ["through a proxy", 403, metadata("project/project-id", { ...flavor, "x-forwarded-for": "10.0.0.1" })],
      ["POST", 405, metadata("project/project-id", flavor, "POST")],
      ["nothing there", 404, metadata("instance/attributes/cluster-name")],
      ["no audience", 400, metadata("instance/service-accounts/default/identity")],
      ["an unknown parameter", 400, metadata("instance/service-accounts/default/identity?audience=a&x=1")],
      ["an unknown format", 400, metadata("instance/service-accounts/default/identity?audience=a&format=jwt")],
      ["an unknown parameter", 400, metadata("instance/service-accounts/default/token?scope=a")],
      ["an empty scope", 400, metadata("instance/service-accounts/default/token?scopes=")],
    ] as const
  ) assert.equal((await answer).status, status, why);
  const identity = (query: string) => metadata(`instance/service-accounts/default/identity?audience=a${query}`);
  assert.equal((await google.tokens.verify((await identity("&format=full")).text, "a")).email, KRUN);
  assert.equal((await google.tokens.verify((await identity("")).text, "a")).email, undefined);
  // A VM gives no scope beyond its own.
  google.accessScopes = ["https://www.googleapis.com/auth/devstorage.read_only"];
  for (const query of ["", `?scopes=${PLATFORM},${google.accessScopes[0]}`]) {
    const { access_token } = JSON.parse((await metadata(`instance/service-accounts/default/token${query}`)).text);
    assert.deepEqual(google.tokens.worth(access_token)?.scopes, google.accessScopes);
  }
  google.account = undefined;
  assert.equal((await metadata("instance/service-accounts/default/token")).status, 404);
});

Deno.test("the fake APIs refuse tokens that are ended, of another kind, or without the scope or the permission", async () => {
  const google = await FakeGoogle.create();
  const list = { host: "container.googleapis.com", path: "/v1/projects/acme-shop-prod/locations/-/clusters" };
  const { token } = google.tokens.access(KRUN, [PLATFORM]);
  const status = async (headers: Record<string, string>) => (await ask(google, { ...list, headers })).status;
  assert.equal(await status(bearer(token)), 403);
  google.grant(KRUN, "container.clusters.list");
  assert.equal(await status(bearer(token)), 200);
  assert.equal(await status({}), 401);
  assert.equal(await status(bearer(google.tokens.access(KRUN, ["https://www.googleapis.com/auth/pubsub"]).token)), 403);
  assert.equal(await status(bearer(await google.tokens.identity(KRUN, "https://container.googleapis.com"))), 401);
  assert.equal(await status(bearer(google.tokens.access(WEB, [PLATFORM]).token)), 403);
  google.tokens.revokeAll();
  assert.equal(await status(bearer(token)), 401);
});

Deno.test("the fake APIs refuse paths, parameters and fields that they do not know", async () => {
  const google = await FakeGoogle.create();
  google.grant(KRUN, "container.clusters.list", "gkehub.memberships.list", `${WEB}/iam.serviceAccounts.getAccessToken`);
  const headers = bearer(google.tokens.access(KRUN, [PLATFORM]).token);
  const generate = {
    host: "iamcredentials.googleapis.com",
    path: `/v1/projects/-/serviceAccounts/${WEB}:generateAccessToken`,
    headers,
  };
  for (
    const [why, status, request] of [
      ["singular", 404, {
        host: "container.googleapis.com",
        path: "/v1/projects/acme-shop-prod/locations/-/cluster",
        headers,
      }],
      ["a parameter", 400, {
        host: "container.googleapis.com",
        path: "/v1/projects/acme-shop-prod/locations/-/clusters?x=1",
        headers,
      }],
      ["another project", 403, {
        host: "container.googleapis.com",
        path: "/v1/projects/other/locations/-/clusters",
        headers,
      }],
      ["an unknown field", 400, { ...generate, body: { scope: [PLATFORM], scopes: [] } }],
      ["a field of another type", 400, { ...generate, body: { scope: PLATFORM } }],
      ["a missing field", 400, { ...generate, body: {} }],
      ["no JSON", 400, { ...generate, body: new URLSearchParams({ scope: PLATFORM }) }],
      ["as it should be", 200, { ...generate, body: { scope: [PLATFORM], lifetime: "3600s" } }],
      ["too long a life", 400, { ...generate, body: { scope: [PLATFORM], lifetime: "3601s" } }],
      ["no life", 400, { ...generate, body: { scope: [PLATFORM], lifetime: "1h" } }],
      ["a delegate that is none", 400, { ...generate, body: { scope: [PLATFORM], delegates: [KRUN] } }],
      ["a delegate that may not", 403, {
        ...generate,
        body: { scope: [PLATFORM], delegates: [`projects/-/serviceAccounts/${KRUN}`] },
      }],
      ["another host", 421, { host: "evil.example", path: "/", headers }],
    ] as const
  ) assert.equal((await ask(google, request)).status, status, why);
});

Deno.test("the fake Security Token Service believes a provider's tokens for its audience alone", async () => {
  const google = await FakeGoogle.create();
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
  const stsAudience =
    "identitynamespace:p.svc.id.goog:https://container.googleapis.com/v1/projects/p/locations/l/clusters/c";
  const jwk = { ...await crypto.subtle.exportKey("jwk", keys.publicKey), alg: "ES256" } as JsonWebKey;
  google.providers = [{ stsAudience, tokenAudience: "p.svc.id.goog", keys: () => Promise.resolve([jwk]) }];
  const subject = (audience: string, key = keys.privateKey) =>
    new SignJWT({}).setProtectedHeader({ alg: "ES256" }).setSubject("system:serviceaccount:shop:default").setAudience(
      audience,
    )
      .setIssuedAt().setExpirationTime("10m").sign(key);
  const body = {
    grantType: "urn:ietf:params:oauth:grant-type:token-exchange",
    requestedTokenType: "urn:ietf:params:oauth:token-type:access_token",
    subjectTokenType: "urn:ietf:params:oauth:token-type:jwt",
    audience: stsAudience,
    scope: PLATFORM,
    subjectToken: await subject("p.svc.id.goog"),
  };
  const exchange = (changed: Record<string, unknown>) =>
    ask(google, { host: "sts.googleapis.com", path: "/v1/token", body: { ...body, ...changed } });
  const { access_token } = JSON.parse((await exchange({})).text);
  assert.equal(google.tokens.worth(access_token)?.identity, "serviceAccount:p.svc.id.goog[shop/default]");
  const stranger = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
  ]) as CryptoKeyPair;
  for (
    const [why, error, changed] of [
      ["another audience of the token", "invalid_grant", {
        subjectToken: await subject("https://kubernetes.default.svc"),
      }],
      ["another issuer", "invalid_grant", { subjectToken: await subject("p.svc.id.goog", stranger.privateKey) }],
      ["another provider", "invalid_target", { audience: `${stsAudience}x` }],
      ["no scope", "invalid_scope", { scope: "" }],
      ["another grant", "unsupported_grant_type", { grantType: "refresh_token" }],
      ["another kind of subject", "invalid_request", { subjectTokenType: "urn:ietf:params:oauth:token-type:id_token" }],
    ] as const
  ) {
    const { status, text } = await exchange(changed);
    assert.deepEqual([status, JSON.parse(text).error], [400, error], why);
  }
  assert.equal((await exchange({ unknown: "x" })).status, 400);
});

Deno.test("the fake OAuth endpoint believes a service account's own key alone", async () => {
  const google = await FakeGoogle.create();
  const { private_key } = JSON.parse(await google.serviceAccountKey(WEB));
  const bytes = Uint8Array.from(
    atob(private_key.replaceAll(/-----[^-]+-----|\s/g, "")),
    (letter) => letter.charCodeAt(0),
  );
  const own = await crypto.subtle.importKey("pkcs8", bytes, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, true, [
    "sign",
  ]);
  const assertion = (
    key: CryptoKey,
    audience = "https://oauth2.googleapis.com/token",
    claims: Record<string, string> = { scope: PLATFORM },
  ) =>
    new SignJWT(claims).setProtectedHeader({ alg: "RS256" }).setIssuer(WEB).setAudience(audience).setIssuedAt()
      .setExpirationTime("1h").sign(key);
  const token = async (text: string) =>
    await ask(google, {
      host: "oauth2.googleapis.com",
      path: "/token",
      body: new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: text }),
    });
  const { access_token } = JSON.parse((await token(await assertion(own))).text);
  assert.equal(google.tokens.worth(access_token)?.identity, WEB);
  const { id_token } = JSON.parse((await token(await assertion(own, undefined, { target_audience: "a" }))).text);
  assert.equal((await google.tokens.verify(id_token, "a")).email, WEB);
  await assert.rejects(google.tokens.verify(id_token, "b"));
  assert.equal((await token(await assertion((await rsaKey()).privateKey))).status, 400);
  assert.equal((await token(await assertion(own, "https://evil.example"))).status, 400);
  const { client_id, client_secret, refresh_token } = JSON.parse(google.userCredentials(KRUN));
  const login = { grant_type: "refresh_token", client_id, client_secret, refresh_token };
  const refresh = async (changed: Record<string, string>) => {
    const body = new URLSearchParams({ ...login, ...changed });
    return (await ask(google, { host: "oauth2.googleapis.com", path: "/token", body })).status;
  };
  assert.equal(await refresh({}), 200);
  assert.equal(await refresh({ client_id: "another" }), 401);
  assert.equal(await refresh({ client_secret: "another" }), 400);
  assert.equal(await refresh({ refresh_token: "another" }), 400);
  assert.equal(await refresh({ unknown: "x" }), 400);
});

Deno.test("the fake IAM credentials put an e-mail address into ID tokens only where it is asked for", async () => {
  const google = await FakeGoogle.create();
  google.grant(KRUN, `${WEB}/iam.serviceAccounts.getOpenIdToken`);
  const headers = bearer(google.tokens.access(KRUN, [PLATFORM]).token);
  const path = `/v1/projects/-/serviceAccounts/${WEB}:generateIdToken`;
  const emailIn = async (body: Record<string, unknown>) => {
    const { text } = await ask(google, { host: "iamcredentials.googleapis.com", path, headers, body });
    return (await google.tokens.verify(JSON.parse(text).token, "a")).email;
  };
  assert.equal(await emailIn({ audience: "a", includeEmail: true }), WEB);
  assert.equal(await emailIn({ audience: "a" }), undefined);
});

Deno.test("the fake fleet knows memberships by their whole name", async () => {
  const google = await FakeGoogle.create();
  google.memberships = [{ name: "projects/other/locations/global/memberships/m" }];
  google.grant(KRUN, "gkehub.memberships.get");
  const headers = bearer(google.tokens.access(KRUN, [PLATFORM]).token);
  const path = "/v1/projects/acme-shop-prod/locations/global/memberships/m";
  const get = async () => (await ask(google, { host: "gkehub.googleapis.com", path, headers })).status;
  assert.equal(await get(), 404);
  google.memberships = [{ name: path.slice("/v1/".length) }];
  assert.equal(await get(), 200);
});

Deno.test("the fake Connect Gateway wants the project's number, the right kind of membership, and a role", async () => {
  const google = await FakeGoogle.create();
  google.memberships = [{ name: "projects/acme-shop-prod/locations/global/memberships/m" }];
  google.gateway = (_request, path, user) => Promise.resolve(new Response(`${path} as ${user}`));
  const headers = bearer(google.tokens.access(KRUN, [PLATFORM]).token);
  const get = (path: string) => ask(google, { host: "connectgateway.googleapis.com", path, headers });
  const path = "/v1/projects/123456789012/locations/global/memberships/m/api/v1/pods?watch=true";
  assert.equal((await get(path)).status, 403);
  google.grant(KRUN, "gkehub.gateway.get");
  assert.equal((await get(path)).text, `/api/v1/pods?watch=true as ${KRUN}`);
  assert.equal((await get(path.replace("123456789012", "acme-shop-prod"))).status, 400);
  assert.equal((await get(path.replace("memberships", "gkeMemberships"))).status, 404);
});

Deno.test("trouble comes as often as it was ordered, and then the right answer", async () => {
  const google = await FakeGoogle.create();
  google.trouble({ host: "metadata.google.internal", status: 503, times: 2, retryAfter: "1" });
  const get = () =>
    ask(google, { host: "metadata.google.internal", path: "/computeMetadata/v1/project/project-id", headers: flavor });
  const first = await get();
  assert.deepEqual([first.status, first.headers.get("retry-after")], [503, "1"]);
  assert.equal((await get()).status, 503);
  assert.equal((await get()).status, 200);
  assert.deepEqual(google.seen.map(({ status }) => status), [503, 503, 200]);
});
