/**
 * Cuts a stream of bytes into lines of text, as a program's output comes.
 *
 * @module
 */

const LINE_FEED = 10, CARRIAGE_RETURN = 13;

/** A longer line is cut in pieces of this size, bytes: what never ends its line must not fill krun's memory. */
const LONGEST_LINE_BYTES = 64 * 1024;

/** Collects bytes and gives back each whole line. One instance a stream. */
export class TextLines {
  #rest = new Uint8Array(0);

  /** Takes the next bytes and returns the lines that they complete, without their ends (LF or CR LF). */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let bytes = joined(this.#rest, chunk);
    for (;;) {
      const end = bytes.subarray(0, LONGEST_LINE_BYTES + 1).indexOf(LINE_FEED);
      if (end < 0 && bytes.length <= LONGEST_LINE_BYTES) break;
      lines.push(textOf(bytes.subarray(0, end < 0 ? LONGEST_LINE_BYTES : end)));
      bytes = bytes.subarray(end < 0 ? LONGEST_LINE_BYTES : end + 1);
    }
    // Copied, since the owner of the bytes may use them again.
    this.#rest = bytes.slice();
    return lines;
  }

  /** What stands after the last end of a line, `undefined` when nothing does. Call it at the end of the stream. */
  rest(): string | undefined {
    return this.#rest.length > 0 ? textOf(this.#rest) : undefined;
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  if (one.length === 0) return other;
  const bytes = new Uint8Array(one.length + other.length);
  bytes.set(one);
  bytes.set(other, one.length);
  return bytes;
}

/** A character that the cut of a long line split, or that is none, becomes U+FFFD. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.at(-1) === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes);
}
