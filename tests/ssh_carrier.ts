/**
 * The connection below the channels of a test: keeps what krun sends, and has room when the test says so.
 *
 * @module
 */
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { concatBytes, SshReader } from "../src/core/ssh_wire.ts";
import type { ChannelCarrier, SshChannel } from "../src/ssh/channel.ts";

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(SSH_MESSAGE).map(([name, number]) => [number, name]));

/** A carrier that records. */
export class RecordingCarrier implements ChannelCarrier {
  /** Every payload that was sent. */
  readonly sent: Uint8Array[] = [];
  /** Channels of which both sides are done. */
  readonly closedIds: number[] = [];
  uses = 0;
  #full: PromiseWithResolvers<void> | undefined;

  readonly send = (head: Uint8Array, body?: Uint8Array): void =>
    void this.sent.push(body ? concatBytes(head, body) : head);

  readonly room = (): Promise<void> | undefined => this.#full?.promise;

  readonly closed = (channel: SshChannel): void => void this.closedIds.push(channel.id);

  readonly used = (): void => void this.uses++;

  /** From now on there is no room. */
  fill(): void {
    this.#full ??= Promise.withResolvers();
  }

  /** There is room again. */
  empty(): void {
    this.#full?.resolve();
    this.#full = undefined;
  }

  /** The names of the messages since the last call. */
  messages(): string[] {
    return this.sent.splice(0).map((payload) => NAMES.get(payload[0]!) ?? `${payload[0]}`);
  }

  /** All bytes of data, of error too, since the last call. */
  data(): string {
    const { channelData, channelExtendedData } = SSH_MESSAGE;
    const payloads = this.sent.splice(0).filter(([type]) => type === channelData || type === channelExtendedData);
    return payloads.map((payload) => {
      const reader = new SshReader(payload);
      const isError = reader.uint8() === channelExtendedData;
      reader.uint32();
      if (isError) reader.uint32();
      return new TextDecoder().decode(reader.string());
    }).join("");
  }
}
