/**
 * Cuts a stream of bytes into JSON documents, one a line, as the API server sends the events of a watch.
 *
 * @module
 */

const LINE_FEED = 10;

/** Collects bytes and gives back each whole line as a value. One instance a stream. */
export class JsonLines {
  #rest: Uint8Array[] = [];

  /**
   * Takes the next bytes and returns the values of the lines that they complete.
   *
   * @throws {SyntaxError} when a line is not JSON, without quoting it.
   */
  push(chunk: Uint8Array): unknown[] {
    const values: unknown[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#rest.push(chunk.subarray(start, end));
      const line = decoded(this.#rest);
      this.#rest = [];
      if (line.trim() !== "") values.push(parsed(line));
      start = end + 1;
    }
    // Copied, since the owner of the bytes may use them again.
    if (start < chunk.length) this.#rest.push(chunk.slice(start));
    return values;
  }
}

/** The parser's own words would quote the line, which may be a Secret. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new SyntaxError("a line is not JSON");
  }
}

/** A character may be split between two chunks, so all bytes of a line are decoded at once. */
function decoded(parts: readonly Uint8Array[]): string {
  if (parts.length === 1) return new TextDecoder().decode(parts[0]);
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new TextDecoder().decode(whole);
}
