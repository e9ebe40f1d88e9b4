import assert from "node:assert/strict";
import { KrunError } from "../core/errors.ts";
import { CLOUD_PLATFORM, DEFAULT_SCOPES } from "../core/google_token.ts";
import { MetadataServer } from "./metadata_server.ts";

const FLAVOR = { "metadata-flavor": "Google" };

/** A server on loopback, and what it was asked. */
function serve(answer: (path: string, request: Request) => Response | Promise<Response>) {
  const asked: Headers[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    asked.push(new Headers(request.headers));
    const { pathname, search } = new URL(request.url);
    return answer(pathname + search, request);
  });
  return { asked, host: `127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

async function fault(action: Promise<unknown>): Promise<KrunError> {
  try {
    await action;
  } catch (error) {
    assert.ok(error instanceof KrunError, String(error));
    assert.equal(error.code, "GoogleCredentialsUnavailable");
    return error;
  }
  assert.fail("nothing failed");
}

Deno.test("MetadataServer asks with the header, and knows nothing where nothing is", async () => {
  await using server = serve((path) =>
    path.endsWith("/project-id")
      ? new Response("p", { headers: FLAVOR })
      : new Response("no", { status: 404, headers: FLAVOR })
  );
  const metadata = new MetadataServer({ host: server.host });
  assert.equal(await metadata.projectId(), "p");
  assert.equal(await metadata.region(), undefined);
  assert.ok(server.asked.every((headers) => headers.get("metadata-flavor") === "Google"));
  assert.ok(server.asked.every((headers) => !headers.has("x-forwarded-for")));
});

Deno.test("MetadataServer takes the region from the zone where there is no other word of it", async () => {
  await using server = serve((path) =>
    path.endsWith("/zone")
      ? new Response("projects/1/zones/europe-west1-b", { headers: FLAVOR })
      : new Response("", { status: 404, headers: FLAVOR })
  );
  assert.equal(await new MetadataServer({ host: server.host }).region(), "europe-west1");
});

Deno.test("MetadataServer asks for scopes only where the platform's own token has not what is wanted", async () => {
  const token = { access_token: "t", expires_in: 60, token_type: "Bearer" };
  const paths: string[] = [];
  await using server = serve((path) => (paths.push(path), Response.json(token, { headers: FLAVOR })));
  const metadata = new MetadataServer({ host: server.host });
  for (const scopes of [[CLOUD_PLATFORM], DEFAULT_SCOPES, ["https://www.googleapis.com/auth/pubsub"]]) {
    await metadata.token({ kind: "access", scopes });
  }
  const root = "/computeMetadata/v1/instance/service-accounts/default/token";
  assert.deepEqual(paths, [root, root, `${root}?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fpubsub`]);
});

Deno.test("MetadataServer believes nobody without Metadata-Flavor in the answer", async () => {
  await using server = serve(() => Response.json({ access_token: "t", expires_in: 60, token_type: "Bearer" }));
  const metadata = new MetadataServer({ host: server.host, isExpected: true });
  const error = await fault(
    metadata.token({ kind: "access", scopes: [CLOUD_PLATFORM] }, { deadlineMs: Date.now() + 60_000 }),
  );
  assert.match(error.message, /what answers there is not Google's/);
  assert.equal(server.asked.length, 1);
  assert.equal(await metadata.isThere(5_000), false);
});

Deno.test("MetadataServer refuses what is no token, and quotes nothing of it", async () => {
  for (
    const text of [
      "s3cret",
      '{"access_token":"s3cret"}',
      '{"access_token":"s3\\ncret","expires_in":9,"token_type":"Bearer"}',
      "null",
    ]
  ) {
    await using server = serve(() => new Response(text, { headers: FLAVOR }));
    const error = await fault(
      new MetadataServer({ host: server.host }).token({ kind: "access", scopes: [CLOUD_PLATFORM] }),
    );
    assert.doesNotMatch(error.message, /s3/);
  }
});

Deno.test("MetadataServer tries again until the deadline where something says that there is one", async () => {
  let failures = 3;
  await using server = serve(() => new Response("p", { status: failures-- > 0 ? 503 : 200, headers: FLAVOR }));
  const metadata = new MetadataServer({ host: server.host, isExpected: true });
  assert.equal(await metadata.projectId({ deadlineMs: Date.now() + 60_000 }), "p");
  assert.equal(server.asked.length, 4);
});

Deno.test("MetadataServer tries once where nothing says that there is one", async () => {
  const { port } = closedPort();
  const metadata = new MetadataServer({ host: `127.0.0.1:${port}` });
  const error = await fault(metadata.projectId({ deadlineMs: Date.now() + 60_000 }));
  assert.equal(error.transient, false);
});

function closedPort(): { port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return { port: listener.addr.port };
}

Deno.test("MetadataServer.isThere() waits no longer than it is told", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const from = performance.now();
  assert.equal(await new MetadataServer({ host: `127.0.0.1:${listener.addr.port}` }).isThere(50), false);
  // Far less than it would wait for an answer.
  assert.ok(performance.now() - from < 900);
  listener.close();
});

Deno.test("MetadataServer never uses a proxy, whatever the process's environment says", async () => {
  await using server = serve(() => new Response("p", { headers: FLAVOR }));
  await using proxy = serve(() => new Response("from the proxy", { headers: FLAVOR }));
  const program = new URL("../../tests/programs/metadata_by_proxy.ts", import.meta.url).pathname;
  const variable = { HTTP_PROXY: `http://${proxy.host}`, http_proxy: `http://${proxy.host}` };
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program, server.host],
    env: variable,
    stderr: "inherit",
  }).output();
  const { own, fetched } = JSON.parse(new TextDecoder().decode(stdout));
  assert.equal(own, "p");
  // The twin: what would have happened by fetch.
  assert.equal(fetched, "from the proxy");
});

Deno.test("MetadataServer does not wait for the end of a connection whose answer says how long it is", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const asked = new MetadataServer({ host: `127.0.0.1:${listener.addr.port}` }).projectId();
  using connection = await accepted;
  await connection.read(new Uint8Array(4096));
  const head = "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: 4\r\n\r\n";
  await connection.write(new TextEncoder().encode(`${head}acme`));
  assert.equal(await asked, "acme");
});

Deno.test("MetadataServer waits for no answer longer than until the deadline", async () => {
  const end = Promise.withResolvers<void>();
  await using server = serve(async () => {
    await end.promise;
    return new Response("late", { headers: FLAVOR });
  });
  const metadata = new MetadataServer({ host: server.host, isExpected: true });
  const from = performance.now();
  const error = await fault(metadata.projectId({ deadlineMs: Date.now() + 100 }));
  // One answer may take 10 s where there is time.
  assert.ok(performance.now() - from < 9_000);
  assert.match(error.message, /no answer within 1000 ms/);
  end.resolve();
});
