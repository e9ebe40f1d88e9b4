import assert from "node:assert/strict";
import { DelayProxy } from "./delay_proxy.ts";

/** A server that gives back what it gets, until the client's end of stream. */
function echoServer(): AsyncDisposable & { port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) {
      connections.push(connection.readable.pipeTo(connection.writable).catch(() => {}));
    }
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(connections);
    },
  };
}

async function readAll(connection: Deno.TcpConn): Promise<string> {
  return await new Response(connection.readable).text();
}

Deno.test("DelayProxy delays each direction, keeps order, and delays pieces side by side", async () => {
  await using server = echoServer();
  await using proxy = new DelayProxy({ port: server.port, delayMs: 500 });
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  connection.setNoDelay(true);
  const started = performance.now();
  // The proxy reads at most so much at once, so there are at least 200 pieces, whatever the kernel joins.
  const text = Array.from({ length: 200 }, (_, i) => `${i} `.padEnd(65536));
  const sending = text.join("");
  const received = readAll(connection);
  const bytes = new TextEncoder().encode(sending);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  const sent = performance.now();
  await connection.closeWrite();
  assert.ok(await received === sending);
  // Never earlier than the delay asks for; how much later is the machine's affair, but 200 delays in a row would be 100 s.
  assert.ok(performance.now() - sent >= 999, `took ${performance.now() - sent} ms`);
  assert.ok(performance.now() - started < 60_000);
});

Deno.test("DelayProxy passes a megabyte unchanged", async () => {
  await using server = echoServer();
  await using proxy = new DelayProxy({ port: server.port, delayMs: 1 });
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  const sent = "0123456789abcdef".repeat(65536);
  const received = readAll(connection);
  const bytes = new TextEncoder().encode(sent);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  await connection.closeWrite();
  assert.equal(await received, sent);
});

Deno.test("DelayProxy ends the client's connection when the server is away", async () => {
  const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = gone.addr;
  gone.close();
  await using proxy = new DelayProxy({ port, delayMs: 1 });
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  assert.equal(await readAll(connection), "");
});

Deno.test("DelayProxy ends open connections when it is disposed of", async () => {
  await using server = echoServer();
  const proxy = new DelayProxy({ port: server.port, delayMs: 60_000 });
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  await connection.write(new Uint8Array([1]));
  const received = readAll(connection);
  await proxy[Symbol.asyncDispose]();
  assert.equal(await received, "");
});
