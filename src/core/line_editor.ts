/**
 * Lines that a person types, for a session in an image without a shell. In: the bytes of a raw terminal. Out: what to show, and whole
 * lines. It knows what the line discipline of Linux knows (termios(3), ICANON): erase, kill, word erase, end and interrupt.
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";

/** What comes of the bytes, in their order. */
export type EditorEvent =
  | { readonly kind: "show"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "line"; readonly line: string }
  /** Ctrl-C: what was typed is gone. */
  | { readonly kind: "interrupt" }
  /** Ctrl-D on an empty line. */
  | { readonly kind: "end" };

/** Options of {@linkcode LineEditor}. */
export interface LineEditorOptions {
  /** Whether what is typed is shown, and keys mean something: there is a terminal. */
  readonly isTerminal: boolean;
}

/** A longer line is not taken, as a terminal of Linux does not, bytes. */
export const LONGEST_LINE_BYTES = 4095;

const CTRL_C = 3, CTRL_D = 4, BACKSPACE = 8, LINE_FEED = 10, RETURN = 13, CTRL_U = 21, CTRL_W = 23;
const ESCAPE = 27, SPACE = 32, DELETE = 127;

/** One terminal's. */
export class LineEditor {
  readonly #isTerminal: boolean;
  #typed: number[] = [];
  #wasReturn = false;
  /** Within the sequence of a key that sends more than one byte. */
  #sequence: "none" | "begun" | "parameters" = "none";

  constructor({ isTerminal }: LineEditorOptions) {
    this.#isTerminal = isTerminal;
  }

  /** What is typed of a line so far. */
  get typed(): string {
    return textOfBytes(Uint8Array.from(this.#typed));
  }

  /** Takes bytes. What follows a line in them is looked at when the next event is asked for. */
  *push(bytes: Uint8Array): Generator<EditorEvent> {
    for (const byte of bytes) yield* this.#isTerminal ? this.#key(byte) : this.#plain(byte);
  }

  *#plain(byte: number): Generator<EditorEvent> {
    if (byte === LINE_FEED) yield this.#line();
    else if (this.#typed.length < LONGEST_LINE_BYTES) this.#typed.push(byte);
  }

  *#key(byte: number): Generator<EditorEvent> {
    if (this.#isInSequence(byte)) return;
    const isSecondEnd = byte === LINE_FEED && this.#wasReturn;
    this.#wasReturn = byte === RETURN;
    if (isSecondEnd) return;
    if (byte === RETURN || byte === LINE_FEED) {
      yield shown("\r\n");
      yield this.#line();
    } else if (byte === CTRL_C) {
      this.#typed = [];
      yield shown("^C\r\n");
      yield { kind: "interrupt" };
    } else if (byte === CTRL_D) {
      if (this.#typed.length === 0) yield { kind: "end" };
    } else if (byte === BACKSPACE || byte === DELETE) yield* this.#erase(() => false);
    else if (byte === CTRL_U) yield* this.#erase(() => true);
    else if (byte === CTRL_W) yield* this.#eraseWord();
    else if (byte >= SPACE && this.#typed.length < LONGEST_LINE_BYTES) {
      this.#typed.push(byte);
      yield { kind: "show", bytes: Uint8Array.of(byte) };
    }
  }

  /** Keys such as arrows: `ESC [ A`. They do nothing. */
  #isInSequence(byte: number): boolean {
    const was = this.#sequence;
    if (was === "none") this.#sequence = byte === ESCAPE ? "begun" : "none";
    else if (was === "begun") this.#sequence = byte === 0x5b || byte === 0x4f ? "parameters" : "none";
    else if (byte >= 0x40) this.#sequence = "none";
    return was !== "none" || this.#sequence !== "none";
  }

  #line(): EditorEvent {
    const line = this.typed;
    this.#typed = [];
    return { kind: "line", line };
  }

  /** Erases the last character, and goes on as long as `more` says of what is last then. */
  *#erase(more: (last: number) => boolean): Generator<EditorEvent> {
    do {
      if (this.#typed.length === 0) return;
      let byte: number;
      // The bytes of one character of UTF-8.
      do byte = this.#typed.pop()!; while ((byte & 0xc0) === 0x80 && this.#typed.length > 0);
      yield shown("\b \b");
    } while (more(this.#typed.at(-1) ?? 0));
  }

  *#eraseWord(): Generator<EditorEvent> {
    if (this.#typed.at(-1) === SPACE) yield* this.#erase((last) => last === SPACE);
    yield* this.#erase((last) => last !== SPACE && last !== 0);
  }
}

function shown(text: string): EditorEvent {
  return { kind: "show", bytes: new TextEncoder().encode(text) };
}
