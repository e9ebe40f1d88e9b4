import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { GrantedToken } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { GoogleTokenRequest } from "../core/google_token.ts";
import { type MetadataEmulatorOptions, serveMetadata } from "./metadata_emulator.ts";

const FLAVOR = { "metadata-flavor": "Google" };

function options(changed: Partial<MetadataEmulatorOptions> = {}): MetadataEmulatorOptions & { log: RecordingLog } {
  const grant = (request: GoogleTokenRequest): Promise<GrantedToken> => {
    const token = request.kind === "access" ? `for ${request.scopes.length}` : `id for ${request.audience}`;
    return Promise.resolve({ token, issuedAtMs: Date.now(), expiresAtMs: Date.now() + 600_500 });
  };
  const facts = { projectId: "p", account: "web@p.iam.gserviceaccount.com", scopes: ["a", "b"] };
  return {
    ...{ hostname: "127.0.0.1", port: 0, mayAsk: () => true, facts: () => Promise.resolve(facts), tokens: { grant } },
    ...changed,
    log: new RecordingLog(),
  };
}

async function get(address: string, path: string, headers: Record<string, string> = FLAVOR) {
  const response = await fetch(`http://${address}/computeMetadata/v1/${path}`, { headers });
  return { status: response.status, text: await response.text(), flavor: response.headers.get("metadata-flavor") };
}

Deno.test("serveMetadata() gives the account's tokens, and its flavour with every answer", async () => {
  await using server = serveMetadata(options());
  const token = await get(server.address, "instance/service-accounts/default/token");
  assert.deepEqual(JSON.parse(token.text), { access_token: "for 2", expires_in: 600, token_type: "Bearer" });
  const { text } = await get(server.address, "instance/service-accounts/default/identity?audience=x&format=full");
  assert.equal(text, "id for x");
  assert.deepEqual(await get(server.address, "project/project-id"), { status: 200, text: "p", flavor: "Google" });
  assert.deepEqual((await get(server.address, "x")).flavor, "Google");
});

Deno.test("serveMetadata() answers only the processes that may ask, and says once that another one has asked", async () => {
  let asked = 0;
  const refusing = options({
    mayAsk: ({ hostname, port }) => (asked++, assert.equal(hostname, "127.0.0.1"), assert.ok(port > 0), false),
  });
  await using server = serveMetadata(refusing);
  for (const path of ["", "instance/service-accounts/default/token"]) {
    assert.equal((await get(server.address, path)).status, 403);
  }
  assert.equal(asked, 2);
  assert.ok(refusing.log.lines.length >= 1);
});

Deno.test("serveMetadata() tells a failure as a server does, and asks again the next time", async () => {
  let failing = true;
  const failure = (transient: boolean) => new KrunError("GoogleApiFailed", "Cannot: 503", "wait", { transient });
  const flaky = options({
    facts: () => failing ? Promise.reject(failure(true)) : Promise.resolve({ account: "a", scopes: [] }),
    tokens: { grant: () => Promise.reject(failure(false)) },
  });
  await using server = serveMetadata(flaky);
  assert.deepEqual(await get(server.address, "instance/service-accounts/default/email"), {
    status: 503,
    text: "Cannot: 503\n",
    flavor: "Google",
  });
  failing = false;
  assert.equal((await get(server.address, "instance/service-accounts/default/email")).text, "a");
  assert.equal((await get(server.address, "instance/service-accounts/default/token")).status, 500);
});

Deno.test("serveMetadata() is AddressInUse where somebody listens", () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  assert.throws(() => serveMetadata(options({ port: listener.addr.port })), { code: "AddressInUse" });
});

Deno.test("serveMetadata() holds who waits for a change until the time that it names, and gives an ETag to wait with", async () => {
  const server = serveMetadata(options());
  const ask = async (query: string) => {
    const path = `http://${server.address}/computeMetadata/v1/project/project-id${query}`;
    const response = await fetch(path, { headers: FLAVOR });
    return { text: await response.text(), etag: response.headers.get("etag") ?? "" };
  };
  const from = performance.now();
  const { etag } = await ask("");
  assert.match(etag, /^[0-9a-f]{16}$/);
  assert.deepEqual(await ask("?wait_for_change=true&last_etag=0&timeout_sec=300"), { text: "p", etag });
  const sooner = performance.now();
  assert.deepEqual(await ask(`?wait_for_change=true&last_etag=${etag}&timeout_sec=1`), { text: "p", etag });
  assert.ok(performance.now() - sooner >= 900);
  // The end of the server ends who waits.
  const waiting = ask("?wait_for_change=true").catch(() => "ended");
  await server[Symbol.asyncDispose]();
  await waiting;
  assert.ok(performance.now() - from < 200_000);
});
