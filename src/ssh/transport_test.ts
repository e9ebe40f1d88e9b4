import assert from "node:assert/strict";
import fc from "fast-check";
import { type ClientOffer, plainPacket, SshClientTransport } from "../../tests/ssh_client_transport.ts";
import { waitFor } from "../../tests/wait.ts";
import { concatBytes, sshString } from "../core/ssh_wire.ts";
import { makeHostKey } from "./host_key.ts";
import { loadSsh2 } from "./ssh2.ts";
import { SshTransport, type SshTransportOptions } from "./transport.ts";

const ssh2 = await loadSsh2();
const hostKeys = [makeHostKey(ssh2).key];
const CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"];
const MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];
const EXCHANGES = ["curve25519-sha256", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"];

/** A message that is worth to be decrypted beside the main thread. */
const large = (number: number) => concatBytes(message(number), new Uint8Array(30_000));

interface PairOptions {
  readonly offer?: ClientOffer;
  readonly keysLastBytes?: number;
  /** The most that reaches the server at once, bytes. @default {all} */
  readonly most?: number;
}

/** Both ends, and what lies between them until the test carries it. */
class Pair {
  readonly server: SshTransport;
  readonly client: SshClientTransport;
  readonly toServer: Uint8Array[] = [];
  readonly toClient: Uint8Array[] = [];
  readonly atServer: string[] = [];
  readonly faults: string[] = [];
  readonly atClient: string[] = [];
  versions: string[] = [];
  readonly goodbyes: number[] = [];
  readonly unimplemented: number[] = [];
  exchanges = 0;
  readonly #most: number;

  constructor({ offer = {}, keysLastBytes, most = Infinity }: PairOptions = {}) {
    this.#most = most;
    this.server = serverTransport({
      onWrite: (bytes) => void this.toClient.push(bytes.slice()),
      onVersion: (software) => void this.versions.push(software),
      onPayload: (payload) => {
        if (payload[0] === 200) this.server.unimplemented();
        else this.atServer.push(payload.subarray(1, 3).join());
      },
      onFault: (cause) => void this.faults.push((cause as Error).message),
      onService: (service) => this.server.acceptService(service),
      onKeys: () => void this.exchanges++,
      ...(keysLastBytes !== undefined && { keysLastBytes }),
    });
    this.client = new SshClientTransport({
      offer,
      onWrite: (bytes) => void this.toServer.push(bytes.slice()),
      onPayload: (payload) => void this.atClient.push(payload.subarray(1, 3).join()),
      onDisconnect: (reason) => void this.goodbyes.push(reason),
      onUnimplemented: (number) => void this.unimplemented.push(number),
    });
    this.client.start();
  }

  /** Carries what there is until there is nothing more. */
  carry(): void {
    while (this.toServer.length + this.toClient.length > 0) {
      for (const piece of this.#pieces(this.toServer)) this.server.receive(piece);
      for (const bytes of this.toClient.splice(0)) this.client.receive(bytes);
    }
  }

  /** The same where both work ahead. */
  async carryAhead(until: () => boolean): Promise<void> {
    await waitFor("the end of what was said", async () => {
      for (const piece of this.#pieces(this.toServer)) await this.server.receive(piece);
      for (const bytes of this.toClient.splice(0)) this.client.receive(bytes);
      return until();
    });
  }

  *#pieces(queue: Uint8Array[]): Generator<Uint8Array> {
    const all = concatBytes(...queue.splice(0));
    const size = Math.min(this.#most, all.length);
    for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size);
  }

  close(): void {
    this.server.close();
    this.client.close();
  }
}

function serverTransport(options: Partial<SshTransportOptions>): SshTransport {
  const nothing = () => {};
  return new SshTransport({
    ...{ ssh2, hostKeys, onWrite: nothing, onVersion: nothing, onService: nothing, onPayload: nothing },
    ...{ onDisconnect: nothing, onFault: nothing, ...options },
  });
}

const message = (number: number) => Uint8Array.of(94, number >> 8, number & 255);
/** The list of algorithms with which a client begins an exchange. */
function clientKexInit(): Uint8Array {
  const said: Uint8Array[] = [];
  const client = new SshClientTransport({ onWrite: (bytes) => void said.push(bytes.slice()) });
  client.start();
  client.receive(new TextEncoder().encode("SSH-2.0-x\r\n"));
  client.close();
  const packet = said.at(-1)!;
  return packet.slice(5, packet.length - packet[4]!);
}

const told = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => `${(from + at) >> 8},${(from + at) & 255}`);

Deno.test("SshTransport agrees with a client on each exchange of keys, cipher and MAC, also byte by byte", () => {
  const offers = [
    ...EXCHANGES.map((kex) => ({ kex: [kex] })),
    ...CIPHERS.flatMap((cipher) => MACS.map((mac) => ({ cipher: [cipher], mac: [mac] }))),
  ];
  for (const offer of offers) {
    const pair = new Pair({ offer, most: 1 });
    pair.carry();
    pair.client.send(message(1));
    pair.server.send(message(2).subarray(0, 1), message(2).subarray(1));
    pair.carry();
    assert.deepEqual(
      [pair.atServer, pair.atClient, pair.versions],
      [["0,1"], ["0,2"], ["test"]],
      JSON.stringify(offer),
    );
    assert.deepEqual(pair.server.sessionId, pair.client.sessionId);
    pair.close();
  }
});

Deno.test("SshTransport takes the first packet of a right guess, and passes over that of a wrong one, in each exchange", () => {
  const right: ClientOffer[] = [{ kex: EXCHANGES }, { kex: ["curve25519-sha256"], hostKey: ["ssh-ed25519"] }];
  const wrong: ClientOffer[] = [
    { kex: ["ecdh-sha2-nistp256", "curve25519-sha256"] },
    { kex: ["sntrup761x25519-sha512", "curve25519-sha256"] },
    { hostKey: ["ecdsa-sha2-nistp256", "ssh-ed25519"] },
  ];
  const guess = concatBytes(Uint8Array.of(30), sshString(new Uint8Array(65)));
  const ciphers = [["aes128-gcm@openssh.com"], ["aes256-ctr"]];
  for (const [more, offers] of [[guess, wrong], [undefined, right]] as const) {
    for (const [offer, cipher] of offers.flatMap((offer) => ciphers.map((cipher) => [offer, cipher] as const))) {
      const pair = new Pair({ offer: { ...offer, cipher, guesses: true }, most: 9 });
      // The client has the server's version, and says its algorithms.
      for (const bytes of pair.toClient.splice(0)) pair.client.receive(bytes);
      for (const round of [1, 2, 3]) {
        if (round > 1) pair.client.rekey();
        if (more) pair.client.send(more, { atOnce: true });
        pair.carry();
        assert.deepEqual([pair.exchanges, pair.client.exchanges], [round, round], JSON.stringify(offer));
      }
      pair.client.send(message(1));
      pair.server.send(message(2));
      pair.carry();
      assert.deepEqual([pair.atServer, pair.atClient], [["0,1"], ["0,2"]]);
      pair.close();
    }
  }
});

Deno.test("SshTransport refuses clients that have none of its algorithms", () => {
  const refused: ClientOffer[] = [
    { kex: ["diffie-hellman-group14-sha1"] },
    { cipher: ["aes128-cbc"] },
    { cipher: ["aes128-ctr"], mac: ["hmac-sha1"] },
  ];
  for (const offer of refused) {
    const pair = new Pair({ offer });
    assert.throws(() => pair.carry(), /no matching/);
    pair.close();
  }
});

Deno.test("rekey() of either side, and of both at once, loses and moves nothing, whatever is under way both ways", () => {
  const sides = [["server"], ["client"], ["server", "client"]] as const;
  const ciphers = [["aes128-gcm@openssh.com"], ["aes256-ctr"]];
  for (const [begin, cipher] of sides.flatMap((begin) => ciphers.map((cipher) => [begin, cipher] as const))) {
    const pair = new Pair({ most: 7, offer: { cipher } });
    pair.carry();
    const { sessionId } = pair.server;
    for (let number = 0; number < 100; number++) {
      pair.client.send(message(number));
      pair.server.send(message(number));
      if (number === 50) begin.forEach((side) => pair[side].rekey());
    }
    assert.equal(pair.server.isExchanging, begin[0] === "server");
    assert.equal(pair.server.waitingBytes > 0, begin[0] === "server");
    pair.carry();
    assert.deepEqual([pair.atServer, pair.atClient], [told(0, 100), told(0, 100)], begin.join());
    assert.deepEqual([pair.exchanges, pair.client.exchanges, pair.server.waitingBytes], [2, 2, 0]);
    // The session stays the first exchange's (RFC 4253, 7.2).
    assert.deepEqual(pair.server.sessionId, sessionId);
    pair.close();
  }
});

Deno.test("SshTransport renews keys by itself after so many bytes of either side", () => {
  for (const sender of ["server", "client"] as const) {
    const pair = new Pair({ keysLastBytes: 10_000 });
    pair.carry();
    for (let number = 0; number < 1000; number++) {
      pair[sender].send(message(number));
      if (number % 10 === 0) pair.carry();
    }
    pair.carry();
    const received = sender === "server" ? pair.atClient : pair.atServer;
    assert.deepEqual(received, told(0, 1000));
    // A packet of these is 36 bytes.
    assert.ok(pair.exchanges >= 4 && pair.exchanges <= 5, `${sender}: ${pair.exchanges} exchanges`);
    pair.close();
  }
  const short = new Pair();
  short.carry();
  for (let number = 0; number < 1000; number++) short.client.send(message(number));
  short.carry();
  assert.equal(short.exchanges, 1);
  short.close();
});

Deno.test("rekey() of either side loses nothing of what is decrypted beside the main thread", async () => {
  for (const begin of [["server"], ["client"], ["server", "client"]] as const) {
    const pair = new Pair({ most: 100_000 });
    pair.carry();
    pair.server.workAhead();
    for (let number = 0; number < 60; number++) {
      pair.client.send(number % 3 ? large(number) : message(number));
      pair.server.send(message(number));
      if (number % 20 === 10) begin.forEach((side) => pair[side].rekey());
      if (number % 20 === 19) {
        await pair.carryAhead(() => pair.atServer.length === number + 1 && !pair.server.isExchanging);
      }
    }
    await pair.carryAhead(() => pair.atClient.length === 60);
    assert.deepEqual([pair.atServer, pair.atClient, pair.faults], [told(0, 60), told(0, 60), []], begin.join());
    assert.deepEqual([pair.exchanges, pair.client.exchanges], [4, 4]);
    pair.close();
  }
});

Deno.test("receive() takes nothing under keys that the client has changed before it could know the next ones", async () => {
  const kexInit = clientKexInit();
  const ecdhInit = concatBytes(Uint8Array.of(30), sshString(new Uint8Array(32).fill(9)));
  const newKeys = Uint8Array.of(21);
  for (const worksAhead of [true, false]) {
    const pair = new Pair();
    pair.carry();
    if (worksAhead) pair.server.workAhead();
    await crypto.subtle.digest("SHA-256", new Uint8Array()); // The key for the Web's crypto is there by now.
    const said = [large(1), kexInit, ecdhInit, newKeys, message(2), large(3)];
    for (const payload of said) pair.client.send(payload, { atOnce: true });
    const receive = async () => await pair.server.receive(concatBytes(...pair.toServer.splice(0)));
    if (worksAhead) {
      await receive();
      await waitFor("a fault", () => pair.faults.length > 0);
    } else await assert.rejects(receive);
    assert.deepEqual([pair.atServer, pair.faults.length], [["0,1"], worksAhead ? 1 : 0]);
    await assert.rejects(async () => await pair.server.receive(new Uint8Array(40)));
    pair.close();
  }
});

Deno.test("unimplemented() names the packet that is being handed up, and what no layer knows below is answered so too", () => {
  for (const cipher of [["aes128-gcm@openssh.com"], ["aes256-ctr"]]) {
    const pair = new Pair({ offer: { cipher } });
    pair.carry();
    for (let round = 0; round < 2; round++) {
      // SSH_MSG_IGNORE, three of nobody's, and one of the layer above.
      const said = [[2, 0, 0, 0, 0], [8], [200], [94, 1, 1], [19], [0]];
      for (const payload of said) pair.client.send(Uint8Array.from(payload));
      pair.carry();
      // With strict KEX (which ssh2's client has) they are counted anew under each key.
      assert.deepEqual(pair.unimplemented.splice(0), [1, 2, 4, 5]);
      assert.deepEqual(pair.atServer.splice(0), ["1,1"]);
      pair.client.rekey();
      pair.carry();
    }
    pair.close();
  }
});

Deno.test("what belongs to an exchange of keys ends the connection where there is none, and an unknown message where there is one", async () => {
  for (const cipher of [["aes128-gcm@openssh.com"], ["aes256-ctr"]]) {
    for (const type of [21, 22, 30, 31, 49]) {
      const pair = new Pair({ offer: { cipher } });
      pair.carry();
      pair.client.send(Uint8Array.of(type));
      await assert.rejects(async () => await pair.server.receive(concatBytes(...pair.toServer.splice(0))), {
        name: "SshFormatError",
        message: `message ${type} belongs to an exchange of keys, and there is none`,
      });
      pair.close();
    }
    const pair = new Pair({ offer: { cipher } });
    pair.carry();
    for (const payload of [clientKexInit(), Uint8Array.of(200)]) pair.client.send(payload, { atOnce: true });
    await assert.rejects(async () => await pair.server.receive(concatBytes(...pair.toServer.splice(0))));
    assert.deepEqual(pair.unimplemented, []);
    pair.close();
  }
});

Deno.test("who breaks the exchange of keys is told one goodbye, with packets under way both ways too", async () => {
  const pair = new Pair();
  pair.carry();
  pair.server.workAhead();
  await crypto.subtle.digest("SHA-256", new Uint8Array());
  pair.server.send(large(1));
  const said = [large(1), clientKexInit(), Uint8Array.of(21), message(2)];
  for (const payload of said) pair.client.send(payload, { atOnce: true });
  await pair.server.receive(concatBytes(...pair.toServer.splice(0)));
  await waitFor("a fault", () => pair.faults.length > 0);
  pair.server.disconnect(2);
  await pair.server.emptied();
  for (const bytes of pair.toClient.splice(0)) pair.client.receive(bytes);
  assert.deepEqual([pair.atServer, pair.faults.length, pair.goodbyes], [["0,1"], 1, [3]]);
  pair.close();
});

Deno.test("rekey() does nothing before there are keys and after the end", () => {
  const pair = new Pair();
  pair.server.rekey();
  pair.carry();
  assert.equal(pair.exchanges, 1);
  pair.close();
  pair.server.rekey();
  pair.server.send(message(1));
  pair.server.disconnect(11);
  assert.deepEqual(pair.toClient, []);
});

Deno.test("receive() takes a version in any pieces, and none that is longer than the rule", () => {
  const receive = (text: string) => {
    const versions: string[] = [];
    const server = serverTransport({ onVersion: (software) => void versions.push(software) });
    try {
      for (const byte of new TextEncoder().encode(text)) server.receive(Uint8Array.of(byte));
      server.receive(plainPacket(concatBytes(Uint8Array.of(20), new Uint8Array(16), ...Array(8).fill(sshString("x")))));
    } catch (cause) {
      // Of algorithms that krun does not have.
      if (versions.length === 0) throw cause;
    } finally {
      server.close();
    }
    return versions;
  };
  assert.deepEqual(receive("SSH-2.0-slow client of mine\r\n"), ["slow client of mine"]);
  assert.deepEqual(receive("SSH-2.0-bare\n"), ["bare"]);
  assert.deepEqual(receive(`SSH-2.0-${"x".repeat(245)}\r\n`), ["x".repeat(245)]);
  assert.throws(() => receive(`SSH-2.0-${"x".repeat(246)}\r\n`), /too long/);
  assert.throws(() => receive("x".repeat(1000)), /too long/);
  for (const text of ["HELO there\r\n", "SSH-1.5-old\r\n", "\r\n", "SSH-2.0-\r\n"]) assert.throws(() => receive(text));
});

Deno.test("receive() ends for whatever comes before the keys by its return or by a throw", () => {
  const version = new TextEncoder().encode("SSH-2.0-x\r\n");
  const wild = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((payload) => plainPacket(payload)),
    fc.tuple(fc.constantFrom(1, 2, 4, 5, 20, 21, 30, 50, 90), fc.uint8Array({ maxLength: 100 })).map(([type, rest]) =>
      plainPacket(Uint8Array.of(type, ...rest))
    ),
  );
  fc.assert(fc.property(fc.array(wild, { maxLength: 5 }), (pieces) => {
    const payloads: Uint8Array[] = [];
    const server = serverTransport({ onPayload: (payload) => void payloads.push(payload) });
    try {
      for (const piece of [version, ...pieces]) server.receive(piece);
    } catch (cause) {
      assert.ok(cause instanceof Error);
    }
    // Nobody has keys: nothing reaches the layers above.
    assert.deepEqual(payloads, []);
    server.close();
  }));
});

Deno.test("close() leaves nothing, in the middle of a packet or of an exchange of keys too", () => {
  // The tests' own watch over resources is the assertion.
  for (const offer of [{ cipher: ["aes256-gcm@openssh.com"] }, { cipher: ["aes128-ctr"] }]) {
    const pair = new Pair({ offer });
    pair.carry();
    pair.client.send(message(1));
    const [first, ...rest] = pair.toServer.splice(0);
    pair.server.receive(first!);
    pair.server.receive(rest[0]!.subarray(0, 5));
    pair.server.rekey();
    pair.close();
  }
});

Deno.test("receive() refuses every packet that was changed on its way", () => {
  for (const offer of [{ cipher: ["aes256-gcm@openssh.com"] }, { cipher: ["aes128-ctr"] }]) {
    for (let at = 0; at < 36; at++) {
      const pair = new Pair({ offer });
      pair.carry();
      pair.client.send(message(1));
      const packet = concatBytes(...pair.toServer.splice(0));
      packet[at]! ^= 1 << at % 8;
      // A longer length waits for bytes that never come.
      const more = new Uint8Array(40_000);
      assert.throws(() => [packet, more].forEach((bytes) => pair.server.receive(bytes)));
      assert.deepEqual(pair.atServer, []);
      pair.close();
    }
  }
});

Deno.test("receive() goes on with a client that waits for what is offered before it says what it has", async () => {
  const version = Promise.withResolvers<string>();
  const server = serverTransport({ onVersion: version.resolve });
  server.receive(new TextEncoder().encode("SSH-2.0-patient\r\n"));
  assert.equal(await version.promise, "patient");
  server.close();
});
