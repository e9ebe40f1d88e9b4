/**
 * Cuts a stream of bytes into the packets of SFTP. In: bytes as they come. Out: packets without their length. Rules:
 * draft-ietf-secsh-filexfer-02, section 3.
 *
 * @module
 */
import { SshFormatError } from "./ssh_wire.ts";

/** The largest packet, bytes, without its length: that of OpenSSH. */
export const MAX_PACKET_BYTES = 256 * 1024;

const LENGTH_BYTES = 4;

/** Collects bytes and gives back each whole packet. One instance a channel. */
export class SftpFraming {
  /** What was pushed and not yet looked at. */
  #chunk: Uint8Array = new Uint8Array(0);
  /** The begin of a packet, or of its length, whose rest has not come. */
  #begun = new Uint8Array(LENGTH_BYTES);
  #begunBytes = 0;
  #isPacketBegun = false;
  /** How many bytes what comes now has. */
  #wanted = LENGTH_BYTES;

  /** Takes the next bytes, when {@linkcode SftpFraming.next} has nothing more to give. They must stay as they are while packets are used. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
  }

  /** Whether the bytes so far end where a packet ends. */
  get isBetween(): boolean {
    return this.#chunk.length === 0 && this.#begunBytes === 0 && !this.#isPacketBegun;
  }

  /**
   * The next packet; `undefined` until more is pushed. A view where it came in one piece.
   *
   * @throws {SshFormatError} for a packet that is empty or longer than {@linkcode MAX_PACKET_BYTES}; nothing after it can be read
   */
  next(): Uint8Array | undefined {
    if (!this.#isPacketBegun) {
      const length = this.#take(LENGTH_BYTES);
      if (length === undefined) return undefined;
      const bytes = new DataView(length.buffer, length.byteOffset).getUint32(0);
      if (bytes === 0) throw new SshFormatError("a packet is empty");
      if (bytes > MAX_PACKET_BYTES) throw new SshFormatError(`a packet has ${bytes} bytes`);
      this.#begin(bytes);
      this.#isPacketBegun = true;
    }
    const packet = this.#take(this.#wanted);
    if (packet === undefined) return undefined;
    this.#begin(LENGTH_BYTES);
    this.#isPacketBegun = false;
    return packet;
  }

  #begin(bytes: number): void {
    this.#wanted = bytes;
    this.#begunBytes = 0;
  }

  /** As many bytes, once they are there. */
  #take(bytes: number): Uint8Array | undefined {
    if (this.#chunk.length === 0) return undefined;
    if (this.#begunBytes === 0 && this.#chunk.length >= bytes) {
      const taken = this.#chunk.subarray(0, bytes);
      this.#chunk = this.#chunk.subarray(bytes);
      return taken;
    }
    if (this.#begunBytes === 0) this.#begun = new Uint8Array(bytes);
    const part = this.#chunk.subarray(0, bytes - this.#begunBytes);
    this.#begun.set(part, this.#begunBytes);
    this.#begunBytes += part.length;
    this.#chunk = this.#chunk.subarray(part.length);
    return this.#begunBytes === bytes ? this.#begun : undefined;
  }
}
