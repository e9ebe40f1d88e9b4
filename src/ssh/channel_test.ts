import assert from "node:assert/strict";
import { RecordingCarrier } from "../../tests/ssh_carrier.ts";
import { SSH_MESSAGE } from "../core/ssh_messages.ts";
import { SshFormatError, SshReader } from "../core/ssh_wire.ts";
import { MAX_PACKET, SshChannel, type SshChannelOptions } from "./channel.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);
const turn = () => new Promise<void>((resolve) => setTimeout(resolve));

function open(options: Partial<SshChannelOptions> = {}) {
  const carrier = new RecordingCarrier();
  const sizes = { peerWindow: 1 << 20, peerMaxPacket: 1 << 20, window: 1000 };
  return { carrier, channel: new SshChannel({ carrier, id: 3, peer: 7, ...sizes, ...options }) };
}

/** Whether a promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => true, () => true), turn().then(() => false)]);
}

Deno.test("write() sends what the client's window allows, in pieces that it takes, and goes on when it has grown", async () => {
  const { channel, carrier } = open({ peerWindow: 5, peerMaxPacket: 2 });
  const writing = channel.write(bytes("abcdefg"));
  assert.equal(await isSettled(writing), false);
  assert.deepEqual(carrier.sent.map((payload) => payload.length), [11, 11, 10]);
  assert.equal(carrier.data(), "abcde");
  channel.granted(1);
  await turn();
  assert.equal(carrier.data(), "f");
  channel.granted(100);
  await writing;
  assert.equal(carrier.data(), "g");
});

Deno.test("write() sends no longer pieces than OpenSSH does, whatever the client would take", async () => {
  const { channel, carrier } = open({ peerMaxPacket: 2 ** 32 - 1 });
  await channel.write(new Uint8Array(MAX_PACKET + 1));
  assert.deepEqual(carrier.sent.map((payload) => payload.length - 9), [MAX_PACKET, 1]);
});

Deno.test("write() waits for room in the connection before it sends, output and error alike", async () => {
  const { channel, carrier } = open({ peerWindow: 8 });
  carrier.fill();
  const writings = [channel.write(bytes("out")), channel.error.write(bytes("error"))];
  await turn();
  assert.deepEqual(carrier.sent, []);
  carrier.empty();
  await Promise.all(writings);
  assert.equal(carrier.data(), "outerror");
});

Deno.test("output and error that wait for one window lose and double nothing", async () => {
  const { channel, carrier } = open({ peerWindow: 0 });
  const writings = [channel.write(bytes("o".repeat(50))), channel.error.write(bytes("e".repeat(50)))];
  for (let round = 0; round < 100; round++) {
    channel.granted(1);
    await turn();
  }
  await Promise.all(writings);
  assert.equal([...carrier.data()].sort().join(""), "e".repeat(50) + "o".repeat(50));
});

Deno.test("received() holds the client to its window, which grows as its bytes are read", async () => {
  const { channel, carrier } = open();
  channel.received(new Uint8Array(600));
  channel.received(new Uint8Array(400));
  assert.throws(() => channel.received(new Uint8Array(1)), SshFormatError);
  assert.equal((await channel.read())!.length, 600);
  const reader = new SshReader(carrier.sent[0]!);
  assert.deepEqual([reader.uint8(), reader.uint32(), reader.uint32()], [SSH_MESSAGE.channelWindowAdjust, 7, 600]);
  channel.received(new Uint8Array(600));
  assert.throws(() => channel.received(new Uint8Array(1)), SshFormatError);
});

Deno.test("received() puts small pieces that wait together, and read() gives all in order", async () => {
  const { channel } = open({ window: 100_000 });
  let sent = "";
  const send = (part: string) => {
    sent += part;
    channel.received(bytes(part));
  };
  send("first");
  for (let piece = 0; piece < 20_000; piece++) send(String(piece % 10));
  send("L".repeat(5000));
  send("last");
  channel.peerEnded();
  const pieces: (string | undefined)[] = [];
  for (let piece; (piece = text(await channel.read())) !== undefined;) pieces.push(piece);
  assert.equal(pieces.join(""), sent);
  assert.ok(pieces.length < 10, `${pieces.length} pieces`);
});

Deno.test("granted() refuses more than can be counted", () => {
  const { channel } = open({ peerWindow: 2 ** 32 - 2 });
  channel.granted(1);
  assert.throws(() => channel.granted(1), SshFormatError);
});

Deno.test("The client's end comes after its bytes, and nothing may come after it", async () => {
  const { channel } = open();
  channel.received(bytes("all"));
  channel.peerEnded();
  assert.throws(() => channel.received(bytes("more")), SshFormatError);
  assert.equal(text(await channel.read()), "all");
  assert.equal(await channel.read(), undefined);
  assert.equal(channel.broken.aborted, false);
});

Deno.test("A close after an end in order is no cut before all was read", async () => {
  const { channel, carrier } = open();
  const writing = channel.write(new Uint8Array(2 << 20));
  channel.received(bytes("all"));
  channel.peerEnded();
  channel.peerClosed();
  await assert.rejects(writing);
  assert.deepEqual([channel.gone.aborted, channel.broken.aborted], [true, false]);
  assert.equal(carrier.messages().at(-1), "channelClose");
  // What holds something still counts.
  assert.deepEqual(carrier.closedIds, []);
  assert.equal(text(await channel.read()), "all");
  assert.equal(await channel.read(), undefined);
  assert.equal(channel.broken.aborted, false);
  await turn();
  assert.equal(channel.broken.aborted, true);
  assert.deepEqual(carrier.closedIds, [3]);
});

Deno.test("A close without an end is a cut at once", async () => {
  const { channel, carrier } = open();
  channel.received(bytes("half"));
  channel.peerClosed();
  assert.deepEqual([channel.gone.aborted, channel.broken.aborted], [true, true]);
  await assert.rejects(channel.write(bytes("x")));
  assert.deepEqual(carrier.closedIds, [], "what holds something still counts");
  assert.equal(text(await channel.read()), "half");
  assert.deepEqual(carrier.closedIds, [3]);
  await assert.rejects(channel.read());
  const idle = open().channel;
  const reading = idle.read();
  idle.peerClosed();
  await assert.rejects(reading);
});

Deno.test("close() says so once; the number is free when the client has closed it too", () => {
  const { channel, carrier } = open();
  channel.end();
  channel.end();
  channel.reset();
  channel.close();
  assert.deepEqual(carrier.messages(), ["channelEof", "channelClose"]);
  channel.exit({ status: 0 });
  channel.reply(true);
  channel.received(bytes("late"));
  channel.granted(1);
  assert.deepEqual([carrier.messages(), carrier.closedIds], [[], []]);
  channel.peerClosed();
  assert.deepEqual([carrier.messages(), carrier.closedIds], [[], [3]]);
});

Deno.test("reset() drops what was received", async () => {
  for (const end of ["peerClosed", "lost"] as const) {
    const { channel, carrier } = open();
    channel.received(bytes("half"));
    channel.received(bytes("and more"));
    channel[end]();
    assert.deepEqual(carrier.closedIds, []);
    channel.reset();
    assert.deepEqual(carrier.closedIds, [3]);
    await assert.rejects(channel.read());
  }
});

Deno.test("lost() ends what waits", async () => {
  const { channel, carrier } = open({ peerWindow: 0 });
  const waiting = [channel.read(), channel.write(bytes("x")), channel.error.write(bytes("y"))];
  channel.lost();
  for (const end of await Promise.allSettled(waiting)) assert.equal(end.status, "rejected");
  channel.close();
  channel.exit({ signal: "HUP" });
  assert.deepEqual(carrier.messages(), []);
});
