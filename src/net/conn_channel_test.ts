import assert from "node:assert/strict";
import * as net from "node:net";
import { ConnChannel } from "./conn_channel.ts";

/** Both ends of a TCP connection. */
async function pair(): Promise<{ near: ConnChannel; far: Deno.TcpConn; [Symbol.dispose](): void }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const [near, far] = [new ConnChannel(conn), await accepted];
  const close = () => {
    near.close();
    try {
      far.close();
    } catch {
      // The test has closed it.
    }
  };
  return { near, far, [Symbol.dispose]: close };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

Deno.test("ConnChannel carries bytes, and the end of one half leaves the other one open", async () => {
  using both = await pair();
  const { near, far } = both;
  await near.write(bytes("there"));
  near.end();
  near.end();
  const buffer = new Uint8Array(100);
  assert.equal(text(buffer.subarray(0, await far.read(buffer) ?? 0)), "there");
  assert.equal(await far.read(buffer), null);
  await far.write(bytes("back"));
  assert.equal(text(await near.read()), "back");
  await far.closeWrite();
  assert.equal(await near.read(), undefined);
  assert.equal(near.broken.aborted, false);
});

Deno.test("ConnChannel reads larger pieces where much comes, and small ones again afterwards", async () => {
  using both = await pair();
  const { near, far } = both;
  const COUNT = 1 << 20;
  const sent = far.write(new Uint8Array(COUNT)).then(async (first) => {
    for (let at = first; at < COUNT;) at += await far.write(new Uint8Array(COUNT - at));
  });
  let [received, largest] = [0, 0];
  while (received < COUNT) {
    const { length, buffer } = (await near.read())!;
    received += length;
    largest = Math.max(largest, buffer.byteLength);
  }
  await sent;
  assert.ok(largest > 16 << 10, `${largest}`);
  for (const word of ["one", "two"]) {
    await far.write(bytes(word));
    const piece = await near.read();
    assert.equal(text(piece), word);
    if (word === "two") assert.equal(piece!.buffer.byteLength, 4 << 10);
  }
});

Deno.test("ConnChannel.write() to who has gone rejects, and what that one had said is still read", async () => {
  using both = await pair();
  const { near, far } = both;
  await far.write(bytes("goodbye"));
  far.close();
  await assert.rejects(async () => {
    for (;;) await near.write(new Uint8Array(1 << 20));
  });
  assert.equal(near.broken.aborted, false);
  assert.equal(text(await near.read()), "goodbye");
});

Deno.test("ConnChannel.close() ends what waits, and is told as a cut", async () => {
  using both = await pair();
  const { near, far } = both;
  const reading = near.read();
  near.reset();
  await assert.rejects(reading);
  assert.equal(near.broken.aborted, true);
  near.close();
  near.end();
  await assert.rejects(near.write(bytes("x")));
  assert.equal(await far.read(new Uint8Array(1)), null);
});

Deno.test("ConnChannel sees a reset as a cut", async () => {
  const server = net.createServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  const near = new ConnChannel(await Deno.connect({ hostname: "127.0.0.1", port }));
  await near.write(bytes("x"));
  await assert.rejects(near.read());
  assert.equal(near.broken.aborted, true);
  await new Promise((resolve) => server.close(resolve));
});
