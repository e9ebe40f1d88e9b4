import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import assert from "node:assert/strict";
import { framesIn, greedyOpening, type RawFrame } from "../../tests/raw_http2.ts";
import { waitFor } from "../../tests/wait.ts";
import type { Channel } from "../net/channel.ts";
import { http2Channel } from "./http2_channel.ts";
import { endBetweenTurns } from "./http2_session.ts";

type Serve = (stream: http2.ServerHttp2Stream) => void;

/** A server without TLS on a free port, which gives every stream to `serve`. */
async function server(serve: Serve): Promise<AsyncDisposable & { readonly port: number }> {
  const listening = http2.createServer();
  const sessions: http2.Http2Session[] = [];
  listening.on("session", (session) => {
    endBetweenTurns(session);
    sessions.push(session);
  });
  listening.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.on("error", () => {});
    serve(stream);
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  return {
    port: (listening.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => listening.close(resolve));
    },
  };
}

/** What a server sends on its one stream until that is over. */
async function framesOf(serve: Serve): Promise<RawFrame[]> {
  await using listening = await server(serve);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: listening.port });
  await connection.write(greedyOpening([[":method", "CONNECT"], [":authority", "x:80"]]));
  const got: number[] = [];
  const frames = () => framesIn(Uint8Array.from(got)).filter(({ stream }) => stream === 1);
  const chunk = new Uint8Array(65_536);
  while (!frames().some(({ type, endStream }) => type === "RST_STREAM" || endStream)) {
    const count = await connection.read(chunk);
    assert.ok(count, "the connection ended");
    got.push(...chunk.subarray(0, count));
  }
  return frames();
}

function answered(stream: http2.ServerHttp2Stream): Channel {
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  return http2Channel(stream, { resetCode: http2.constants.NGHTTP2_CONNECT_ERROR });
}

Deno.test("http2Channel() resets a stream without an end before it", async (t) => {
  const hello = new TextEncoder().encode("hello");
  const endsBeforeReset = (frames: RawFrame[]) => frames.some(({ endStream }) => endStream);
  await t.step("the channel", async () => {
    const frames = await framesOf(async (stream) => {
      const channel = answered(stream);
      await channel.write(hello);
      channel.reset();
    });
    assert.equal(endsBeforeReset(frames), false);
    assert.deepEqual(frames.at(-1), { type: "RST_STREAM", stream: 1, endStream: false, value: 0xa });
  });
  await t.step("the control: what Deno does by itself", async () => {
    const frames = await framesOf((stream) => {
      stream.respond({ ":status": 200 });
      stream.write(hello, () => stream.close(http2.constants.NGHTTP2_CONNECT_ERROR));
    });
    assert.ok(endsBeforeReset(frames), "Deno no longer ends what it resets: waitForTrailers can go");
  });
  await t.step("the twin: an end", async () => {
    const frames = await framesOf(async (stream) => {
      const channel = answered(stream);
      await channel.write(hello);
      channel.end();
    });
    assert.deepEqual(frames.at(-1), { type: "DATA", stream: 1, endStream: true, value: 0 });
  });
});

interface Asked extends AsyncDisposable {
  readonly channel: Channel;
  readonly stream: http2.ClientHttp2Stream;
}

function ask(port: number): Asked {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  endBetweenTurns(session);
  session.on("error", () => {});
  const closed = new Promise((resolve) => session.once("close", resolve));
  const stream = session.request({ ":method": "CONNECT", ":authority": "x:80" }, {
    endStream: false,
    waitForTrailers: true,
  });
  return {
    channel: http2Channel(stream),
    stream,
    async [Symbol.asyncDispose]() {
      session.destroy();
      await closed;
    },
  };
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

Deno.test("http2Channel() takes no lost connection for an end", async (t) => {
  await using listening = await server((stream) => {
    const channel = answered(stream);
    void channel.write(new TextEncoder().encode("half of it")).catch(() => {});
    // As when the process ends: GOAWAY and RST_STREAM, both without an error code.
    void channel.read().then((bytes) => bytes === undefined ? stream.session!.destroy() : channel.end());
  });
  await t.step("lost after our own half has ended", async () => {
    await using asked = ask(listening.port);
    let sawEnd = false;
    asked.stream.on("end", () => sawEnd = true);
    assert.equal(text(await asked.channel.read()), "half of it");
    asked.channel.end();
    await assert.rejects(asked.channel.read());
    // The control: to a user of node:http2 this is an end like any other.
    await waitFor("the stream to close", () => asked.stream.closed);
    assert.ok(sawEnd);
    assert.equal(asked.stream.rstCode, 0);
  });
  await t.step("the twin: an end", async () => {
    await using asked = ask(listening.port);
    assert.equal(text(await asked.channel.read()), "half of it");
    await asked.channel.write(new Uint8Array(1));
    assert.equal(await asked.channel.read(), undefined);
  });
});

Deno.test("http2Channel() gives all that was sent before a stream takes no more", async () => {
  const length = 300_000;
  await using listening = await server(async (stream) => {
    const channel = answered(stream);
    await channel.write(new Uint8Array(length)).catch(() => {});
    channel.end();
    channel.reset();
  });
  await using asked = ask(listening.port);
  // Writes go on until the server's NO_ERROR is here; nothing of what it had said is lost by that.
  const refused = (async () => {
    for (;;) await asked.channel.write(new Uint8Array(1000));
  })();
  let got = 0;
  for (let bytes; (bytes = await asked.channel.read()) !== undefined;) got += bytes.length;
  assert.equal(got, length);
  await assert.rejects(refused);
});

Deno.test("http2Channel() gives what was whole before its connection ended, however late it is read", async () => {
  await using listening = await server(async (stream) => {
    const channel = answered(stream);
    const { session } = stream;
    stream.once("close", () => session!.close());
    await channel.write(new TextEncoder().encode("all of it"));
    channel.end();
    channel.reset();
  });
  await using asked = ask(listening.port);
  await waitFor("the connection's end", () => asked.stream.destroyed);
  assert.equal(text(await asked.channel.read()), "all of it");
  assert.equal(await asked.channel.read(), undefined);
});
