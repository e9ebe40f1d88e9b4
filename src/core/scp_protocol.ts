/**
 * The legacy protocol of scp, which was rcp's: lines, and files between them. In: bytes of a client. Out: messages, and bytes of files.
 * Nobody has written it down; what it is, OpenSSH's scp.c says (sink, source, rsource, response).
 *
 * @module
 */
import { bytesOfText, textOfBytes } from "./byte_text.ts";

/** What goes over the line. */
export type ScpMessage =
  /** `C`: a file; its bytes follow when the far side agrees. */
  | { readonly kind: "file"; readonly mode: number; readonly sizeBytes: number; readonly name: string }
  /** `D`: a folder; what follows is in it. */
  | { readonly kind: "folder"; readonly mode: number; readonly name: string }
  /** `E`: back to the folder's own folder. */
  | { readonly kind: "folderEnd" }
  /** `T`: of the file or folder that comes next. Seconds since the epoch. */
  | { readonly kind: "times"; readonly modifiedSeconds: number; readonly accessedSeconds: number }
  /** `\0`: go on. */
  | { readonly kind: "ok" }
  /** `\1`: this one fails, others may not. */
  | { readonly kind: "warning"; readonly text: string }
  /** `\2`: it is over. */
  | { readonly kind: "fatal"; readonly text: string };

/** The bytes are not what the protocol says. */
export class ScpFormatError extends Error {
  override readonly name = "ScpFormatError";
}

/** The longest line, bytes: one for a path as long as paths are, and what is wrong with it. */
export const MAX_LINE_BYTES = 8 * 1024;

/** OpenSSH's client keeps 2,048 bytes of an answer, and takes the rest for other answers; one character has three bytes at most. */
const MAX_TEXT = 600;

const OK = 0, LINE_FEED = 10;

/** What the messages that are lines begin with. */
const BEGINS = bytesOfText("CDET\x01\x02");

/** Why a name is none of something in a folder; `undefined` when it may be. One that may be leads nowhere else. */
export function nameFault(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return "it is not the name of a file";
  return /[/\0\n]/.test(name) ? "its name has a slash, a NUL or a line end" : undefined;
}

/** A message as bytes. A text that is too long is cut. @throws {TypeError} for a name that {@linkcode nameFault} refuses */
export function scpMessage(message: ScpMessage): Uint8Array<ArrayBuffer> {
  switch (message.kind) {
    case "ok":
      return Uint8Array.of(OK);
    case "warning":
      return line(`\x01${oneLine(message.text)}`);
    case "fatal":
      return line(`\x02${oneLine(message.text)}`);
    case "file":
      return line(`C${head(message)} ${message.sizeBytes} ${message.name}`);
    case "folder":
      return line(`D${head(message)} 0 ${message.name}`);
    case "folderEnd":
      return line("E");
    case "times":
      return line(`T${Math.max(0, message.modifiedSeconds)} 0 ${Math.max(0, message.accessedSeconds)} 0`);
  }
}

function head({ mode, name }: { readonly mode: number; readonly name: string }): string {
  if (nameFault(name) !== undefined) throw new TypeError("this name cannot be sent");
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

function oneLine(text: string): string {
  return text.replaceAll("\n", " ").slice(0, MAX_TEXT);
}

function line(text: string): Uint8Array<ArrayBuffer> {
  return bytesOfText(`${text}\n`);
}

/** Reads a line without its end. @throws {ScpFormatError} */
export function parseScpLine(bytes: Uint8Array): ScpMessage {
  const text = textOfBytes(bytes);
  if (text.startsWith("\x01")) return { kind: "warning", text: text.slice(1) };
  if (text.startsWith("\x02")) return { kind: "fatal", text: text.slice(1) };
  if (text === "E") return { kind: "folderEnd" };
  const [, modified, accessed] = /^T(\d+) \d+ (\d+) \d+$/.exec(text) ?? [];
  if (modified !== undefined) {
    return { kind: "times", modifiedSeconds: whole(modified), accessedSeconds: whole(accessed!) };
  }
  const [, letter, octal, size, name] = /^([CD])([0-7]{4}) (\d+) (.*)$/s.exec(text) ?? [];
  if (name === undefined) throw new ScpFormatError("a line is none of the protocol");
  if (nameFault(name) !== undefined) throw new ScpFormatError("a name is not that of something in the folder");
  const [mode, sizeBytes] = [parseInt(octal!, 8), whole(size!)];
  return letter === "C" ? { kind: "file", mode, sizeBytes, name } : { kind: "folder", mode, name };
}

function whole(digits: string): number {
  const number = Number(digits);
  if (!Number.isSafeInteger(number)) throw new ScpFormatError("a number is too large");
  return number;
}

/** Cuts a stream of bytes into messages and the bytes of files. One instance a channel. */
export class ScpFraming {
  /** What was pushed and not yet taken. */
  #chunk: Uint8Array = new Uint8Array(0);
  /** The begin of a line whose end has not come. */
  #begun: Uint8Array = new Uint8Array(0);

  /** Takes the next bytes, when there is nothing more to give. They must stay as they are while what is given is used. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
  }

  /** Whether the bytes so far end where a message ends. */
  get isBetween(): boolean {
    return this.#chunk.length === 0 && this.#begun.length === 0;
  }

  /**
   * The next message; `undefined` until more is pushed.
   *
   * @throws {ScpFormatError} also for a line longer than {@linkcode MAX_LINE_BYTES}; nothing after it can be read
   */
  message(): ScpMessage | undefined {
    if (this.#chunk.length === 0) return undefined;
    if (this.#begun.length === 0 && this.#chunk[0] === OK) {
      this.#chunk = this.#chunk.subarray(1);
      return { kind: "ok" };
    }
    // Not only when its line ends, which may never be.
    if (this.#begun.length === 0 && !BEGINS.includes(this.#chunk[0]!)) throw new ScpFormatError("a message is none");
    const end = this.#chunk.indexOf(LINE_FEED);
    const part = end < 0 ? this.#chunk : this.#chunk.subarray(0, end);
    if (this.#begun.length + part.length > MAX_LINE_BYTES) throw new ScpFormatError("a line is too long");
    const bytes = new Uint8Array(this.#begun.length + part.length);
    bytes.set(this.#begun);
    bytes.set(part, this.#begun.length);
    this.#chunk = this.#chunk.subarray(part.length + (end < 0 ? 0 : 1));
    this.#begun = end < 0 ? bytes : new Uint8Array(0);
    return end < 0 ? undefined : parseScpLine(bytes);
  }

  /** The next bytes of a file, a view; none until more is pushed. */
  data(mostBytes: number): Uint8Array {
    const data = this.#chunk.subarray(0, mostBytes);
    this.#chunk = this.#chunk.subarray(data.length);
    return data;
  }
}
