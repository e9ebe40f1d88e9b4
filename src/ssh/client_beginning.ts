/**
 * What a client says first: its version and the packet with its algorithms. In: bytes, as they come. Out: both as a whole, and the ciphers
 * that the client has. Rules: RFC 4253, sections 4.2 and 7.1.
 *
 * ssh2 loses what comes after the second piece of a version, and offers what it has as soon as that is there.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ClientCiphers, clientCiphers, hasFirstPacket } from "../core/ssh_kexinit.ts";
import { SshFormatError } from "../core/ssh_wire.ts";

/** What a client has said, and all that has come after it. */
export interface Begun {
  readonly bytes: Buffer;
  /** Unset: the client has not said which ones it has, and what it has said is for ssh2 to judge. */
  readonly ciphers?: ClientCiphers;
}

/** The longest line with which a client may begin, bytes (RFC 4253, 4.2). */
const LONGEST_VERSION = 255;

const LINE_FEED = 10;

/** How long a client may wait for what is offered before it says what it has: either may begin (RFC 4253, 7.1). Milliseconds. */
const PATIENCE_MS = 1_000;

/** The beginning of one connection. */
export class ClientBeginning {
  readonly #onWait: (begun: Begun) => void;
  #said: Buffer | undefined = Buffer.alloc(0);
  #patience: ReturnType<typeof setTimeout> | undefined;

  /** @param onWait called where the client has said its version, and waits for what it is offered */
  constructor(onWait: (begun: Begun) => void) {
    this.#onWait = onWait;
  }

  /** Whether all of it was given away already. */
  get isOver(): boolean {
    return this.#said === undefined;
  }

  /** Takes bytes, of which it may keep a view. `undefined`: there is more to come. @throws {SshFormatError} when it can be no beginning */
  take(chunk: Buffer): Begun | undefined {
    const said = this.#said = Buffer.concat([this.#said!, chunk]);
    const end = said.indexOf(LINE_FEED);
    if (end >= LONGEST_VERSION || (end < 0 && said.length >= LONGEST_VERSION)) {
      throw new SshFormatError("the client's version is too long");
    }
    if (end < 0) return undefined;
    const packet = said.subarray(end + 1);
    if (said.toString("latin1", 0, 4) !== "SSH-") return this.#given({ bytes: said });
    if (hasFirstPacket(packet)) return this.#given({ bytes: said, ciphers: clientCiphers(packet) });
    this.#patience ??= setTimeout(() => this.#onWait(this.#given({ bytes: this.#said! })), PATIENCE_MS);
    return undefined;
  }

  /** Lets go of what it holds. */
  close(): void {
    this.#said = undefined;
    clearTimeout(this.#patience);
  }

  #given(begun: Begun): Begun {
    this.close();
    return begun;
  }
}
