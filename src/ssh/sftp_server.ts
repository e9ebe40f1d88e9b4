/**
 * Serves SFTP, version 3, on a channel. In: the bytes of a client. Out: answers, in the order of the requests. Rules:
 * draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL, section 4.
 *
 * A request is looked at when the answer to the one before it has left: what a client sends without reading waits in the
 * channel's window. All calls are krun's main thread's, so after some work it is others' turn.
 *
 * @module
 */
import { versionAnswer } from "../core/sftp_answer.ts";
import { SftpFraming } from "../core/sftp_framing.ts";
import { parseInit, parseRequest } from "../core/sftp_request.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import type { Channel } from "../net/channel.ts";
import { type SftpOptions, SftpSession } from "./sftp_session.ts";
import { SharedTurns } from "./shared_turns.ts";

/** How serving has ended: by the client's end, a channel that was cut, or bytes that are no SFTP. */
export type SftpEnd =
  | { readonly kind: "ended" }
  | { readonly kind: "cut" }
  | { readonly kind: "malformed"; readonly why: string };

/**
 * Serves a channel until its client ends it. What was open is closed then; the channel itself is left to the caller, who has an
 * exit status to send. Rejects only for a mistake of krun's.
 */
export async function serveSftp(channel: Channel, options: SftpOptions): Promise<SftpEnd> {
  const turns = new SharedTurns(channel.broken, options.clock);
  const session = new SftpSession(options, turns);
  try {
    return await new SftpLoop(channel, { session, turns }).run();
  } catch (error) {
    if (error instanceof SshFormatError) return { kind: "malformed", why: error.message };
    throw error;
  } finally {
    session.close();
  }
}

class SftpLoop {
  readonly #channel: Channel;
  readonly #session: SftpSession;
  readonly #turns: SharedTurns;
  readonly #framing = new SftpFraming();
  #isBegun = false;

  constructor(channel: Channel, { session, turns }: { readonly session: SftpSession; readonly turns: SharedTurns }) {
    this.#channel = channel;
    this.#session = session;
    this.#turns = turns;
  }

  async run(): Promise<SftpEnd> {
    for (let bytes: Uint8Array | undefined | "cut" = new Uint8Array();;) {
      for (let packet; (packet = this.#framing.next()) !== undefined;) {
        const answer = await this.#answer(packet);
        if (!await this.#send(answer)) return { kind: "cut" };
        await this.#turns.carried(packet.length + answer.length);
      }
      this.#channel.done?.(bytes);
      bytes = await this.#receive();
      if (bytes === "cut") return { kind: "cut" };
      this.#turns.begin();
      if (bytes === undefined) return this.#ended();
      this.#framing.push(bytes);
    }
  }

  #answer(packet: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (this.#isBegun) return this.#session.answer(parseRequest(packet));
    this.#isBegun = true;
    return versionAnswer(parseInit(packet));
  }

  #receive(): Promise<Uint8Array | undefined | "cut"> {
    return this.#channel.read().catch(() => "cut");
  }

  #send(answer: Uint8Array): Promise<boolean> {
    return this.#channel.write(answer).then(() => true, () => false);
  }

  #ended(): SftpEnd {
    return this.#framing.isBetween ? { kind: "ended" } : { kind: "malformed", why: "it ends within a packet" };
  }
}
