/**
 * How long one answer may take where something else ends at a deadline. In: a limit and a deadline. Out: milliseconds.
 *
 * @module
 */

/** Nothing has less time: a deadline that has just passed would else fail what answers at once. */
const SHORTEST_MS = 1_000;

/** When the whole ends. */
export interface AnswerDeadline {
  /** Milliseconds since the epoch. 0 or `undefined`: there is none, or one try has all its time. */
  readonly deadlineMs: number | undefined;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** The limit for one answer, not much longer than whoever asks will wait, and never less than a second. */
export function answerLimitMs(limitMs: number, { deadlineMs = 0, nowMs }: AnswerDeadline): number {
  return deadlineMs === 0 ? limitMs : Math.min(limitMs, Math.max(deadlineMs - nowMs, SHORTEST_MS));
}
