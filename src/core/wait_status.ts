/**
 * What the number that waitpid(2) gives says. In: the number. Out: the end of the process, or that it stopped.
 *
 * @module
 */
import type { ChildEnd } from "./exit_status.ts";

/** A process ended, or a signal stopped it. */
export type ProcessChange =
  | Extract<ChildEnd, { kind: "exited" | "signaled" }>
  /** It stands still until it gets SIGCONT; `signal` is the signal that stopped it. */
  | { readonly kind: "stopped"; readonly signal: number };

/** Reads a wait status as Linux encodes it (wait(2); the macros WIFEXITED, WIFSTOPPED, WTERMSIG). */
export function processChange(status: number): ProcessChange {
  const low = status & 0x7f;
  const high = (status >> 8) & 0xff;
  if (low === 0) return { kind: "exited", code: high };
  if (low === 0x7f) return { kind: "stopped", signal: high };
  return { kind: "signaled", signal: low };
}
