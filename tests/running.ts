/**
 * Whether a process still runs.
 *
 * @module
 */

/** Whether it is there and not merely waiting to be reaped, which is its parent's concern: this machine's init takes its time. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
