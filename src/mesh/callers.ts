/**
 * The connections that callers have of one server, and which of them may go. In: connections as they come, what is under way on
 * each. Out: room for the next one, as long as not all of them are at work.
 *
 * @module
 */
import type { DescriptorBudget } from "./descriptor_budget.ts";

/** How long connections may be of no use. */
export interface CallersOptions {
  /** Milliseconds for one on which nothing has begun yet. @default {as long as there is room} */
  readonly knockMs?: number;
  /** Milliseconds for one on which nothing is under way any more. @default {as long as there is room} */
  readonly idleMs?: number;
}

/** A connection of a caller. */
export interface Caller {
  /** It is somebody who is let in: it goes later than those who only knock. */
  admit(): void;
  /** Something is under way until what it gives is called; the connection is not given up meanwhile. */
  begin(): () => void;
  /** It has closed. */
  left(): void;
}

/** Who goes first: those who only knock, then those who are idle; of each kind the oldest. */
type Use = "knocks" | "idle";

/** Those of one server. */
export class Callers {
  readonly #budget: DescriptorBudget;
  readonly #options: CallersOptions;
  readonly #unused: Readonly<Record<Use, Set<Entry>>> = { knocks: new Set(), idle: new Set() };

  constructor(budget: DescriptorBudget, options: CallersOptions = {}) {
    this.#budget = budget;
    this.#options = options;
  }

  /** A new connection. `undefined`: there is no room, since all others are at work. */
  enter(giveUp: () => void): Caller | undefined {
    const release = this.#budget.connection() ?? this.#makeRoom();
    if (release === undefined) return undefined;
    const entry = new Entry(this.#unused, { giveUp, release, limits: this.#options });
    entry.admit("knocks");
    return entry;
  }

  #makeRoom(): (() => void) | undefined {
    const [oldest] = [...this.#unused.knocks.values().take(1), ...this.#unused.idle.values().take(1)];
    oldest?.end();
    return oldest && this.#budget.connection();
  }
}

/** What an {@linkcode Entry} is made of. */
interface EntryOptions {
  readonly giveUp: () => void;
  readonly release: () => void;
  readonly limits: CallersOptions;
}

class Entry implements Caller {
  readonly #unused: Readonly<Record<Use, Set<Entry>>>;
  readonly #options: EntryOptions;
  #underWay = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(unused: Readonly<Record<Use, Set<Entry>>>, options: EntryOptions) {
    this.#unused = unused;
    this.#options = options;
  }

  admit(use: Use = "idle"): void {
    if (this.#isOver || this.#underWay > 0) return;
    this.#leaveQueues();
    this.#unused[use].add(this);
    const { knockMs, idleMs } = this.#options.limits;
    const limitMs = use === "idle" ? idleMs : knockMs;
    if (limitMs !== undefined) this.#timer = setTimeout(() => this.end(), limitMs);
  }

  begin(): () => void {
    this.#underWay++;
    this.#leaveQueues();
    return () => {
      this.#underWay--;
      this.admit();
    };
  }

  left(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leaveQueues();
    this.#options.release();
  }

  /** Gives it up. Its place is free at once, its descriptor in a moment. */
  end(): void {
    this.left();
    this.#options.giveUp();
  }

  #leaveQueues(): void {
    clearTimeout(this.#timer);
    for (const queue of Object.values(this.#unused)) queue.delete(this);
  }
}
