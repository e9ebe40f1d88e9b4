/**
 * SSH's transport layer, by ssh2: versions, key exchange, encryption. In: bytes of a connection. Out: payloads of packets, and the
 * bytes of answers. Rules: RFC 4253, RFC 8308, OpenSSH's PROTOCOL ("strict KEX").
 *
 * Only this layer is ssh2's. Of its channels one that waits for the client's window sends bytes twice when standard error waits
 * too, and nothing there holds a client to its window; of commands that are no UTF-8 it loses bytes (docs/decisions.md).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { DISCONNECT, disconnectMessage } from "../core/ssh_disconnect.ts";
import { extInfo, layerOfMessage, SSH_MESSAGE, sshMessage } from "../core/ssh_messages.ts";
import type { ClientCiphers } from "../core/ssh_kexinit.ts";
import { offerTo, SIGNATURES } from "./algorithms.ts";
import { type Begun, ClientBeginning } from "./client_beginning.ts";
import { GcmInput, isGcmDecipher } from "./gcm_input.ts";
import { GcmOutput } from "./gcm_output.ts";
import { type HostKey, hostKeyTable } from "./host_key.ts";
import { judgeGuesses } from "./kex_guess.ts";
import { PIECE_BYTES } from "./output_queue.ts";
import { PAYLOAD_AT, sharedPacket } from "./packet_room.ts";
import { endCiphers, type Ssh2, type Ssh2Protocol } from "./ssh2.ts";

/** Options of {@linkcode SshTransport}. None of the functions may throw, but `onPayload`, which then ends the connection. */
export interface SshTransportOptions {
  readonly ssh2: Ssh2;
  readonly hostKeys: readonly HostKey[];
  /** Bytes for the client; good until it returns. */
  onWrite(bytes: Uint8Array): void;
  /** What the client calls itself, as `OpenSSH_9.2p1 Debian-2`. */
  onVersion?(software: string): void;
  /** The client wants to log in, or another service, which is refused. */
  onService(service: string): void;
  /** A message of the layers above, of one byte at least; good until it returns. */
  onPayload(payload: Uint8Array): void;
  /** The client says goodbye, in its own words. */
  onDisconnect(reason: number, words: string): void;
  /** The client has broken the protocol, with bytes that were taken before: the connection is to be ended. Called once at most. */
  onFault(cause: unknown): void;
  /** Keys were exchanged, for the first time or anew. */
  onKeys?(): void;
  /** How many bytes of either side keys last. @default {1 GiB} */
  readonly keysLastBytes?: number;
}

/** After so many bytes of either side keys are exchanged anew (RFC 4253, 9); of packets that is fewer than RFC 4344, 3.1 has. */
const KEYS_LAST_BYTES = 2 ** 30;

/** One connection's transport, the server's side. */
export class SshTransport {
  readonly #protocol: Ssh2Protocol;
  readonly #options: SshTransportOptions;
  readonly #output: GcmOutput;
  /** Where the client's cipher is GCM. */
  #input: GcmInput | undefined;
  #worksAhead = false;
  /** Payloads that wait for the end of a key exchange. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  readonly #beginning = new ClientBeginning((begun) => this.#beginFirst(begun));
  readonly #offerTo: (client: ClientCiphers | undefined) => object;
  #fault: { readonly cause: unknown } | undefined;
  #hasSaidGoodbye = false;
  #hasKeys = false;
  #isClosed = false;
  /** Bytes of this side and of the client's under the keys that are in force. */
  #used = { out: 0, in: 0 };
  #inForce: Pick<Ssh2Protocol, "_cipher" | "_decipher"> | undefined;

  constructor(options: SshTransportOptions) {
    this.#options = options;
    const { ssh2: { KexInit, Protocol }, hostKeys, onWrite, onVersion, onService, onDisconnect } = options;
    const { serverHostKey, keys } = hostKeyTable(hostKeys);
    this.#offerTo = (client) => offerTo(client, { KexInit, serverHostKey });
    const write = (bytes: Uint8Array) => {
      this.#used.out += bytes.length;
      onWrite(bytes);
    };
    this.#output = new GcmOutput(write, (cause) => this.#fail(cause));
    this.#protocol = new Protocol({
      server: true,
      hostKeys: keys,
      // To nobody else does OpenSSH's client say that its output was closed, as in `ssh HOST yes | head` (compat.c, SSH_NEW_OPENSSH).
      ident: "OpenSSH_compatible_krun",
      offer: this.#offerTo(undefined),
      onWrite: write,
      onError: (error) => {
        // ssh2 has said goodbye already.
        this.#hasSaidGoodbye = true;
        this.#fail(error);
      },
      onHeader: ({ versions: { software }, comments }) => onVersion?.(comments ? `${software} ${comments}` : software),
      onHandshakeComplete: () => this.#exchanged(),
      messageHandlers: {
        SERVICE_REQUEST: (_, service) => onService(service),
        DISCONNECT: (_, reason, words) => onDisconnect(reason, words),
      },
    });
    const below = this.#protocol._onPayload;
    this.#protocol._onPayload = (payload) => {
      const layer = layerOfMessage(payload[0]);
      if (layer === "above") options.onPayload(payload);
      else if (layer === "transport") below(payload);
      else this.unimplemented();
    };
    this.#tellSignatures();
    judgeGuesses(this.#protocol);
    this.#protocol.start?.();
  }

  /** The identifier of the session, which signatures of logins cover. There is one after the first key exchange. */
  get sessionId(): Uint8Array {
    return this.#protocol._kex?.sessionID ?? new Uint8Array();
  }

  /** Whether it takes another packet now, so that no more than `most` are on their way. */
  hasRoom(most?: number): boolean {
    return this.#output.hasRoom(most);
  }

  /** Resolves when it takes another packet, or fewer than `most` are on their way. */
  room(most?: number): Promise<void> {
    return this.#output.room(most);
  }

  /** Resolves when all that was sent was given to `onWrite`. */
  emptied(): Promise<void> {
    return this.#output.emptied();
  }

  /** Whether nothing of what it is given is looked at once it has returned. */
  get copiesBytes(): boolean {
    return this.#hasKeys && !this.isExchanging;
  }

  /** From now on packets may be held for the client, while others of it are decrypted. */
  workAhead(): void {
    this.#worksAhead = true;
  }

  /**
   * Takes bytes of the client. Where it has no room for them now, it resolves when all were taken; the next ones have to wait for that.
   *
   * @throws {Error} when they break the protocol: the connection is to be ended
   */
  receive(bytes: Uint8Array): Promise<void> | undefined {
    // It may keep a view of them.
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#beginning.isOver) return this.#parse(chunk);
    const begun = this.#beginning.take(chunk);
    return begun && this.#begin(begun);
  }

  /** How much memory takes what waits for the end of a key exchange, bytes. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Keys are being exchanged: what is sent now waits. */
  get isExchanging(): boolean {
    return this.#protocol._kexinit !== undefined;
  }

  /** Accepts the service that was asked for. */
  acceptService(service: string): void {
    this.#protocol.serviceAccept(service);
  }

  /** Sends a payload, head first, in its turn. */
  send(head: Uint8Array, body?: Uint8Array): void {
    if (this.isExchanging) {
      const payload = Buffer.concat(body ? [head, body] : [head]);
      this.#waitingBytes += payload.length + PIECE_BYTES;
      this.#waiting.push(payload);
      return;
    }
    const length = head.length + (body?.length ?? 0);
    const packet = (this.#hasKeys && sharedPacket(length)) || this.#protocol._cipher.allocPacket(length);
    packet.set(head, PAYLOAD_AT);
    if (body) packet.set(body, PAYLOAD_AT + head.length);
    this.#protocol._cipher.encrypt(packet);
    this.#renewKeys();
  }

  /** Tells the client that nobody knows the message that is being handed up (RFC 4253, 11.4). */
  unimplemented(): void {
    const number = (this.#protocol._decipher!.inSeqno - 1) >>> 0;
    this.send(sshMessage(SSH_MESSAGE.unimplemented, number));
  }

  /** Exchanges keys anew, if there are some and none are being exchanged. */
  rekey(): void {
    if (this.#hasKeys && !this.#isClosed && !this.isExchanging) this.#protocol.rekey();
  }

  /** Says goodbye, and why in a few words, if the connection still stands and has not heard one. */
  disconnect(reason: number, words = ""): void {
    if (this.#hasSaidGoodbye) return;
    this.#hasSaidGoodbye = true;
    try {
      // ssh2 has no words for it; but it may say it in the middle of an exchange of keys.
      if (this.#hasKeys && !this.isExchanging) this.send(disconnectMessage(reason, words));
      else this.#protocol.disconnect(reason);
    } catch {
      // It has ended already.
    }
  }

  /** Lets go of what it holds. */
  close(): void {
    this.#isClosed = true;
    this.#beginning.close();
    this.#protocol.cleanup();
    endCiphers(this.#protocol);
  }

  /** In place of ssh2's list, in which RSA with SHA-1 stands, and RSA with SHA-512 does not. */
  #tellSignatures(): void {
    const protocol = this.#protocol;
    const exchanged = protocol._onHandshakeComplete;
    let isFirst = true;
    protocol._onHandshakeComplete = (negotiated) => {
      const kex = protocol._kex!;
      // It has to follow the end of the exchange, before whatever waits for that.
      if (isFirst && kex.remoteExtInfoEnabled) this.#waiting.unshift(extInfo(SIGNATURES));
      isFirst = false;
      kex.remoteExtInfoEnabled = false;
      exchanged(negotiated);
    };
  }

  #exchanged(): void {
    if (this.#inForce) endCiphers(this.#inForce);
    this.#inForce = { _cipher: this.#protocol._cipher, _decipher: this.#protocol._decipher };
    void this.#output.takeOver(this.#protocol._cipher);
    this.#takeInput();
    this.#hasKeys = true;
    this.#used = { out: 0, in: 0 };
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const payload of waiting) this.send(payload);
    this.#options.onKeys?.();
  }

  #renewKeys(): void {
    const { keysLastBytes = KEYS_LAST_BYTES } = this.#options;
    if (Math.max(this.#used.out, this.#used.in) >= keysLastBytes) this.rekey();
  }

  #begin({ bytes, ciphers }: Begun): Promise<void> | undefined {
    if (ciphers) this.#protocol._offer = this.#offerTo(ciphers);
    return this.#parse(bytes);
  }

  /** The client waits for what is offered before it says what it has. */
  #beginFirst(begun: Begun): void {
    try {
      this.#begin(begun);
    } catch (cause) {
      this.#options.onDisconnect(DISCONNECT.protocolError, (cause as Error).message);
    }
  }

  #parse(chunk: Buffer): Promise<void> | undefined {
    try {
      if (!this.#fault) this.#protocol.parse(chunk, 0, chunk.length);
    } catch (cause) {
      this.#fault ??= { cause };
    }
    if (this.#fault) throw this.#fault.cause;
    const rest = this.#input?.takeRest();
    this.#used.in += chunk.length - (rest?.length ?? 0);
    this.#renewKeys();
    return rest && this.#parseLater(Buffer.from(rest.buffer, rest.byteOffset, rest.length), this.#input!);
  }

  async #parseLater(rest: Buffer, input: GcmInput): Promise<void> {
    await input.room();
    if (!this.#isClosed) await this.#parse(rest);
  }

  #fail(cause: unknown): void {
    if (this.#fault || this.#isClosed) return;
    this.#fault = { cause };
    this.#options.onFault(cause);
  }

  #takeInput(): void {
    const decipher = this.#protocol._decipher!;
    this.#input = isGcmDecipher(decipher)
      ? new GcmInput(decipher, {
        isExchanging: () => this.isExchanging,
        mayWorkAhead: () => this.#worksAhead,
        onFault: (cause) => this.#fail(cause),
      })
      : undefined;
    if (this.#input) this.#protocol._decipher = this.#input;
  }
}
