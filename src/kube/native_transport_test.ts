import assert from "node:assert/strict";
import { NativeTransport } from "./native_transport.ts";
import type { TransportRequest, WatchAnswer } from "./transport.ts";

const request: TransportRequest = { headers: [["authorization", "Bearer t"]], certificate: undefined };

function serve(handler: (request: Request) => Response | Promise<Response>) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  return Object.assign(server, { url: `http://127.0.0.1:${server.addr.port}` });
}

Deno.test("NativeTransport.call() sends several lines of one name as several, and a body as it is", async () => {
  await using server = serve(async (r) =>
    Response.json({ path: r.url.slice(-4), text: await r.text(), a: r.headers.get("a") })
  );
  await using transport = new NativeTransport({ server: server.url, caPem: undefined });
  const headers = [["a", "1"], ["a", "2"]] as const;
  const answer = await transport.call("/p?q", { ...request, headers, method: "POST", body: "é", timeoutMs: 20_000 });
  assert.deepEqual(JSON.parse(answer.text), { path: "/p?q", text: "é", a: "1, 2" });
  assert.deepEqual([answer.status, answer.header("content-type"), answer.header("none")], [
    200,
    "application/json",
    undefined,
  ]);
});

Deno.test("NativeTransport.call() follows no redirect, so that credentials go nowhere else", async () => {
  let visits = 0;
  await using thief = serve(() => Response.json({ visits: visits++ }));
  await using server = serve(() => Response.redirect(thief.url, 307));
  await using transport = new NativeTransport({ server: server.url, caPem: undefined });
  assert.equal((await transport.call("/", { ...request, method: "GET", timeoutMs: 20_000 })).status, 307);
  assert.equal(visits, 0);
  // The negative control: the thief is there.
  await using direct = new NativeTransport({ server: thief.url, caPem: undefined });
  assert.equal((await direct.call("/", { ...request, method: "GET", timeoutMs: 20_000 })).status, 200);
});

Deno.test("NativeTransport gives up what is silent: before an answer, within it, and between chunks of a watch", async () => {
  const held = Promise.withResolvers<void>();
  await using server = serve(async ({ url }) => {
    if (url.endsWith("/silent")) await held.promise;
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("first"));
        await held.promise;
        controller.close();
      },
    });
    return new Response(body);
  });
  await using transport = new NativeTransport({ server: server.url, caPem: undefined });
  const silent = (ms: number) => ({ name: "SilentConnectionError", message: `no answer within ${ms} ms` });
  for (const path of ["/silent", "/half"]) {
    await assert.rejects(transport.call(path, { ...request, method: "GET", timeoutMs: 100 }), silent(100));
  }
  // The first chunk has to come in time, whatever the machine has to do besides.
  const { chunks } = await transport.watch("/watch", { ...request, silenceMs: 3_000 }) as WatchAnswer;
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const chunk of chunks) seen.push(new TextDecoder().decode(chunk));
  }, silent(3_000));
  assert.deepEqual(seen, ["first"]);
  held.resolve();
});

Deno.test("NativeTransport.watch() ends with its signal's reason, and frees the stream when its reader leaves", async () => {
  const closed = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  let count = 0;
  await using server = serve(() => {
    const { resolve } = closed[count++]!;
    let timer: ReturnType<typeof setInterval> | undefined;
    return new Response(
      new ReadableStream({
        start: (controller) => void (timer = setInterval(() => controller.enqueue(new Uint8Array(10_000)), 5)),
        cancel: () => {
          clearInterval(timer);
          resolve();
        },
      }),
    );
  });
  await using transport = new NativeTransport({ server: server.url, caPem: undefined });
  const stop = new AbortController();
  const watch = await transport.watch("/", { ...request, signal: stop.signal, silenceMs: 20_000 }) as WatchAnswer;
  let bytes = 0;
  await assert.rejects(async () => {
    for await (const chunk of watch.chunks) {
      bytes += chunk.length;
      if (bytes > 30_000) stop.abort(new Error("enough"));
    }
  }, { message: "enough" });
  await closed[0]!.promise;
  const left = await transport.watch("/", { ...request, silenceMs: 20_000 }) as WatchAnswer;
  for await (const chunk of left.chunks) if (chunk.length > 0) break;
  await closed[1]!.promise;
  left.close();
  // One whose chunks nobody has begun to read.
  (await transport.watch("/", { ...request, silenceMs: 20_000 }) as WatchAnswer).close();
  await closed[2]!.promise;
});

Deno.test("NativeTransport.call() refuses a key pair that is none", async () => {
  await using transport = new NativeTransport({ server: "https://127.0.0.1:9", caPem: undefined });
  const certificate = { cert: "no PEM", key: "no PEM" };
  await assert.rejects(transport.call("/", { ...request, certificate, method: "GET", timeoutMs: 1 }), {
    name: "ClientCertificateError",
  });
});
