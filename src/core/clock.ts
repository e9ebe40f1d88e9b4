/**
 * Time as an argument: what every loop that waits is given, so that a test can make an hour pass at once.
 *
 * @module
 */

/** Two ways to tell the time, and ways to let it pass. */
export interface Clock {
  /** Milliseconds since the epoch, as the machine believes; it may jump, forward after a suspend, or back. */
  nowMs(): number;
  /** Milliseconds since an unknown instant; never goes back, and may stand still while the machine is suspended. */
  elapsedMs(): number;
  /** Resolves after `ms` of `elapsedMs`, or at once when the signal aborts; never rejects, leaves no timer behind. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Aborts after `ms` of `elapsedMs`. It cannot be called off, only not be listened to. */
  deadline(ms: number): AbortSignal;
  /** Resolves as soon as what has come over the network meanwhile was dealt with. */
  turn(): Promise<void>;
}
