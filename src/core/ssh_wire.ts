/**
 * The data types of SSH. In: bytes. Out: numbers, texts and byte strings, and bytes again. Rules: RFC 4251, section 5.
 *
 * @module
 */

/** The bytes are not what the format says. */
export class SshFormatError extends Error {
  override readonly name = "SshFormatError";
}

/** The bytes end before what they announce. */
export class SshTooShortError extends SshFormatError {}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Reads values one after the other. Every method throws {@linkcode SshFormatError} where the bytes end too early. */
export class SshReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many bytes were read. */
  get position(): number {
    return this.#at;
  }

  /** Whether everything was read. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** A `byte`. */
  uint8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  /** A `uint32`. */
  uint32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** A `uint64`. */
  uint64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  /** As many bytes as asked for; a view, no copy. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** A `string`; a view, no copy. */
  string(): Uint8Array {
    return this.bytes(this.uint32());
  }

  /** A `string` of UTF-8. */
  text(): string {
    try {
      return decoder.decode(this.string());
    } catch (cause) {
      if (cause instanceof SshFormatError) throw cause;
      throw new SshFormatError("a text is no UTF-8", { cause });
    }
  }

  /** An `mpint` that is not negative, without leading zeros: the magnitude as big-endian bytes. */
  magnitude(): Uint8Array {
    const bytes = this.string();
    if ((bytes[0] ?? 0) & 0x80) throw new SshFormatError("a number is negative");
    return bytes[0] === 0 ? bytes.subarray(1) : bytes;
  }

  /** Everything that is left; a view, no copy. */
  rest(): Uint8Array {
    return this.bytes(this.#bytes.length - this.#at);
  }

  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw new SshTooShortError(`it ends before its ${length} bytes`);
    this.#at += length;
    return start;
  }
}

/** A `uint32`. */
export function sshUint32(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** A `string` of bytes, or of a text's UTF-8. */
export function sshString(value: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const content = typeof value === "string" ? encoder.encode(value) : value;
  return concatBytes(sshUint32(content.length), content);
}

/** All of them in one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
