import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import { FileCredentials } from "./credentials.ts";
import { OidcCredentials } from "./oidc_credentials.ts";

function idToken(expiresAtSeconds: number, name = ""): string {
  return `e30.${Buffer.from(JSON.stringify({ exp: expiresAtSeconds, name })).toString("base64url")}.c2ln`;
}

/** An issuer that hands out `next` and notes what it was asked. */
class Issuer implements AsyncDisposable {
  readonly asked: { authorization: string | null; form: Record<string, string> }[] = [];
  discovery: Record<string, unknown> = {};
  next: { status?: number; body: unknown } = { body: {} };
  readonly #server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => this.#answer(request));

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/realm`;
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/realm/.well-known/openid-configuration") {
      return Response.json({ token_endpoint: `${this.url}/token`, ...this.discovery });
    }
    const form = Object.fromEntries(new URLSearchParams(await request.text()));
    this.asked.push({ authorization: request.headers.get("authorization"), form });
    const { status = 200, body } = this.next;
    return Response.json(body, { status });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const NOW_SECONDS = 1_000_000;

function credentials(
  config: Record<string, string>,
  clock = { nowMs: NOW_SECONDS * 1000 },
  proxy: ProxySettings = {},
) {
  const log = new RecordingLog();
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c", user: "ann" } as const;
  const provider = { name: "oidc", config };
  const cluster: ClusterConfig = { source, server: "https://api", ca: undefined, user: { authProvider: provider } };
  const lifetime = new AbortController().signal;
  const own = new FileCredentials(cluster, { log });
  return { log, oidc: new OidcCredentials(cluster, { provider, own, log, lifetime, proxy, nowMs: () => clock.nowMs }) };
}

Deno.test("OidcCredentials.current() uses the ID token of the kubeconfig until ten seconds before its end", async () => {
  const token = idToken(NOW_SECONDS + 60);
  const clock = { nowMs: NOW_SECONDS * 1000 };
  const { oidc } = credentials({ "id-token": token }, clock);
  assert.deepEqual((await oidc.current()).headers, [["authorization", `Bearer ${token}`]]);
  assert.equal(await oidc.current(), await oidc.current());
  clock.nowMs += 50_000;
  await assert.rejects(oidc.current(), { code: "CredentialsUnavailable" });
});

Deno.test("OidcCredentials.current() asks the issuer once for all who wait, and uses the new refresh token next time", async () => {
  await using issuer = new Issuer();
  const clock = { nowMs: NOW_SECONDS * 1000 };
  const config = { "idp-issuer-url": issuer.url, "client-id": "krun", "refresh-token": "r1", "id-token": idToken(1) };
  const { oidc, log } = credentials(config, clock);
  const first = idToken(NOW_SECONDS + 60);
  issuer.next = { body: { id_token: first, refresh_token: "r2" } };
  const [one, other] = await Promise.all([oidc.current(), oidc.current()]);
  assert.equal(one, other);
  assert.deepEqual(one.headers, [["authorization", `Bearer ${first}`]]);
  clock.nowMs += 60_000;
  issuer.next = { body: { id_token: idToken(NOW_SECONDS + 200) } };
  await oidc.current();
  const form = { grant_type: "refresh_token", refresh_token: "r1", client_id: "krun" };
  assert.deepEqual(issuer.asked, [
    { authorization: null, form },
    { authorization: null, form: { ...form, refresh_token: "r2" } },
  ]);
  assert.equal(log.events.length, 1);
  assert.doesNotMatch(JSON.stringify(log.lines), /"r2"/);
});

Deno.test("OidcCredentials.current() asks the issuer by the proxy of the environment, and a loopback one without", async () => {
  const asked: string[] = [];
  await using proxy = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, ({ url }) => {
    asked.push(url);
    const token_endpoint = "http://tokens.example/token";
    return Response.json(url.endsWith("/token") ? { id_token: idToken(NOW_SECONDS + 60, "far") } : { token_endpoint });
  });
  const httpProxy = `http://127.0.0.1:${proxy.addr.port}`;
  const config = { "client-id": "krun", "refresh-token": "r1" };
  const far = credentials({ ...config, "idp-issuer-url": "http://issuer.example" }, undefined, { httpProxy });
  await far.oidc.current();
  assert.deepEqual(asked, ["http://issuer.example/.well-known/openid-configuration", "http://tokens.example/token"]);
  await using issuer = new Issuer();
  issuer.next = { body: { id_token: idToken(NOW_SECONDS + 60) } };
  await credentials({ ...config, "idp-issuer-url": issuer.url }, undefined, { httpProxy }).oidc.current();
  assert.equal(asked.length, 2);
});

Deno.test("OidcCredentials.refused() gets another token", async () => {
  await using issuer = new Issuer();
  const config = { "idp-issuer-url": issuer.url, "client-id": "krun", "refresh-token": "r1" };
  const { oidc } = credentials({ ...config, "id-token": idToken(NOW_SECONDS + 60) });
  const used = await oidc.current();
  issuer.next = { body: { id_token: idToken(NOW_SECONDS + 60, "new") } };
  assert.equal(await oidc.refused(used), true);
});

Deno.test("OidcCredentials.current() shows its client secret as the issuer wants it", async () => {
  await using issuer = new Issuer();
  issuer.next = { body: { id_token: idToken(NOW_SECONDS + 60) } };
  const config = {
    "idp-issuer-url": `${issuer.url}/`,
    "client-id": "k n",
    "client-secret": "s:+",
    "refresh-token": "r",
  };
  await credentials(config).oidc.current();
  issuer.discovery = { token_endpoint_auth_methods_supported: ["client_secret_post"] };
  await credentials(config).oidc.current();
  const form = { grant_type: "refresh_token", refresh_token: "r" };
  assert.deepEqual(issuer.asked, [
    { authorization: `Basic ${btoa("k+n:s%3A%2B")}`, form },
    { authorization: null, form: { ...form, client_id: "k n", client_secret: "s:+" } },
  ]);
});

Deno.test("OidcCredentials.current() is CredentialsUnavailable when the issuer refuses, without its words", async () => {
  await using issuer = new Issuer();
  issuer.next = { status: 400, body: { error: "invalid_grant", error_description: "token t0ps3cret is used" } };
  const config = { "idp-issuer-url": issuer.url, "client-id": "krun", "refresh-token": "t0ps3cret" };
  await assert.rejects(credentials(config).oidc.current(), (error: { code: string; message: string }) => {
    assert.equal(error.code, "CredentialsUnavailable");
    assert.match(
      error.message,
      /^Cannot get an ID token for user "ann" of context "prod" .*\/token with 400 invalid_grant$/,
    );
    return true;
  });
});

Deno.test("OidcCredentials.current() is CredentialsUnavailable when the issuer gives no ID token, or names no endpoint", async () => {
  await using issuer = new Issuer();
  const config = { "idp-issuer-url": issuer.url, "client-id": "krun", "refresh-token": "r" };
  await assert.rejects(credentials(config).oidc.current(), { code: "CredentialsUnavailable", message: /no id_token/ });
  issuer.discovery = { token_endpoint: 7 };
  await assert.rejects(credentials(config).oidc.current(), {
    code: "CredentialsUnavailable",
    message: /token_endpoint/,
  });
});

Deno.test("OidcCredentials.current() is transient when the issuer cannot be reached", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  closed.close();
  const url = `http://127.0.0.1:${closed.addr.port}/`;
  const config = { "idp-issuer-url": url, "client-id": "krun", "refresh-token": "r" };
  await assert.rejects(credentials(config).oidc.current(), {
    code: "CredentialsUnavailable",
    message: /: its issuer cannot be reached: Connection refused$/,
    transient: true,
  });
});

Deno.test("OidcCredentials.current() names the setting that is missing", async () => {
  await assert.rejects(credentials({ "refresh-token": "r" }).oidc.current(), { message: /has no idp-issuer-url$/ });
});

Deno.test("OidcCredentials.current() does not tell an ID token that no header can carry, and does not keep one", async () => {
  await using issuer = new Issuer();
  const config = { "idp-issuer-url": issuer.url, "client-id": "krun", "refresh-token": "r1" };
  const split = idToken(NOW_SECONDS + 60).replace(/\./, ".\n");
  const unsendable = (error: Error & { code?: string }) => {
    assert.equal(error.code, "CredentialsUnavailable");
    assert.match(error.message, /user "ann" .*: its id-token cannot be sent: it holds a line break/);
    assert.doesNotMatch(`${error.message} ${error.cause}`, /e30/);
    return true;
  };
  await assert.rejects(credentials({ ...config, "id-token": split }).oidc.current(), unsendable);
  const { oidc } = credentials(config);
  issuer.next = { body: { id_token: split } };
  await assert.rejects(oidc.current(), unsendable);
  issuer.next = { body: { id_token: idToken(NOW_SECONDS + 60) } };
  assert.equal((await oidc.current()).headers.length, 1);
});
