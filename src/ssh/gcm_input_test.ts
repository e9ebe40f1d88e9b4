import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createCipheriv, randomBytes } from "node:crypto";
import fc from "fast-check";
import { waitFor } from "../../tests/wait.ts";
import { nextInvocation } from "./gcm.ts";
import { GcmInput } from "./gcm_input.ts";

const KEY = new Uint8Array(16).fill(7);
/** Its counter carries after two packets. */
const FIRST_IV = Uint8Array.from([0, 1, 2, 3, 0, 0, 0, 0, 255, 255, 255, 254]);

/** What a client encrypts, packet by packet. */
class Client {
  readonly #iv = Uint8Array.from(FIRST_IV);

  /** A packet of a payload; `padding` is what its field says. */
  packet(payload: Uint8Array, { padding }: { padding?: number } = {}): Buffer {
    let length = 16 - (1 + payload.length) % 16;
    if (length < 4) length += 16;
    return this.content(Buffer.concat([Uint8Array.of(padding ?? length), payload, new Uint8Array(length)]));
  }

  content(content: Uint8Array): Buffer {
    const cipher = createCipheriv("aes-128-gcm", KEY, this.#iv);
    nextInvocation(this.#iv);
    const length = lengthField(content.length);
    cipher.setAAD(length);
    return Buffer.concat([length, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  }
}

function lengthField(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

/** A payload of so many bytes that begins with a number. */
function payload(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(number);
  bytes.set([94, number]);
  return bytes;
}

/** The way in, and what came of it. */
class Server {
  readonly input: GcmInput;
  readonly handedUp: number[] = [];
  readonly faults: string[] = [];
  isExchanging = false;
  /** What the layers say of the payload that begins with that number. */
  answers = new Map<number, unknown>();
  #isReady = false;

  constructor({ mayWorkAhead = true, inSeqno = 0 } = {}) {
    const decipher = {
      inSeqno,
      _onPayload: (payload: Uint8Array) => {
        this.handedUp.push(payload[1]!);
        return this.answers.get(payload[1]!);
      },
      decrypt: () => assert.fail("ssh2's own decrypts nothing"),
      free: () => {},
      _decipherKey: Uint8Array.from(KEY),
      _decipherIV: Uint8Array.from(FIRST_IV),
    };
    this.input = new GcmInput(decipher, {
      isExchanging: () => this.isExchanging,
      mayWorkAhead: () => mayWorkAhead && this.#isReady,
      onFault: (cause) => void this.faults.push((cause as Error).message),
    });
  }

  /** Resolves once there is a key for the Web's crypto. */
  static async ready(options = {}): Promise<Server> {
    const server = new Server(options);
    await crypto.subtle.importKey("raw", new Uint8Array(16), "AES-GCM", false, ["decrypt"]);
    await new Promise((resolve) => setTimeout(resolve));
    server.#isReady = true;
    return server;
  }

  /** Gives bytes once. */
  now(bytes: Buffer): number | undefined {
    return this.input.decrypt(bytes, 0, bytes.length);
  }

  /** Gives all bytes, and what there was no room for, until they are taken. */
  async give(bytes: Uint8Array): Promise<void> {
    for (let rest: Uint8Array | undefined = bytes; rest;) {
      this.now(Buffer.from(rest));
      rest = this.input.takeRest();
      if (rest) await this.input.room();
    }
  }

  async hears(count: number): Promise<void> {
    await waitFor("payloads", () => this.handedUp.length === count);
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, number) => number);

Deno.test("GcmInput hands up what a client sends, in its order, whatever the sizes and the pieces", async () => {
  const length = fc.oneof(fc.integer({ min: 2, max: 100 }), fc.integer({ min: 4000, max: 34_000 }));
  const sizes = fc.array(length, { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 100_000 }), async (lengths, piece) => {
      const server = await Server.ready({ inSeqno: 0xffff_fffe });
      const client = new Client();
      const all = Buffer.concat(lengths.map((length, number) => client.packet(payload(number, length))));
      for (let at = 0; at < all.length; at += piece) await server.give(all.subarray(at, at + piece));
      await server.hears(lengths.length);
      assert.deepEqual([server.handedUp, server.faults], [numbers(lengths.length), []]);
      assert.equal(server.input.inSeqno, (0xffff_fffe + lengths.length) >>> 0);
      server.input.free();
    }),
    { numRuns: 40 },
  );
});

Deno.test("GcmInput hands a small packet up before it returns, and behind a large one in its turn", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  await server.give(client.packet(payload(0, 64)));
  assert.deepEqual(server.handedUp, [0]);
  await server.give(client.packet(payload(1, 30_000)));
  await server.give(client.packet(payload(2, 64)));
  assert.deepEqual(server.handedUp, [0]);
  await server.hears(3);
  assert.deepEqual(server.handedUp, [0, 1, 2]);
  await server.give(client.packet(payload(3, 64)));
  assert.equal(server.handedUp.length, 4);
});

Deno.test("GcmInput holds nothing for a client that it may not work ahead for", async () => {
  const [server, client] = [await Server.ready({ mayWorkAhead: false }), new Client()];
  for (const number of numbers(3)) server.now(client.packet(payload(number, 30_000)));
  assert.deepEqual(server.handedUp, [0, 1, 2]);
});

Deno.test("GcmInput looks at nothing of the bytes when it has returned", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  for (const number of numbers(6)) {
    const packet = client.packet(payload(number, number % 2 ? 50 : 20_000));
    await server.give(packet);
    packet.fill(0);
  }
  await server.hears(6);
  assert.deepEqual([server.handedUp, server.faults], [numbers(6), []]);
});

Deno.test("GcmInput holds eight packets at most, and takes more when there is room", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  const packets = numbers(20).map((number) => client.packet(payload(number, 20_000)));
  const all = Buffer.concat(packets);
  server.now(all);
  const rest = Buffer.from(server.input.takeRest()!);
  assert.equal(rest.length, 12 * packets[0]!.length);
  await server.input.room();
  assert.ok(server.handedUp.length > 0);
  await server.give(rest);
  await server.hears(20);
  assert.deepEqual(server.handedUp, numbers(20));
});

/** Three packets under way, then what is wrong, then two more. */
async function broken(wrong: (client: Client) => Uint8Array): Promise<Server> {
  const [server, client] = [await Server.ready(), new Client()];
  const before = numbers(3).map((number) => client.packet(payload(number, 20_000)));
  const bytes = wrong(client);
  const after = [50, 20_000].map((length) => client.packet(payload(9, length)));
  await server.give(Buffer.concat([...before, bytes, ...after]));
  await waitFor("a fault", () => server.faults.length > 0);
  await server.give(client.packet(payload(9, 50)));
  await new Promise((resolve) => setTimeout(resolve));
  return server;
}

/** The same where nothing is under way. */
function brokenAlone(wrong: (client: Client) => Uint8Array): void {
  const [server, client] = [new Server(), new Client()];
  server.now(client.packet(payload(0, 20)));
  const bytes = Buffer.concat([wrong(client), client.packet(payload(9, 50))]);
  assert.throws(() => server.now(bytes));
  server.now(client.packet(payload(9, 50)));
  assert.deepEqual([server.handedUp, server.faults], [[0], []]);
}

function changed(packet: Buffer, at: number): Buffer {
  packet[at < 0 ? packet.length + at : at]! ^= 1;
  return packet;
}

const ATTACKS: Record<string, (client: Client) => Uint8Array> = {
  "a small packet with another tag": (client) => changed(client.packet(payload(9, 50)), -1),
  "a large packet with another tag": (client) => changed(client.packet(payload(9, 20_000)), -1),
  "a changed byte": (client) => changed(client.packet(payload(9, 20_000)), 1000),
  "a packet that was there before": () => new Client().packet(payload(9, 20_000)),
  "one that was left out": (client) => (client.packet(payload(9, 50)), client.packet(payload(9, 20_000))),
  "a length of no blocks": () => lengthField(24),
  "a length of nothing": () => lengthField(0),
  "a length that is too long": () => lengthField(34_992),
  "a length that would be negative": () => lengthField(0xffff_fff0),
  "a padding that is too short": (client) => client.packet(payload(9, 20_000), { padding: 3 }),
  "a padding of all there is, and more": (client) => client.content(new Uint8Array(16).fill(16)),
};

Deno.test("GcmInput ends once for what breaks the rules, after all that came before it, and hands nothing up after it", async (t) => {
  for (const [name, wrong] of Object.entries(ATTACKS)) {
    await t.step(name, async () => {
      const { handedUp, faults } = await broken(wrong);
      assert.deepEqual([handedUp, faults.length], [[0, 1, 2], 1]);
      brokenAlone(wrong);
    });
  }
});

Deno.test("GcmInput refuses a length before it keeps anything of the packet, and takes the longest that there is", async () => {
  const client = new Client();
  const longest = client.content(Buffer.concat([Uint8Array.of(12), payload(0, 34_976 - 13), new Uint8Array(12)]));
  assert.equal(longest.length, 34_996);
  const server = await Server.ready();
  await server.give(longest);
  await server.hears(1);
  for (const byte of lengthField(34_992).subarray(0, 3)) await server.give(Uint8Array.of(byte));
  await assert.rejects(server.give(lengthField(34_992).subarray(3)), /length/);
});

Deno.test("GcmInput hands up what the layers refuse as the last one", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  const { _onPayload } = server.input;
  server.input._onPayload = (payload) => {
    _onPayload(payload);
    if (payload[1] === 1) throw new Error("refused");
  };
  await server.give(Buffer.concat(numbers(4).map((number) => client.packet(payload(number, 20_000)))));
  await waitFor("a fault", () => server.faults.length > 0);
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([server.handedUp, server.faults], [[0, 1], ["refused"]]);
});

Deno.test("GcmInput begins no packet beside another while keys are exchanged", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  const packets = numbers(5).map((number) => client.packet(payload(number, 20_000)));
  await server.give(Buffer.concat(packets.slice(0, 2)));
  server.isExchanging = true;
  const last = Buffer.concat(packets.slice(2));
  server.now(last);
  const rest = Buffer.from(server.input.takeRest()!);
  assert.equal(rest.length, last.length);
  await server.input.room();
  assert.deepEqual(server.handedUp, [0, 1]);
  // The third one is that of new keys: what follows is another decipher's.
  server.answers.set(2, false);
  assert.equal(server.now(rest), packets[2]!.length);
  assert.deepEqual([server.handedUp, server.faults, server.input.takeRest()], [[0, 1, 2], [], undefined]);
});

Deno.test("GcmInput refuses what was under way behind a change of keys, and takes that alone", async () => {
  for (const after of [[30_000], [30, 30_000], []]) {
    const [server, client] = [await Server.ready(), new Client()];
    // As ssh2 does where keys have changed.
    const { _onPayload } = server.input;
    server.input._onPayload = (payload) => {
      const answer = _onPayload(payload);
      if (answer === false) server.input.free();
      return answer;
    };
    server.answers.set(1, false);
    const packets = [20_000, 40, ...after].map((length, number) => client.packet(payload(number, length)));
    await server.give(Buffer.concat(packets));
    await waitFor("an end", () => server.handedUp.length === 2);
    await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual([server.handedUp, server.faults.length], [[0, 1], after.length > 0 ? 1 : 0], `${after}`);
  }
  const [server, client] = [await Server.ready(), new Client()];
  server.answers.set(1, false);
  const parts = [client.packet(payload(0, 20_000)), client.packet(payload(1, 40)), randomBytes(3)];
  await server.give(Buffer.concat(parts));
  await waitFor("a fault", () => server.faults.length === 1);
});

Deno.test("free() lets go of what is under way: nothing is handed up, and nobody waits", async () => {
  const [server, client] = [await Server.ready(), new Client()];
  const all = Buffer.concat(numbers(12).map((number) => client.packet(payload(number, 20_000))));
  server.now(all);
  const room = server.input.room();
  server.input.free();
  await room;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([server.handedUp, server.faults], [[], []]);
});
