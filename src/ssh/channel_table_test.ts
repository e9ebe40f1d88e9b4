import assert from "node:assert/strict";
import { RecordingCarrier } from "../../tests/ssh_carrier.ts";
import { CHANNEL_REFUSAL, SSH_MESSAGE, sshMessage } from "../core/ssh_messages.ts";
import { SshWindowBudget } from "../core/ssh_window_budget.ts";
import { concatBytes, SshFormatError, SshReader, sshString, sshUint32 } from "../core/ssh_wire.ts";
import type { SshChannel } from "./channel.ts";
import { ChannelRefused, ChannelTable, type ConnectionServices, type OpenedForward } from "./channel_table.ts";

const turn = () => new Promise<void>((resolve) => setTimeout(resolve));

class Services implements ConnectionServices {
  readonly sessions: SshChannel[] = [];
  readonly requests: string[] = [];
  readonly opened: PromiseWithResolvers<OpenedForward>[] = [];
  readonly served: SshChannel[] = [];
  dropped = 0;
  isFull = false;
  answer: (boolean | number) | Promise<boolean | number> = true;
  readonly windows: SshWindowBudget;

  constructor(windows: SshWindowBudget) {
    this.windows = windows;
  }

  session(channel: SshChannel) {
    if (this.isFull) throw new ChannelRefused(CHANNEL_REFUSAL.shortage, "no more");
    this.sessions.push(channel);
    return { request: ({ kind }: { kind: string }) => this.requests.push(kind) > 0 && kind !== "unknown" };
  }

  forward(): Promise<OpenedForward> {
    const opened = Promise.withResolvers<OpenedForward>();
    this.opened.push(opened);
    return opened.promise;
  }

  request(): Promise<boolean | number> {
    return Promise.resolve(this.answer);
  }

  open(at: number): void {
    this.opened[at]!.resolve({ serve: (channel) => this.served.push(channel), drop: () => this.dropped++ });
  }
}

function table({ windows = new SshWindowBudget() } = {}) {
  const [carrier, services] = [new RecordingCarrier(), new Services(windows)];
  return { carrier, services, channels: new ChannelTable(carrier, services) };
}

interface Opening {
  readonly sender?: number;
  readonly window?: number;
  readonly maxPacket?: number;
  readonly rest?: readonly Uint8Array[];
}

function opening(type: string, { sender = 0, window = 1000, maxPacket = 1000, rest = [] }: Opening = {}): Uint8Array {
  const numbers = [sender, window, maxPacket].map(sshUint32);
  return concatBytes(Uint8Array.of(SSH_MESSAGE.channelOpen), sshString(type), ...numbers, ...rest);
}

const FORWARD = { rest: [sshString("localhost"), sshUint32(80), sshString("127.0.0.1"), sshUint32(1)] };

function channelRequest(id: number, type: string, { wantsReply = true, rest = [] as Uint8Array[] } = {}): Uint8Array {
  return concatBytes(sshMessage(SSH_MESSAGE.channelRequest, id), sshString(type), Uint8Array.of(+wantsReply), ...rest);
}

function globalRequest(name: string, ...rest: Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(SSH_MESSAGE.globalRequest), sshString(name), Uint8Array.of(1), ...rest);
}

/** Numbers of a message after its own. */
function numbers(payload: Uint8Array, count: number): number[] {
  const reader = new SshReader(payload.subarray(1));
  return Array.from({ length: count }, () => reader.uint32());
}

/** Why a channel was refused: the reason's number. */
function refusals(carrier: RecordingCarrier): number[] {
  return carrier.sent.filter(([type]) => type === SSH_MESSAGE.channelOpenFailure).map((payload) =>
    numbers(payload, 2)[1]!
  );
}

Deno.test("receive() opens a session with the client's number, and passes on what is asked of it", () => {
  const { channels, carrier, services } = table();
  channels.receive(opening("session", { sender: 5 }));
  assert.equal(carrier.sent[0]![0], SSH_MESSAGE.channelOpenConfirmation);
  const [recipient, id] = numbers(carrier.sent[0]!, 2);
  assert.deepEqual([recipient, id], [5, services.sessions[0]!.id]);
  carrier.messages();
  channels.receive(channelRequest(id!, "shell"));
  channels.receive(channelRequest(id!, "auth-agent-req@openssh.com"));
  channels.receive(
    channelRequest(id!, "x11-req", { rest: [Uint8Array.of(0), sshString("MIT"), sshString("00"), sshUint32(0)] }),
  );
  channels.receive(channelRequest(id!, "shell", { wantsReply: false }));
  assert.deepEqual(services.requests, ["shell", "unknown", "unknown", "shell"]);
  assert.deepEqual(carrier.messages(), ["channelSuccess", "channelFailure", "channelFailure"]);
});

Deno.test("receive() refuses channels of other types, ones that take nothing, and sessions once there were to be no more", () => {
  const { channels, carrier } = table();
  channels.receive(opening("x11"));
  channels.receive(opening("session", { maxPacket: 0 }));
  channels.receive(globalRequest("no-more-sessions@openssh.com"));
  channels.receive(opening("session"));
  const { unknownType, shortage, prohibited } = CHANNEL_REFUSAL;
  assert.deepEqual(refusals(carrier), [unknownType, shortage, prohibited]);
});

Deno.test("receive() refuses the 4097th channel, those that are being opened counted, and takes one when one has gone", async () => {
  const { channels, carrier, services } = table();
  for (let sender = 0; sender < 4096; sender++) {
    channels.receive(opening(sender % 2 ? "session" : "direct-tcpip", { sender, ...(sender % 2 ? {} : FORWARD) }));
  }
  channels.receive(opening("session"));
  channels.receive(opening("direct-tcpip", FORWARD));
  assert.deepEqual(refusals(carrier), [CHANNEL_REFUSAL.shortage, CHANNEL_REFUSAL.shortage]);
  channels.receive(sshMessage(SSH_MESSAGE.channelClose, services.sessions[0]!.id));
  channels.receive(opening("session"));
  assert.equal(refusals(carrier).length, 2);
  // Its channels share the memory: one of many gets little of it.
  assert.deepEqual([services.sessions[0]!.window, services.sessions.at(-1)!.window], [2 << 20, 32 << 10]);
  services.opened.forEach((_, at) => services.open(at));
  await turn();
  assert.equal(services.served.length, 2048);
});

Deno.test("the windows of all connections share what one alone has: many clients of many channels take little more", () => {
  const windows = new SshWindowBudget();
  const tables = Array.from({ length: 16 }, () => table({ windows }));
  const openAll = () => {
    for (const { channels } of tables) {
      for (let sender = 0; sender < 64; sender++) channels.receive(opening("session", { sender }));
    }
  };
  openAll();
  const opened = tables.map(({ services }) => services.sessions.map(({ window }) => window));
  assert.equal(opened[0]![0], 2 << 20);
  const all = opened.flat().reduce((sum, window) => sum + window, 0);
  assert.ok(all <= (64 << 20) + 1024 * (32 << 10), `${all} bytes`);
  for (const { channels } of tables) channels.lost();
  assert.equal(windows.take(0), 2 << 20);
});

Deno.test("with a connection that is lost a window is given back when what came by it was read", async () => {
  const windows = new SshWindowBudget();
  const { channels, services } = table({ windows });
  const sent = new Uint8Array(1000);
  for (let sender = 0; sender < 2; sender++) {
    channels.receive(opening("session", { sender }));
    const { id } = services.sessions.at(-1)!;
    channels.receive(concatBytes(sshMessage(SSH_MESSAGE.channelData, id, sent.length), sent));
  }
  channels.lost();
  const left = () => {
    const all = Array.from({ length: 32 }, () => windows.take(0));
    all.forEach((window) => windows.giveBack(window));
    return all.reduce((sum, window) => sum + window, 0);
  };
  const held = left();
  await services.sessions[0]!.read();
  const read = left();
  services.sessions[1]!.reset();
  assert.ok(held < read && read < left());
});

Deno.test("a window is given back once, however its channel ends", async () => {
  const windows = new SshWindowBudget();
  const { channels, carrier, services } = table({ windows });
  const { channelClose, channelOpenConfirmation, channelOpenFailure } = SSH_MESSAGE;
  for (let round = 0; round < 100; round++) {
    channels.receive(opening("session"));
    channels.receive(sshMessage(channelClose, services.sessions.at(-1)!.id));
    services.isFull = true;
    channels.receive(opening("session"));
    services.isFull = false;
    carrier.sent.length = 0;
    const asked = [1, 2].map(() => channels.openForwarded({ kind: "streamlocal", path: new Uint8Array() }));
    const [refused, taken] = carrier.sent.map((payload) => {
      const reader = new SshReader(payload.subarray(1));
      reader.string();
      return reader.uint32();
    });
    channels.receive(concatBytes(sshMessage(channelOpenFailure, refused!, 1), sshString("no"), sshString("")));
    channels.receive(sshMessage(channelOpenConfirmation, taken!, 9, 100, 0));
    await assert.rejects(asked[0]!);
    await assert.rejects(asked[1]!);
    channels.receive(sshMessage(channelClose, taken!));
  }
  channels.receive(opening("session"));
  void channels.openForwarded({ kind: "streamlocal", path: new Uint8Array() }).catch(() => {});
  channels.lost();
  // All of it is there, and no more than that.
  assert.deepEqual(Array.from({ length: 18 }, () => windows.take(0)).slice(-2), [2 << 20, 30 * (64 << 10)]);
});

Deno.test("receive() serves a forward when it is open, and says why it is not", async () => {
  const { channels, carrier, services } = table();
  channels.receive(opening("direct-tcpip", { sender: 1, ...FORWARD }));
  channels.receive(opening("direct-tcpip", { sender: 2, ...FORWARD }));
  assert.deepEqual(carrier.sent, []);
  services.open(1);
  services.opened[0]!.reject(new ChannelRefused(CHANNEL_REFUSAL.connectFailed, "nobody there"));
  await turn();
  const [confirmation, failure] = carrier.sent.toSorted((one, other) => one[0]! - other[0]!);
  assert.equal(numbers(confirmation!, 1)[0], 2);
  assert.deepEqual(numbers(failure!, 2), [1, CHANNEL_REFUSAL.connectFailed]);
  assert.match(new TextDecoder().decode(failure), /nobody there/);
});

Deno.test("lost() drops what is opened afterwards, and ends what is open and what was asked for", async () => {
  const { channels, carrier, services } = table();
  channels.receive(opening("session"));
  channels.receive(opening("direct-tcpip", FORWARD));
  const asked = channels.openForwarded({ kind: "tcpip", address: "a", port: 1, originHost: "b", originPort: 2 });
  carrier.messages();
  channels.lost();
  await assert.rejects(asked);
  services.open(0);
  await turn();
  assert.equal(services.dropped, 1);
  assert.ok(services.sessions[0]!.broken.aborted);
  assert.deepEqual(carrier.messages(), []);
  await assert.rejects(channels.openForwarded({ kind: "streamlocal", path: new Uint8Array() }));
});

Deno.test("openForwarded() gives the channel that the client confirms, and rejects one that it refuses or that takes nothing", async () => {
  const { channels, carrier } = table();
  const ask = () => channels.openForwarded({ kind: "tcpip", address: "a", port: 1, originHost: "b", originPort: 2 });
  const asked = [ask(), ask(), ask()];
  const ids = carrier.sent.map((payload) => {
    const reader = new SshReader(payload.subarray(1));
    reader.string();
    return reader.uint32();
  });
  const { channelOpenConfirmation, channelOpenFailure } = SSH_MESSAGE;
  channels.receive(sshMessage(channelOpenConfirmation, ids[0]!, 9, 100, 100));
  channels.receive(concatBytes(sshMessage(channelOpenFailure, ids[1]!, 1), sshString("no"), sshString("")));
  channels.receive(sshMessage(channelOpenConfirmation, ids[2]!, 9, 100, 0));
  assert.equal((await asked[0]!).id, ids[0]);
  await assert.rejects(asked[1]!);
  await assert.rejects(asked[2]!);
  for (const id of ids.slice(0, 2)) {
    assert.throws(() => channels.receive(sshMessage(channelOpenConfirmation, id, 9, 100, 100)), SshFormatError);
  }
});

Deno.test("Answers to global requests go out in the order of the requests", async () => {
  const { channels, carrier, services } = table();
  const slow = Promise.withResolvers<number>();
  const listen = () => channels.receive(globalRequest("tcpip-forward", sshString(""), sshUint32(0)));
  services.answer = slow.promise;
  listen();
  services.answer = true;
  listen();
  channels.receive(globalRequest("hostkeys-prove-00@openssh.com"));
  await turn();
  assert.deepEqual(carrier.sent, []);
  slow.resolve(4711);
  await turn();
  assert.deepEqual(numbers(carrier.sent[0]!, 1), [4711]);
  assert.deepEqual(carrier.messages(), ["requestSuccess", "requestSuccess", "requestFailure"]);
});

Deno.test("receive() refuses more requests than may wait", async () => {
  const { channels, services } = table();
  const never = Promise.withResolvers<boolean>();
  services.answer = never.promise;
  const listen = () => channels.receive(globalRequest("tcpip-forward", sshString(""), sshUint32(0)));
  for (let count = 0; count < 1024; count++) listen();
  assert.throws(listen, SshFormatError);
  never.resolve(false);
  await turn();
});

Deno.test("refuseNew() refuses channels of each kind, and whatever is asked, and what is open goes on", async () => {
  const { channels, carrier, services } = table();
  channels.receive(opening("session"));
  const [session] = services.sessions;
  channels.refuseNew();
  carrier.messages();
  for (const [type, options] of [["session"], ["direct-tcpip", FORWARD]] as const) {
    channels.receive(opening(type, options));
  }
  assert.deepEqual(refusals(carrier), Array(2).fill(CHANNEL_REFUSAL.prohibited));
  carrier.messages();
  channels.receive(channelRequest(session!.id, "shell"));
  channels.receive(globalRequest("tcpip-forward", sshString(""), sshUint32(0)));
  assert.deepEqual(carrier.messages(), ["channelFailure", "requestFailure"]);
  await assert.rejects(channels.openForwarded({ kind: "streamlocal", path: new Uint8Array() }));
  assert.deepEqual([services.sessions.length, services.opened, services.requests], [1, [], []]);
  channels.receive(concatBytes(sshMessage(SSH_MESSAGE.channelData, session!.id, 1), Uint8Array.of(7)));
  assert.deepEqual(await session!.read(), Uint8Array.of(7));
});

Deno.test("receive() refuses what breaks the protocol", () => {
  const { channels, services } = table();
  channels.receive(opening("session"));
  const { id } = services.sessions[0]!;
  const { channelData, channelWindowAdjust, channelEof, channelClose, channelOpenFailure, channelRequest } =
    SSH_MESSAGE;
  const broken = [
    sshMessage(channelData, id),
    concatBytes(sshMessage(channelData, id, 100), new Uint8Array(99)),
    sshMessage(channelWindowAdjust, id),
    sshMessage(channelWindowAdjust, id, 2 ** 32 - 1),
    ...[channelData, channelEof, channelClose, channelOpenFailure].map((type) => sshMessage(type, id + 1, 0)),
    Uint8Array.of(channelEof, 0),
    sshMessage(channelRequest, id),
    opening("direct-tcpip"),
    Uint8Array.of(SSH_MESSAGE.channelOpen),
    Uint8Array.of(SSH_MESSAGE.globalRequest, 255, 255, 255, 255),
  ];
  for (const payload of broken) assert.throws(() => channels.receive(payload), SshFormatError, payload.join());
  channels.receive(sshMessage(channelClose, id));
  assert.throws(() => channels.receive(sshMessage(channelEof, id)), SshFormatError);
});
