/**
 * Lines that krun's own commands write: in pieces, with turns for others between them. In: lines. Out: bytes.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import { shownText } from "../core/shown_text.ts";
import type { SharedTurns } from "./shared_turns.ts";

/** What is written at once, characters. */
const PIECE_CHARACTERS = 32 * 1024;

/** Where the lines go. */
export interface LineTarget {
  /** Whether control characters are taken out of them. */
  readonly isTerminal: boolean;
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
}

/** The lines of one command. Holds less than a piece and a line. */
export class LineOutput {
  readonly #target: LineTarget;
  readonly #turns: SharedTurns;
  #held: string[] = [];
  #characters = 0;

  constructor(target: LineTarget, turns: SharedTurns) {
    this.#target = target;
    this.#turns = turns;
  }

  /** Adds a line, without its end. Resolves when the next one may come. */
  async line(text: string): Promise<void> {
    const shown = this.#target.isTerminal ? shownText(text) : text;
    this.#held.push(`${shown}\n`);
    this.#characters += shown.length + 1;
    if (this.#characters >= PIECE_CHARACTERS) await this.flush();
    else await this.#turns.carried(0);
  }

  /** Writes what is held. */
  async flush(): Promise<void> {
    if (this.#held.length === 0) return;
    const bytes = bytesOfText(this.#held.join(""));
    [this.#held, this.#characters] = [[], 0];
    await this.#target.write(bytes);
    await this.#turns.carried(bytes.length);
  }
}
