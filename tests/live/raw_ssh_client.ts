/**
 * A client of krun's SSH server that says whatever a test wants, after a login in order. In: a port and a key. Out: payloads.
 *
 * ```ts
 * await using client = await RawSshClient.connect(rig.port);
 * await client.login(await Deno.readTextFile(rig.key));
 * const session = await client.openSession();
 * client.request(session, "exec", { rest: [sshString("true")] });
 * ```
 *
 * @module
 */
import assert from "node:assert/strict";
import { SSH_MESSAGE, sshMessage } from "../../src/core/ssh_messages.ts";
import { concatBytes, SshReader, sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { type ClientOffer, readKey, SshClientTransport } from "../ssh_client_transport.ts";
import { waitFor } from "../wait.ts";

/** A channel's numbers. */
export interface RawChannel {
  /** The client's. */
  readonly own: number;
  /** krun's. */
  readonly peer: number;
  /** How much krun takes at first, bytes. */
  readonly window: number;
}

/** Options of {@linkcode RawSshClient.open}. */
export interface OpenOptions {
  readonly window?: number;
  readonly maxPacket?: number;
  readonly rest?: readonly Uint8Array[];
}

const encoder = new TextEncoder();

/** One connection. */
export class RawSshClient implements AsyncDisposable {
  readonly transport: SshClientTransport;
  /** Payloads that nobody has taken yet. */
  readonly received: Uint8Array[] = [];
  /** The reason of krun's goodbye. */
  goodbye: number | undefined;
  /** Numbers of the packets whose messages krun does not know, as it says. */
  readonly unimplemented: number[] = [];
  isOver = false;
  readonly #conn: Deno.Conn;
  #writing: Promise<unknown> = Promise.resolve();
  #reading: Promise<void> | undefined;
  #mayRead = Promise.withResolvers<void>();
  #lastId = -1;
  #drops = false;

  private constructor(conn: Deno.Conn, offer: ClientOffer) {
    this.#conn = conn;
    this.transport = new SshClientTransport({
      offer,
      onWrite: (bytes) => this.write(bytes.slice()),
      onPayload: (payload) => void this.received.push(payload.slice()),
      onDisconnect: (reason) => this.goodbye = reason,
      onUnimplemented: (number) => void this.unimplemented.push(number),
    });
  }

  /** Connects, and exchanges keys. */
  static async connect(port: number, { offer = {} }: { offer?: ClientOffer } = {}): Promise<RawSshClient> {
    const client = new RawSshClient(await Deno.connect({ hostname: "127.0.0.1", port }), offer);
    client.transport.start();
    client.resume();
    client.#reading = client.#read();
    await waitFor("keys", () => client.transport.exchanges === 1 || client.isOver);
    return client;
  }

  /** Bytes as they are. */
  write(bytes: Uint8Array): void {
    // Whoever is cut off writes on.
    this.#writing = this.#writing.then(async () => {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    }).catch(() => {});
  }

  /** Resolves when all that was sent has been taken by the system. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  /** Stops to read from the next bytes on. */
  pause(): void {
    this.#mayRead = Promise.withResolvers();
  }

  /** Reads on. */
  resume(): void {
    this.#mayRead.resolve();
  }

  /** From now on takes what krun sends, and does nothing with it. */
  drop(): void {
    this.#drops = true;
    this.resume();
  }

  /** Logs in with a key. */
  async login(key: string): Promise<void> {
    await this.transport.service("ssh-userauth");
    this.transport.send(signedRequest(this.transport.sessionId, key));
    await this.take(SSH_MESSAGE.userauthSuccess);
  }

  /** Sends a payload. */
  send(...parts: readonly Uint8Array[]): void {
    this.transport.send(concatBytes(...parts));
  }

  /** The next payload of a type, or of that for one channel, which must come; what came before it is left. */
  async take(type: number, channel?: number): Promise<Uint8Array> {
    const isFor = (payload: Uint8Array) =>
      channel === undefined || new SshReader(payload.subarray(1)).uint32() === channel;
    return await waitFor(`message ${type}`, () => {
      const at = this.received.findIndex((payload) => payload[0] === type && isFor(payload));
      if (at >= 0) return this.received.splice(at, 1)[0];
      assert.equal(this.isOver, false, "the connection is over");
    });
  }

  /** Asks for a channel; its number. */
  ask(type: string, { window = 1 << 20, maxPacket = 32768, rest = [] }: OpenOptions = {}): number {
    const own = ++this.#lastId;
    const numbers = [own, window, maxPacket].map(sshUint32);
    this.send(Uint8Array.of(SSH_MESSAGE.channelOpen), sshString(type), ...numbers, ...rest);
    return own;
  }

  /** Opens a channel. */
  async open(type: string, options: OpenOptions = {}): Promise<RawChannel> {
    const own = this.ask(type, options);
    const reader = new SshReader((await this.take(SSH_MESSAGE.channelOpenConfirmation, own)).subarray(1));
    assert.equal(reader.uint32(), own);
    return { own, peer: reader.uint32(), window: reader.uint32() };
  }

  /** Opens a session. */
  async openSession(options: OpenOptions = {}): Promise<RawChannel> {
    return await this.open("session", options);
  }

  /** Asks something of a channel. */
  request(
    { peer }: RawChannel,
    type: string,
    { wantsReply = false, rest = [] }: { wantsReply?: boolean; rest?: readonly Uint8Array[] } = {},
  ): void {
    this.send(sshMessage(SSH_MESSAGE.channelRequest, peer), sshString(type), Uint8Array.of(+wantsReply), ...rest);
  }

  /** Runs a command in a new session. */
  async exec(command: string, options: OpenOptions = {}): Promise<RawChannel> {
    const session = await this.openSession(options);
    this.request(session, "exec", { rest: [sshString(command)] });
    return session;
  }

  /** Sends bytes of a channel, whatever its window. */
  data({ peer }: RawChannel, bytes: Uint8Array | string): void {
    const content = typeof bytes === "string" ? encoder.encode(bytes) : bytes;
    this.send(sshMessage(SSH_MESSAGE.channelData, peer, content.length), content);
  }

  /** How a session's program has ended, as krun says. */
  async exited(): Promise<{ status?: number; signal?: string }> {
    return await waitFor("an exit", () => {
      for (const payload of this.received) {
        if (payload[0] !== SSH_MESSAGE.channelRequest) continue;
        const reader = new SshReader(payload.subarray(5));
        const [type] = [reader.text(), reader.uint8()];
        if (type === "exit-status") return { status: reader.uint32() };
        if (type === "exit-signal") return { signal: reader.text() };
      }
      assert.equal(this.isOver, false, "the connection is over");
    });
  }

  /** All of a session's output so far. */
  get output(): string {
    const data = this.received.filter(([type]) => type === SSH_MESSAGE.channelData);
    return data.map((payload) => new TextDecoder().decode(new SshReader(payload.subarray(5)).string())).join("");
  }

  /** Resolves when krun has ended the connection. */
  async over(): Promise<void> {
    await waitFor("krun to end the connection", () => this.isOver);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    if (!this.isOver) this.#conn.close();
    await this.#reading;
    await this.#writing;
    this.transport.close();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(1 << 16);
    try {
      for (;;) {
        await this.#mayRead.promise;
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        if (!this.#drops) this.transport.receive(buffer.subarray(0, count));
      }
    } catch {
      // It was cut, or the test has ended.
    }
    this.isOver = true;
    closeQuietly(this.#conn);
  }
}

/** SSH_MSG_USERAUTH_REQUEST with the signature of a key. */
export function signedRequest(sessionId: Uint8Array, key: string): Uint8Array<ArrayBuffer> {
  const { blob, sign } = readKey(key);
  const names = ["ann", "ssh-connection", "publickey"].map(sshString);
  const algorithm = "ssh-ed25519";
  const request = concatBytes(
    Uint8Array.of(SSH_MESSAGE.userauthRequest),
    ...names,
    Uint8Array.of(1),
    sshString(algorithm),
    sshString(blob),
  );
  const signature = sign(concatBytes(sshString(sessionId), request));
  return concatBytes(request, sshString(concatBytes(sshString(algorithm), sshString(signature))));
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // The test has closed it.
  }
}
