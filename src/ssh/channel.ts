/**
 * One channel of a connection, with both of its windows. In: what the client sends. Out: a {@linkcode Channel}, whatever is behind
 * it. Rules: RFC 4254, section 5.
 *
 * @module
 */
import { exitMessage, SSH_MESSAGE, sshMessage } from "../core/ssh_messages.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import type { ByteSink, Channel } from "../net/channel.ts";
import { giveBack } from "../net/given_back.ts";

/** The connection, as its channels need it. */
export interface ChannelCarrier {
  /** Sends a payload, head first. */
  send(head: Uint8Array, body?: Uint8Array): void;
  /** `undefined`: the connection takes more now. Else resolves when it may. */
  room(): Promise<void> | undefined;
  /** The channel is closed on both sides, and holds nothing any more that somebody might read. */
  closed(channel: SshChannel): void;
  /** Bytes of the client, or for it, went over the channel. */
  used(): void;
}

/** Options of {@linkcode SshChannel}. */
export interface SshChannelOptions {
  readonly carrier: ChannelCarrier;
  /** krun's number. */
  readonly id: number;
  /** The client's number. */
  readonly peer: number;
  /** How much the client takes at first, bytes. */
  readonly peerWindow: number;
  /** The longest piece that it takes, bytes. */
  readonly peerMaxPacket: number;
  /** How much krun takes at a time, bytes. */
  readonly window: number;
}

/** The longest piece that krun takes and sends, bytes: what OpenSSH uses. */
export const MAX_PACKET = 32 * 1024;

const MAX_UINT32 = 2 ** 32 - 1;

/** Pieces that are smaller and have to wait are put together in memory of such a size, bytes: each would cost as much again and more. */
const SMALL_BYTES = 1024, JOINT_BYTES = 8 * 1024;

/** A channel that is open. Bytes it has received and that were not read are at most its window. */
export class SshChannel implements Channel {
  readonly id: number;
  readonly #options: SshChannelOptions;
  readonly #cut = new AbortController();
  readonly #leave = new AbortController();
  readonly #received: Uint8Array[] = [];
  /** What was received last, in memory that has room for more. */
  #joint: { readonly memory: Uint8Array; length: number } | undefined;
  #mayReceive: number;
  #receivedBytes = 0;
  #sentBytes = 0;
  /** Read, and not granted anew. */
  #consumed = 0;
  #maySend: number;
  #hasPeerEnded = false;
  #hasEnded = false;
  #hasClosed = false;
  #isPeerClosed = false;
  #isDrained = false;
  #isSettled = false;
  #wakeReader = () => {};
  #wakeWriters: (() => void)[] = [];

  /** Standard error of a session. */
  readonly error: ByteSink;
  /** How much krun takes at a time, bytes. */
  readonly window: number;

  constructor(options: SshChannelOptions) {
    this.#options = options;
    this.id = options.id;
    this.window = options.window;
    this.#mayReceive = options.window;
    this.#maySend = options.peerWindow;
    const STDERR = 1;
    this.error = {
      broken: this.broken,
      write: (bytes) => this.#write(bytes, [SSH_MESSAGE.channelExtendedData, options.peer, STDERR]),
      end: () => {},
    };
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  /** Aborts when nothing arrives any more of what is written: the client has closed the channel, or is lost. What it has sent is still read. */
  get gone(): AbortSignal {
    return this.#leave.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes = this.#received.shift() ?? this.#takeJoint();
      if (bytes) {
        this.#grant(bytes.length);
        this.#settle();
        return bytes;
      }
      if (this.#hasPeerEnded) return this.#drained();
      if (this.broken.aborted) throw new Error("the channel was closed");
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
  }

  done(bytes: Uint8Array): void {
    giveBack(bytes);
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#write(bytes, [SSH_MESSAGE.channelData, this.#options.peer]);
  }

  end(): void {
    if (this.#hasEnded || this.#hasClosed) return;
    this.#hasEnded = true;
    this.#send(SSH_MESSAGE.channelEof);
  }

  /** Tells how the session's program ended; `signal` without `SIG`. */
  exit(end: { readonly status: number } | { readonly signal: string }): void {
    if (!this.#hasClosed) this.#options.carrier.send(exitMessage(this.#options.peer, end));
  }

  /** Answers a request. */
  reply(isSuccess: boolean): void {
    if (!this.#hasClosed) this.#send(isSuccess ? SSH_MESSAGE.channelSuccess : SSH_MESSAGE.channelFailure);
  }

  /** Closes it from this side. What was received is still read. */
  close(): void {
    if (this.#hasClosed) return;
    this.#hasClosed = true;
    this.#send(SSH_MESSAGE.channelClose);
    this.#settle();
  }

  /** SSH knows no reset of a channel: its end without an end of the bytes is one. What was received is dropped. */
  reset(): void {
    this.close();
    this.#received.length = 0;
    this.#joint = undefined;
    this.#break();
    this.#settle();
  }

  /** How much came of the client. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** How much went to the client. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** The client's bytes. @throws {SshFormatError} when they are more than it may send */
  received(bytes: Uint8Array): void {
    if (bytes.length > this.#mayReceive) throw new SshFormatError("the client sends more than the window that it has");
    if (this.#hasPeerEnded) throw new SshFormatError("the client sends bytes after their end");
    this.#mayReceive -= bytes.length;
    this.#receivedBytes += bytes.length;
    if (this.#hasClosed || bytes.length === 0) return;
    this.#options.carrier.used();
    this.#keep(bytes);
    this.#wakeReader();
  }

  /** The client takes more. @throws {SshFormatError} when that is more than can be counted */
  granted(amount: number): void {
    this.#maySend += amount;
    if (this.#maySend > MAX_UINT32) throw new SshFormatError("the client's window is too large");
    this.#wakeAll();
  }

  /** The client sends nothing more. */
  peerEnded(): void {
    this.#hasPeerEnded = true;
    this.#wakeReader();
  }

  /** The client has closed it. */
  peerClosed(): void {
    this.#isPeerClosed = true;
    this.#leave.abort();
    // Its end takes back nothing of what it said before; without an end it is a reset.
    if (this.#isDrained || !this.#hasPeerEnded) this.#break();
    this.close();
    this.#wakeAll();
    this.#settle();
  }

  /** The connection is gone. */
  lost(): void {
    this.#hasClosed = true;
    this.#isPeerClosed = true;
    this.#leave.abort();
    this.#break();
    this.#settle();
  }

  #break(): void {
    if (!this.#cut.signal.aborted) this.#cut.abort();
    this.#wakeReader();
    this.#wakeAll();
  }

  /** While it holds something it counts, whatever the client thinks: else one could have any number of them hold a window. */
  #settle(): void {
    const holds = this.#received.length > 0 || this.#joint !== undefined;
    if (holds || this.#isSettled || !this.#hasClosed || !this.#isPeerClosed || !this.broken.aborted) return;
    this.#isSettled = true;
    this.#options.carrier.closed(this);
  }

  #keep(bytes: Uint8Array): void {
    if (this.#joint && this.#joint.length + bytes.length > JOINT_BYTES) this.#received.push(this.#takeJoint()!);
    if (this.#joint) {
      this.#joint.memory.set(bytes, this.#joint.length);
      this.#joint.length += bytes.length;
    } else if (this.#received.length > 0 && bytes.length < SMALL_BYTES) {
      this.#joint = { memory: new Uint8Array(JOINT_BYTES), length: bytes.length };
      this.#joint.memory.set(bytes);
    } else this.#received.push(bytes);
  }

  #takeJoint(): Uint8Array | undefined {
    const joint = this.#joint;
    this.#joint = undefined;
    return joint?.memory.subarray(0, joint.length);
  }

  #drained(): undefined {
    this.#isDrained = true;
    if (!this.#isPeerClosed) return;
    // Later: whoever reads passes the end on first.
    setTimeout(() => {
      this.#break();
      this.#settle();
    });
  }

  async #write(bytes: Uint8Array, head: readonly [number, ...number[]]): Promise<void> {
    const { carrier, peerMaxPacket } = this.#options;
    const [type, ...numbers] = head;
    for (let at = 0; at < bytes.length;) {
      const wait = this.#isOver ? undefined : carrier.room() ?? this.#windowOpens();
      if (this.#isOver) throw new Error("the channel takes no more");
      if (wait) {
        await wait;
        continue;
      }
      const length = Math.min(bytes.length - at, this.#maySend, peerMaxPacket, MAX_PACKET);
      this.#maySend -= length;
      this.#sentBytes += length;
      carrier.send(sshMessage(type, ...numbers, length), bytes.subarray(at, at + length));
      at += length;
    }
    carrier.used();
  }

  #windowOpens(): Promise<void> | undefined {
    return this.#maySend > 0 ? undefined : new Promise((wake) => this.#wakeWriters.push(wake));
  }

  get #isOver(): boolean {
    return this.#hasEnded || this.#hasClosed || this.broken.aborted;
  }

  #grant(length: number): void {
    const { carrier, peer } = this.#options;
    this.#consumed += length;
    if (this.#consumed < this.window / 2 || this.#hasClosed || this.#hasPeerEnded) return;
    carrier.send(sshMessage(SSH_MESSAGE.channelWindowAdjust, peer, this.#consumed));
    this.#mayReceive += this.#consumed;
    this.#consumed = 0;
  }

  #send(type: number): void {
    this.#options.carrier.send(sshMessage(type, this.#options.peer));
  }

  #wakeAll(): void {
    const wakers = this.#wakeWriters;
    this.#wakeWriters = [];
    for (const wake of wakers) wake();
  }
}
