/**
 * One client's connection: the transport, the login, then channels. In: a TCP connection. Out: logins for whoever judges them,
 * channels for whoever serves them.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { DISCONNECT } from "../core/ssh_disconnect.ts";
import { isSshMessage, keepAliveRequest, SSH_MESSAGE } from "../core/ssh_messages.ts";
import type { SshOutputBudget } from "../core/ssh_output_budget.ts";
import type { LoginStage } from "../core/ssh_strangers.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import { MAX_PACKET } from "./channel.ts";
import { ChannelTable, type ConnectionServices } from "./channel_table.ts";
import type { HostKey } from "./host_key.ts";
import { LoginDialogue, type LoginJudge } from "./login_dialogue.ts";
import { OutputQueue } from "./output_queue.ts";
import { isAlgorithmMismatch, type Ssh2 } from "./ssh2.ts";
import { SshTransport } from "./transport.ts";

/** Options of {@linkcode SshConnection}. */
export interface SshConnectionOptions<Login> {
  readonly ssh2: Ssh2;
  readonly hostKeys: readonly HostKey[];
  readonly judge: LoginJudge<Login>;
  /** The client has logged in. */
  welcome(login: Login, connection: SshConnection<Login>): ConnectionServices;
  /** What waits for all clients to read it. While more than its share waits for this one, its channels write nothing. */
  readonly output: SshOutputBudget;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * While more of krun's answers wait for a client that does not read them, or to be encrypted, it is not listened to. Nor may more wait for
 * a client that does not finish an exchange of keys: to that one has to listen.
 */
const MAX_BACKLOG_BYTES = 4 << 20, MAX_BACKLOG_PACKETS = 1024;

/** How much is read at once, bytes: as much as comes. */
const READ_BYTES = { least: 16 << 10, most: 256 << 10 };

/** How long a client may take to hear goodbye, milliseconds. */
const GOODBYE_MS = 2_000;

/**
 * For how long what a client still says is read when it has been told goodbye, milliseconds: it loses the goodbye where its last words
 * find a socket that is closed.
 */
const PARTING_MS = 200;

/** How often a client that says nothing is asked whether it is still there, milliseconds, and how often it may not answer. */
const KEEP_ALIVE = { everyMs: 30_000, times: 3 };

/** A connection. {@linkcode SshConnection.run} is its life. */
export class SshConnection<Login> {
  readonly #socket: Deno.Conn;
  readonly #options: SshConnectionOptions<Login>;
  readonly #transport: SshTransport;
  readonly #output: OutputQueue;
  readonly #dialogue: LoginDialogue<Login>;
  readonly #over = new AbortController();
  #channels: ChannelTable | undefined;
  #lastUsedMs = performance.now();
  #silences = 0;
  readonly #wakers: (() => void)[] = [];
  /** What the client calls itself. */
  #software = "";
  #isBroken = false;
  #hasKeys = false;
  /** Nothing of what the client says counts any more. */
  #isParting = false;

  constructor(socket: Deno.Conn, options: SshConnectionOptions<Login>) {
    this.#socket = socket;
    this.#options = options;
    const { ssh2, hostKeys, output: budget } = options;
    this.#output = new OutputQueue((bytes) => this.#writeAll(bytes), () => this.cut(), { budget });
    this.#transport = new SshTransport({
      ...{ ssh2, hostKeys },
      onWrite: (bytes) => this.#output.push(bytes),
      onVersion: (software) => void (this.#software = software),
      onService: (service) => this.#serve(service),
      onPayload: (payload) => this.#receive(payload),
      onDisconnect: () => this.cut(),
      onFault: (cause) => this.#broken(cause),
      onKeys: () => {
        this.#hasKeys = true;
        this.#wake();
      },
    });
    this.#dialogue = new LoginDialogue(options.judge, {
      send: (payload) => this.#transport.send(payload),
      sessionId: () => this.#transport.sessionId,
      onLogin: (login) => this.#welcome(login),
      onTooMany: () => this.end(DISCONNECT.noMoreMethods, "Too many authentication failures"),
      onFault: (cause) => {
        options.log.warn("ssh login failed", { reason: (cause as Error).message });
        this.end(undefined, "a fault of krun's; see its log");
      },
    });
  }

  /** Aborts when the connection is over, whoever ended it. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** How many tries to log in have failed. */
  get failures(): number {
    return this.#dialogue.failures;
  }

  /** How far somebody has come who has not logged in. */
  get stage(): LoginStage {
    if (!this.#hasKeys) return "connected";
    return this.#dialogue.hasBegun ? "trying" : "keyed";
  }

  /** Somebody has logged in. */
  get isLoggedIn(): boolean {
    return this.#channels !== undefined;
  }

  /** `performance.now()` of the last bytes of a channel. */
  get lastUsedMs(): number {
    return this.#lastUsedMs;
  }

  /** The channels of a client that has logged in. */
  get channels(): ChannelTable | undefined {
    return this.#channels;
  }

  /** Takes part in the protocol until the connection is over. Never rejects. */
  async run(): Promise<void> {
    this.over.addEventListener("abort", () => {
      closeQuietly(this.#socket);
      this.#wake();
    });
    void this.#keepAlive();
    try {
      await this.#read();
    } catch (cause) {
      this.#broken(cause);
      await this.#discard();
    }
    this.cut();
    this.#dialogue.close();
    this.#channels?.lost();
    this.#transport.close();
  }

  /** The client gets nothing new from now on. */
  refuseNew(): void {
    this.#dialogue.close();
    this.#channels?.refuseNew();
  }

  /** Says goodbye, and why; the connection is over when the client has been told, or does not listen. */
  end(reason: number = DISCONNECT.byApplication, words = ""): void {
    if (this.over.aborted) return;
    this.refuseNew();
    this.#transport.disconnect(reason, words);
    this.#cutAfter(GOODBYE_MS);
    void this.#transport.emptied().then(() => this.#output.emptied()).then(() => this.#part());
  }

  /** Closes krun's end; the client gets to close its own. */
  async #part(): Promise<void> {
    if (this.over.aborted) return;
    this.#isParting = true;
    this.#cutAfter(PARTING_MS);
    await this.#socket.closeWrite().catch(() => this.cut());
  }

  #cutAfter(ms: number): void {
    const late = setTimeout(() => this.cut(), ms);
    this.over.addEventListener("abort", () => clearTimeout(late));
  }

  /** Ends the connection at once. */
  cut(): void {
    if (!this.over.aborted) this.#over.abort();
  }

  #welcome(login: Login): void {
    const services = this.#options.welcome(login, this);
    this.#transport.workAhead();
    this.#channels = new ChannelTable({
      send: (head, body) => {
        if (!this.over.aborted) this.#transport.send(head, body);
      },
      room: () => this.#hasRoom ? undefined : this.#room(),
      used: () => void (this.#lastUsedMs = performance.now()),
    }, services);
  }

  /** Once: the client is told no more than one goodbye. */
  #broken(cause: unknown): void {
    if (this.over.aborted || this.#isBroken) return;
    this.#isBroken = true;
    // ssh-keyscan(1) asks for one type of host key after the other, and means nothing else.
    const isScan = this.#software.startsWith("OpenSSH-keyscan");
    const level = isAlgorithmMismatch(cause as Error) && !isScan ? "info" : "debug";
    this.#options.log[level]("ssh connection broken", { reason: (cause as Error).message });
    this.end(DISCONNECT.protocolError, cause instanceof SshFormatError ? cause.message : "");
  }

  get #hasRoom(): boolean {
    if (this.over.aborted) return true;
    if (this.#transport.isExchanging || !this.#transport.hasRoom(this.#mostUnderWay)) return false;
    return this.#output.lengthBytes <= this.#options.output.share;
  }

  /** Packets that are being encrypted will wait soon: half of a share beside it. */
  get #mostUnderWay(): number {
    return this.#options.output.share / 2 / MAX_PACKET;
  }

  async #room(): Promise<void> {
    while (this.#transport.isExchanging && !this.over.aborted) {
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
    await this.#transport.room(this.#mostUnderWay);
    await this.#output.room(() => this.#options.output.share);
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  async #read(): Promise<void> {
    let buffer = new Uint8Array();
    for (let size = READ_BYTES.least;;) {
      // To allocate 256 KiB takes as long as to decrypt 50.
      if (buffer.length !== size || !this.#transport.copiesBytes) buffer = new Uint8Array(size);
      const count = await this.#socket.read(buffer);
      if (count === null || this.over.aborted) return;
      if (this.#isParting) continue;
      this.#silences = 0;
      await this.#transport.receive(buffer.subarray(0, count));
      if (this.#transport.waitingBytes > MAX_BACKLOG_BYTES) {
        throw new SshFormatError("the client does not exchange keys");
      }
      await this.#transport.room(MAX_BACKLOG_PACKETS);
      await this.#output.room(() => MAX_BACKLOG_BYTES);
      if (count === size) size = Math.min(2 * size, READ_BYTES.most);
      else if (count < size / 4) size = Math.max(size / 2, READ_BYTES.least);
    }
  }

  /** Reads what the client still says. Never rejects. */
  async #discard(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES.least);
    try {
      while (await this.#socket.read(buffer) !== null);
    } catch {
      // The connection is over.
    }
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#socket.write(bytes.subarray(at));
  }

  #serve(service: string): void {
    if (service === "ssh-userauth") this.#transport.acceptService(service);
    else this.end(DISCONNECT.serviceNotAvailable, "there is no such service");
  }

  #receive(payload: Uint8Array): void {
    if (this.over.aborted) return;
    const type = payload[0]!;
    if (!isSshMessage(type)) this.#transport.unimplemented();
    else if (type < SSH_MESSAGE.globalRequest) this.#dialogue.receive(payload);
    else if (this.#channels) this.#channels.receive(payload);
    else throw new SshFormatError("the client has not logged in");
  }

  async #keepAlive(): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(KEEP_ALIVE.everyMs, this.over);
      if (this.over.aborted) return;
      if (!this.isLoggedIn) continue;
      if (++this.#silences > KEEP_ALIVE.times) return this.cut();
      this.#transport.send(keepAliveRequest());
    }
  }
}

function closeQuietly(socket: Deno.Conn): void {
  try {
    socket.close();
  } catch {
    // It is closed already.
  }
}
