/**
 * What each signal to krun means at each moment of a run: during the start, while a program runs, during a stop.
 *
 * @module
 */
import type { SignalInfo } from "../core/signal_info.ts";
import { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP } from "../core/signals.ts";

/** Who carries out what signals ask for, once a program runs. */
export interface SignalTarget {
  /** Passes a signal on to the program. */
  kill(signal: number): void;
  /** Begins a polite stop. */
  stop(): Promise<void>;
  /** Ends a polite stop's patience. */
  hurry(): void;
}

/** The signals that end a krun without a program. */
const ENDING: readonly number[] = [SIGTERM, SIGINT, SIGQUIT];

/** The same signal within this time is the same request: timeout(1) sends SIGTERM to its child, then to its whole group. */
const SAME_REQUEST_MS = 100;

/**
 * Decides what a signal does. SIGTERM begins a stop; a second SIGTERM, or SIGINT, shortens it; everything else goes to the
 * program. While there is no program SIGTERM, SIGINT, SIGQUIT and the end of the terminal end krun, and SIGTSTP suspends it; a
 * SIGHUP that a process sends asks a program to read its settings again, so without one it does nothing.
 */
export class Control {
  readonly #asked = new AbortController();
  readonly #suspend: () => void;
  readonly #nowMs: () => number;
  #target: SignalTarget | undefined;
  #by: number | undefined;
  #askedMs = 0;
  #failure: { readonly cause: unknown } | undefined;

  /** `suspend` stops krun itself, until somebody continues it; `nowMs` is a monotonic clock. */
  constructor({ suspend, nowMs = () => performance.now() }: { suspend: () => void; nowMs?: () => number }) {
    this.#suspend = suspend;
    this.#nowMs = nowMs;
  }

  /** Aborted when a stop was asked for. */
  get stop(): AbortSignal {
    return this.#asked.signal;
  }

  /** The signal that asked for the stop. */
  get by(): number | undefined {
    return this.#by;
  }

  /** Something that nobody foresaw went wrong: stop as at SIGTERM. The failure decides the exit status. */
  fail(cause: unknown): void {
    this.#failure ??= { cause };
    if (!this.#asked.signal.aborted) this.#begin(SIGTERM);
  }

  /** What {@linkcode Control.fail} was told first. */
  get failure(): { readonly cause: unknown } | undefined {
    return this.#failure;
  }

  /** From now on there is a program. A stop that was asked for before begins at once. */
  attach(target: SignalTarget): void {
    this.#target = target;
    if (this.#asked.signal.aborted) void target.stop();
  }

  /** A signal came. @param from who sent it; the kernel for a terminal */
  signal(signal: number, from: SignalInfo["from"] = "process"): void {
    const stopping = this.#asked.signal.aborted;
    const isAlone = this.#target === undefined;
    if (stopping && signal === this.#by && this.#nowMs() - this.#askedMs < SAME_REQUEST_MS) return;
    if (stopping && (signal === SIGTERM || signal === SIGINT)) this.#target?.hurry();
    else if (signal === SIGTERM || (isAlone && ENDING.includes(signal))) this.#begin(signal);
    else if (isAlone && signal === SIGHUP && from === "kernel") this.#begin(signal);
    else if (this.#target === undefined && signal === SIGTSTP) this.#suspend();
    else this.#target?.kill(signal);
  }

  #begin(signal: number): void {
    this.#by = signal;
    this.#askedMs = this.#nowMs();
    this.#asked.abort();
    void this.#target?.stop();
  }
}
