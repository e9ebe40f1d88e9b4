/**
 * All channels of one connection. In: the messages of the connection protocol. Out: channels for whoever serves them. Rules:
 * RFC 4254.
 *
 * @module
 */
import {
  CHANNEL_REFUSAL,
  type ChannelOpen,
  channelOpenFailure,
  type ConnectionRequest,
  forwardedChannelOpen,
  parseChannelOpen,
  parseChannelRequest,
  parseGlobalRequest,
  type SessionRequest,
  SSH_MESSAGE,
  sshMessage,
} from "../core/ssh_messages.ts";
import type { SshWindowBudget } from "../core/ssh_window_budget.ts";
import { SshFormatError, SshReader } from "../core/ssh_wire.ts";
import { type ChannelCarrier, MAX_PACKET, SshChannel } from "./channel.ts";

/** A channel is not opened: why, for the client. */
export class ChannelRefused extends Error {
  override readonly name = "ChannelRefused";
  /** One of {@linkcode CHANNEL_REFUSAL}. */
  readonly reason: number;

  constructor(reason: number, words: string) {
    super(words);
    this.reason = reason;
  }
}

/** What answers the requests of one session. */
export interface SessionHandler {
  /** Whether it is granted. Must not throw. */
  request(request: SessionRequest): boolean;
}

/** What a client gets once it has logged in. */
export interface ConnectionServices {
  /** What all clients may send unread. */
  readonly windows: SshWindowBudget;
  /** A session; what is asked of it goes to what this returns. @throws {ChannelRefused} */
  session(channel: SshChannel): SessionHandler;
  /** Resolves to what serves the channel once it is open, or if it cannot be opened any more. Rejects with {@linkcode ChannelRefused}. */
  forward(target: ForwardTarget): Promise<OpenedForward>;
  /** Resolves to whether it was granted; a number is the port that was found where any was asked for. Must not reject. */
  request(request: ConnectionRequest): Promise<boolean | number>;
}

/** Where a client wants to be led to. */
export type ForwardTarget = Exclude<ChannelOpen["target"], { kind: "session" | "unknown" }>;

/** The other end of a forward. */
export interface OpenedForward {
  /** Carries bytes between both. Must not throw. */
  serve(channel: SshChannel): void;
  /** The client has gone meanwhile. */
  drop(): void;
}

/** A client may have so many channels at once, and so many requests that were not answered. */
const MAX_CHANNELS = 4096, MAX_REQUESTS = 1024;

/** The channels of one connection. */
export class ChannelTable {
  readonly #carrier: Omit<ChannelCarrier, "closed">;
  readonly #services: ConnectionServices;
  readonly #channels = new Map<number, SshChannel>();
  readonly #sessions = new Map<number, SessionHandler>();
  /** Those that krun has asked the client for. */
  readonly #asked = new Map<number, { window: number } & PromiseWithResolvers<SshChannel>>();
  #opening = 0;
  #lastId = 0;
  #requests: Promise<void> = Promise.resolve();
  #waitingRequests = 0;
  #noMoreSessions = false;
  #isEnding = false;
  #isLost = false;

  constructor(carrier: Omit<ChannelCarrier, "closed">, services: ConnectionServices) {
    this.#carrier = carrier;
    this.#services = services;
  }

  /** Takes a message of the client. @throws {SshFormatError} when it breaks the protocol */
  receive(payload: Uint8Array): void {
    const type = payload[0];
    switch (type) {
      case SSH_MESSAGE.channelOpen:
        return this.#open(parseChannelOpen(payload));
      case SSH_MESSAGE.channelRequest:
        return this.#channelRequest(payload);
      case SSH_MESSAGE.globalRequest:
        return this.#globalRequest(payload);
      case SSH_MESSAGE.requestSuccess:
      case SSH_MESSAGE.requestFailure:
        return; // Answers to keep-alives.
    }
    const reader = new SshReader(payload);
    reader.uint8();
    const id = reader.uint32();
    if (type === SSH_MESSAGE.channelOpenConfirmation) return this.#confirmed(id, reader);
    if (type === SSH_MESSAGE.channelOpenFailure) return this.#refused(id);
    const channel = this.#channel(id);
    if (type === SSH_MESSAGE.channelData) channel.received(reader.string());
    else if (type === SSH_MESSAGE.channelWindowAdjust) channel.granted(reader.uint32());
    else if (type === SSH_MESSAGE.channelEof) channel.peerEnded();
    else if (type === SSH_MESSAGE.channelClose) channel.peerClosed();
  }

  /** Opens a channel to the client, for a forward that it has asked for. Rejects when the client refuses or is gone. */
  async openForwarded(forwarded: Parameters<typeof forwardedChannelOpen>[1]): Promise<SshChannel> {
    const isPossible = !this.#isLost && !this.#isEnding && this.#count < MAX_CHANNELS;
    if (!isPossible) throw new Error("there is no room for another channel");
    const [id, window] = [this.#freeId(), this.#takeWindow()];
    const asked = { window, ...Promise.withResolvers<SshChannel>() };
    this.#asked.set(id, asked);
    this.#carrier.send(forwardedChannelOpen({ sender: id, window, maxPacket: MAX_PACKET }, forwarded));
    return await asked.promise;
  }

  /** From now on the client gets nothing new: no channel, no program, no forward. What is open goes on. */
  refuseNew(): void {
    this.#isEnding = true;
  }

  /** The connection is gone. What its channels hold counts until it was read. */
  lost(): void {
    this.#isLost = true;
    for (const channel of this.#channels.values()) channel.lost();
    for (const { reject, window } of this.#asked.values()) {
      reject(new Error("the connection is gone"));
      this.#services.windows.giveBack(window);
    }
    this.#asked.clear();
  }

  get #count(): number {
    return this.#channels.size + this.#asked.size + this.#opening;
  }

  #channel(id: number): SshChannel {
    const channel = this.#channels.get(id);
    if (!channel) throw new SshFormatError(`there is no channel ${id}`);
    return channel;
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId + 1) % 2 ** 31; while (
      this.#channels.has(this.#lastId) || this.#asked.has(this.#lastId)
    );
    return this.#lastId;
  }

  #takeWindow(): number {
    return this.#services.windows.take(this.#count);
  }

  #open({ target, ...open }: ChannelOpen): void {
    try {
      if (this.#isEnding) throw new ChannelRefused(CHANNEL_REFUSAL.prohibited, "this connection ends");
      this.#requireRoom(open);
      if (target.kind === "session") this.#openSession(open);
      else if (target.kind !== "unknown") void this.#openForward(target, open);
      else throw new ChannelRefused(CHANNEL_REFUSAL.unknownType, "krun has no channels of that type");
    } catch (cause) {
      this.#refuse(open.sender, cause);
    }
  }

  #requireRoom({ maxPacket }: Pick<ChannelOpen, "maxPacket">): void {
    // A client that takes no bytes at a time would never be served.
    const isTiny = maxPacket < 64;
    if (isTiny) throw new ChannelRefused(CHANNEL_REFUSAL.shortage, "the maximum packet size is too small");
    if (this.#count < MAX_CHANNELS) return;
    throw new ChannelRefused(CHANNEL_REFUSAL.shortage, `there are ${MAX_CHANNELS} channels already`);
  }

  #openSession(open: Omit<ChannelOpen, "target">): void {
    if (this.#noMoreSessions) throw new ChannelRefused(CHANNEL_REFUSAL.prohibited, "no more sessions were asked for");
    const channel = this.#newChannel(this.#freeId(), { ...open, ownWindow: this.#takeWindow() });
    try {
      this.#sessions.set(channel.id, this.#services.session(channel));
    } catch (cause) {
      this.#services.windows.giveBack(channel.window);
      throw cause;
    }
    this.#confirm(channel, open);
  }

  async #openForward(target: ForwardTarget, open: Omit<ChannelOpen, "target">): Promise<void> {
    this.#opening++;
    try {
      const forward = await this.#services.forward(target).finally(() => this.#opening--);
      if (this.#isLost) return forward.drop();
      const channel = this.#newChannel(this.#freeId(), { ...open, ownWindow: this.#takeWindow() });
      this.#confirm(channel, open);
      forward.serve(channel);
    } catch (cause) {
      this.#refuse(open.sender, cause);
    }
  }

  #newChannel(
    id: number,
    { sender, window, maxPacket, ownWindow }: Omit<ChannelOpen, "target"> & { ownWindow: number },
  ): SshChannel {
    const closed = ({ id, window }: SshChannel) => {
      this.#sessions.delete(id);
      if (this.#channels.delete(id)) this.#services.windows.giveBack(window);
    };
    const { send, room, used } = this.#carrier;
    const carrier = { send, room, used, closed };
    const peer = { peer: sender, peerWindow: window, peerMaxPacket: maxPacket };
    return new SshChannel({ carrier, id, ...peer, window: ownWindow });
  }

  #confirm(channel: SshChannel, { sender }: Pick<ChannelOpen, "sender">): void {
    this.#channels.set(channel.id, channel);
    const numbers = [sender, channel.id, channel.window, MAX_PACKET];
    this.#carrier.send(sshMessage(SSH_MESSAGE.channelOpenConfirmation, ...numbers));
  }

  #refuse(sender: number, cause: unknown): void {
    if (!(cause instanceof ChannelRefused)) throw cause;
    if (!this.#isLost) this.#carrier.send(channelOpenFailure(sender, cause.reason, cause.message));
  }

  #confirmed(id: number, reader: SshReader): void {
    const asked = this.#asked.get(id);
    if (!asked) throw new SshFormatError(`channel ${id} was not asked for`);
    this.#asked.delete(id);
    const open = { sender: reader.uint32(), window: reader.uint32(), maxPacket: reader.uint32() };
    const channel = this.#newChannel(id, { ...open, ownWindow: asked.window });
    this.#channels.set(id, channel);
    if (open.maxPacket > 0) return asked.resolve(channel);
    channel.close();
    asked.reject(new Error("the client takes no bytes"));
  }

  #refused(id: number): void {
    const asked = this.#asked.get(id);
    if (!asked) throw new SshFormatError(`channel ${id} was not asked for`);
    this.#asked.delete(id);
    this.#services.windows.giveBack(asked.window);
    asked.reject(new Error("the client refuses the channel"));
  }

  #channelRequest(payload: Uint8Array): void {
    const { recipient, wantsReply, request } = parseChannelRequest(payload);
    const channel = this.#channel(recipient);
    const isGranted = !this.#isEnding && (this.#sessions.get(recipient)?.request(request) ?? false);
    if (wantsReply) channel.reply(isGranted);
  }

  /** Answers go out in the order of the requests. */
  #globalRequest(payload: Uint8Array): void {
    const { wantsReply, request } = parseGlobalRequest(payload);
    if (request.kind === "no-more-sessions") this.#noMoreSessions = true;
    const isKnown = !this.#isEnding && request.kind !== "unknown" && request.kind !== "no-more-sessions";
    if (!isKnown && this.#waitingRequests === 0) return this.#answerGlobal(wantsReply, false);
    if (++this.#waitingRequests > MAX_REQUESTS) throw new SshFormatError("too many requests wait for their answers");
    const answer = isKnown ? this.#services.request(request) : Promise.resolve(false);
    this.#requests = this.#requests.then(async () => {
      const granted = await answer;
      this.#waitingRequests--;
      this.#answerGlobal(wantsReply, granted);
    });
  }

  #answerGlobal(wantsReply: boolean, granted: boolean | number): void {
    if (!wantsReply || this.#isLost) return;
    const { requestSuccess, requestFailure } = SSH_MESSAGE;
    if (granted === false) this.#carrier.send(sshMessage(requestFailure));
    else this.#carrier.send(sshMessage(requestSuccess, ...granted === true ? [] : [granted]));
  }
}
