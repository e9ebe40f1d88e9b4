/**
 * Texts that may hold bytes which are no UTF-8: arguments, variables and paths of Linux are bytes. In: bytes. Out: a text that
 * keeps each of them, and the bytes again.
 *
 * A byte that belongs to no character becomes one unpaired surrogate, U+DC80 to U+DCFF, as in Python (PEP 383). No UTF-8 gives
 * such a text otherwise, so nothing is confused, and `isWellFormed()` tells whether there is one.
 *
 * @module
 */

const ESCAPE = 0xdc00;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The bytes as a text; {@linkcode bytesOfText} gives them back, whatever they are. */
export function textOfBytes(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return escaped(bytes);
  }
}

function escaped(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = characterAt(bytes, at);
    text += length === 0 ? String.fromCharCode(ESCAPE + bytes[at]!) : strict.decode(bytes.subarray(at, at + length));
    at += length || 1;
  }
  return text;
}

/** Bytes of the character that begins there; 0 when none does. */
function characterAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

/** UTF-8 of a text, with the bytes that {@linkcode textOfBytes} has kept. */
export function bytesOfText(text: string): Uint8Array<ArrayBuffer> {
  const bytes = encoder.encode(text);
  if (text.isWellFormed()) return bytes;
  // The encoder writes U+FFFD, three bytes, for each unpaired surrogate.
  let length = 0;
  for (const character of text) {
    const code = character.charCodeAt(0);
    if (character.length === 1 && code >= ESCAPE + 0x80 && code <= ESCAPE + 0xff) bytes[length++] = code - ESCAPE;
    else length += encoder.encodeInto(character, bytes.subarray(length)).written;
  }
  return bytes.slice(0, length);
}
