/**
 * The line to a client of scp's legacy protocol. In: a channel. Out: messages and the bytes of files, one after the other; answers go
 * back.
 *
 * @module
 */
import { ScpFormatError, ScpFraming, type ScpMessage, scpMessage } from "../core/scp_protocol.ts";
import type { Channel } from "../net/channel.ts";
import type { SharedTurns } from "./shared_turns.ts";

/** The client is gone, or has said that it goes. */
export class ScpOver extends Error {
  override readonly name = "ScpOver";
}

/** A line. What is not read waits in the channel's window, and what is written waits for the client. */
export class ScpWire {
  readonly #channel: Channel;
  readonly #turns: SharedTurns;
  readonly #framing = new ScpFraming();
  #failures = 0;
  /** A read that was begun, to see whether the client is there. */
  #ahead: Promise<Uint8Array | undefined | "cut"> | undefined;
  #hasEnded = false;

  constructor(channel: Channel, turns: SharedTurns) {
    this.#channel = channel;
    this.#turns = turns;
  }

  /** How many files or folders were not carried as they were meant to be, as either side has told. */
  get failures(): number {
    return this.#failures;
  }

  /** The next message; `undefined` when the client has ended. @throws {ScpFormatError} @throws {ScpOver} */
  async message(): Promise<ScpMessage | undefined> {
    for (;;) {
      const message = this.#framing.message();
      if (message !== undefined) {
        await this.#turns.carried(0);
        if (message.kind === "warning" || message.kind === "fatal") this.#failures++;
        return message;
      }
      if (!await this.#receive()) {
        if (this.#framing.isBetween) return undefined;
        throw new ScpOver("it ends within a line");
      }
    }
  }

  /** Some more bytes of a file. @throws {ScpOver} */
  async data(mostBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      const data = this.#framing.data(mostBytes);
      if (data.length > 0) {
        await this.#turns.carried(data.length);
        return data as Uint8Array<ArrayBuffer>;
      }
      if (!await this.#receive()) throw new ScpOver("it ends within a file");
    }
  }

  /** Whether the client agrees with what was sent last. @throws {ScpFormatError} @throws {ScpOver} also when it says that it goes */
  async isAgreed(): Promise<boolean> {
    const answer = await this.message();
    if (answer?.kind === "ok") return true;
    if (answer?.kind === "warning") return false;
    if (answer === undefined || answer.kind === "fatal") throw new ScpOver("it ends where an answer is due");
    throw new ScpFormatError("an answer is none");
  }

  /** Sends a message. @throws {ScpOver} */
  async send(message: ScpMessage): Promise<void> {
    if (message.kind === "warning" || message.kind === "fatal") this.#failures++;
    await this.#write(scpMessage(message));
  }

  /**
   * Sends bytes of a file, which are the channel's from now on.
   *
   * @throws {ScpOver} also when the client has ended: ssh(1) goes on to take, and drop, what an scp that was killed does not read
   */
  async sendData(bytes: Uint8Array): Promise<void> {
    this.#ahead ??= this.#read();
    if (this.#hasEnded && this.#framing.isBetween) throw new ScpOver("it ends within a file");
    await this.#write(bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#channel.write(bytes).catch((cause) => {
      throw new ScpOver("nothing arrives any more", { cause });
    });
    await this.#turns.carried(bytes.length);
  }

  /** To be called where much is done without a word. @throws {ScpOver} */
  async pause(): Promise<void> {
    if (this.#turns.broken.aborted) throw new ScpOver("the channel was cut");
    await this.#turns.carried(0);
  }

  async #receive(): Promise<boolean> {
    const reading = this.#ahead ?? this.#read();
    this.#ahead = undefined;
    const bytes = await reading;
    if (bytes === "cut") throw new ScpOver("the channel was cut");
    if (bytes !== undefined) this.#framing.push(bytes);
    return bytes !== undefined;
  }

  /** Never rejects: nobody may be there to hear it. */
  async #read(): Promise<Uint8Array | undefined | "cut"> {
    const bytes = await this.#channel.read().catch(() => "cut" as const);
    this.#hasEnded ||= bytes === undefined;
    return bytes;
  }
}
