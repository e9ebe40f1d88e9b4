import assert from "node:assert/strict";
import { FakeMetadataServer } from "../../tests/fake_metadata_server.ts";
import { unusedPort } from "../../tests/tcp_program.ts";
import { metadataIdToken } from "./id_token.ts";

const AUDIENCE = "https://web-abc.a.run.app";
const { signal } = new AbortController();

Deno.test("metadataIdToken() gives the token for the audience", async () => {
  await using server = new FakeMetadataServer();
  assert.equal(await metadataIdToken(AUDIENCE, { host: server.host, signal }), server.tokenFor(AUDIENCE));
  assert.deepEqual(server.audiences, [AUDIENCE]);
  const odd = "https://a?b=c&d#e";
  assert.equal(await metadataIdToken(odd, { host: server.host, signal }), server.tokenFor(odd));
});

Deno.test("metadataIdToken() says what is there in place of a metadata server", async (t) => {
  const fails = async (handler: (request: Request) => Response, words: RegExp) => {
    await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
    await assert.rejects(metadataIdToken(AUDIENCE, { host: `127.0.0.1:${other.addr.port}`, signal }), words);
  };
  await t.step("nothing", async () => {
    const host = `127.0.0.1:${unusedPort()}`;
    await assert.rejects(metadataIdToken(AUDIENCE, { host, signal }), /^Error: no metadata server answers at 127/);
  });
  await t.step("something else that answers", () => fails(() => new Response("t0ken"), /is no metadata server$/));
  const headers = { "metadata-flavor": "Google" };
  await t.step("one that refuses", () => fails(() => new Response("x", { status: 404, headers }), /answers 404$/));
  await t.step("one that leads elsewhere", async () => {
    const elsewhere = { ...headers, location: "http://127.0.0.1:1/" };
    await fails(() => new Response("", { status: 302, headers: elsewhere }), /answers 302$/);
  });
});

Deno.test("metadataIdToken() ends at once with the signal's reason", async () => {
  const reason = new Error("given up");
  const { promise, resolve } = Promise.withResolvers<Response>();
  await using silent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => promise);
  const over = new AbortController();
  const token = metadataIdToken(AUDIENCE, { host: `127.0.0.1:${silent.addr.port}`, signal: over.signal });
  over.abort(reason);
  await assert.rejects(token, reason);
  resolve(new Response());
});

Deno.test("FakeMetadataServer answers only what the real one answers", async () => {
  await using server = new FakeMetadataServer();
  const path = "/computeMetadata/v1/instance/service-accounts/default/identity";
  const ask = async (at: string, init: RequestInit = {}) => {
    const response = await fetch(`http://${server.host}${at}`, init);
    await response.body?.cancel();
    return response.status;
  };
  const headers = { "metadata-flavor": "Google" };
  assert.equal(await ask(`${path}?audience=a`), 403, "without its header");
  assert.equal(await ask(`${path}?audience=a`, { headers: { ...headers, "x-forwarded-for": "10.0.0.1" } }), 403);
  assert.equal(await ask(path, { headers }), 400, "without an audience");
  assert.equal(await ask("/computeMetadata/v1/instance/id", { headers }), 404);
  assert.equal(await ask(`${path}?audience=a`, { headers, method: "POST" }), 405);
  assert.deepEqual(server.audiences, []);
  assert.equal(await ask(`${path}?audience=a`, { headers }), 200);
});
