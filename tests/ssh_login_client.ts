/**
 * An SSH client that says what no honest one would: logins message by message. In: a port. Out: the server's answers. For tests only.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { concatBytes, sshString, sshUint32 } from "../src/core/ssh_wire.ts";
import { loadSsh2 } from "../src/ssh/ssh2.ts";
import { waitFor } from "./wait.ts";

/** The part of ssh2's transport that a client needs. */
interface ClientProtocol {
  start(): void;
  parse(bytes: Buffer, from: number, to: number): void;
  service(name: string): void;
  cleanup(): void;
  _onPayload(payload: Uint8Array): unknown;
  readonly _kex: { readonly sessionID: Uint8Array };
  readonly _cipher: { allocPacket(length: number): Buffer; encrypt(packet: Buffer): void };
}

/** A key that is offered, and what signs. */
export interface OfferedKey {
  readonly user?: string;
  /** As it is named. */
  readonly algorithm: string;
  readonly blob: Uint8Array;
  /** Unset: it is only asked whether it would do. */
  sign?(data: Uint8Array): Uint8Array;
}

/** A connection whose service is `ssh-userauth`. */
export class LoginClient implements AsyncDisposable {
  /** Messages of the login and of what comes after it, in order. */
  readonly received: Uint8Array[] = [];
  /** Of SSH_MSG_EXT_INFO. */
  signatures: readonly string[] = [];
  /** How many messages the server did not know. */
  unimplemented = 0;
  isOver = false;
  readonly #conn: Deno.TcpConn;
  #protocol!: ClientProtocol;
  #isAccepted = false;
  #reading: Promise<void> = Promise.resolve();
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async connect(port: number): Promise<LoginClient> {
    const client = new LoginClient(await Deno.connect({ hostname: "127.0.0.1", port }));
    await client.#begin();
    return client;
  }

  async #begin(): Promise<void> {
    const { Protocol } = await loadSsh2();
    const config = {
      onWrite: (bytes: Uint8Array) => this.#write(bytes.slice()),
      onError: () => this.#close(),
      onHandshakeComplete: () => this.#isAccepted || this.#protocol.service("ssh-userauth"),
      messageHandlers: {
        SERVICE_ACCEPT: () => void (this.#isAccepted = true),
        EXT_INFO: (_: unknown, [{ algs }]: [{ algs: string[] }]) => void (this.signatures = algs),
      },
    };
    this.#protocol = new (Protocol as unknown as new (options: object) => ClientProtocol)(config);
    const below = this.#protocol._onPayload;
    this.#protocol._onPayload = (payload) => {
      if (payload[0] === SSH_MESSAGE.unimplemented) this.unimplemented++;
      if (payload[0]! < SSH_MESSAGE.userauthRequest) return below(payload);
      this.received.push(payload.slice());
    };
    this.#protocol.start();
    this.#reading = this.#read();
    await waitFor("the service to be accepted", () => this.#isAccepted || this.isOver);
  }

  /** Of the first key exchange. */
  get sessionId(): Uint8Array {
    return this.#protocol._kex.sessionID;
  }

  /** Sends a payload, whatever it is. */
  send(payload: Uint8Array): void {
    const packet = this.#protocol._cipher.allocPacket(payload.length);
    packet.set(payload, 5);
    this.#protocol._cipher.encrypt(packet);
  }

  /** SSH_MSG_USERAUTH_REQUEST of any method. */
  request(method: string, { user = "ann", rest = [] }: { user?: string; rest?: readonly Uint8Array[] } = {}): void {
    const words = [user, "ssh-connection", method].map((word) => sshString(word));
    this.send(concatBytes(Uint8Array.of(SSH_MESSAGE.userauthRequest), ...words, ...rest));
  }

  /** SSH_MSG_USERAUTH_REQUEST of a public key. */
  offer({ user = "ann", algorithm, blob, sign }: OfferedKey): void {
    const words = [user, "ssh-connection", "publickey"].map((word) => sshString(word));
    const flag = Uint8Array.of(sign ? 1 : 0);
    const type = Uint8Array.of(SSH_MESSAGE.userauthRequest);
    const unsigned = concatBytes(type, ...words, flag, sshString(algorithm), sshString(blob));
    const signature = sign?.(concatBytes(sshString(this.sessionId), unsigned));
    this.send(signature ? concatBytes(unsigned, sshString(signature)) : unsigned);
  }

  /** SSH_MSG_USERAUTH_INFO_RESPONSE. */
  answer(...answers: readonly string[]): void {
    const texts = answers.map((answer) => sshString(answer));
    this.send(concatBytes(Uint8Array.of(SSH_MESSAGE.userauthInfoResponse), sshUint32(answers.length), ...texts));
  }

  /** The next message of the server; its type is 0 where the connection is over. */
  async next(): Promise<Uint8Array> {
    await waitFor("an answer", () => this.received.length > 0 || this.isOver);
    return this.received.shift() ?? Uint8Array.of(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.#reading;
    await this.#writing;
    this.#protocol.cleanup();
  }

  #write(bytes: Uint8Array): void {
    this.#writing = this.#writing.then(() => this.#conn.write(bytes)).catch(() => this.#close());
  }

  #close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#conn.close();
  }

  async #read(): Promise<void> {
    try {
      const buffer = new Uint8Array(65536);
      for (let count; (count = await this.#conn.read(buffer));) {
        this.#protocol.parse(Buffer.from(buffer.slice(0, count)), 0, count);
      }
    } catch {
      // It was closed here, or the server broke the protocol.
    }
    this.#close();
  }
}
