/**
 * How many of krun's file descriptors one way in may have: HBONE's endpoint, the tunnel, the debug SSH server. In: a run. Out: a number.
 *
 * @module
 */
import { callersDescriptors } from "../core/open_files.ts";
import { loadLibc } from "../pod/libc.ts";
import type { Run } from "./run.ts";
import { mayHaveSsh } from "./run_containers.ts";
import { plannedHbone } from "./ways_in_findings.ts";

/** The same for each way that there may be: callers of one keep nobody out of the others, nor krun from its own work. */
export function callersShare(run: Pick<Run, "settings" | "plan">): number {
  const { mesh, planned: { tunnel } } = run.plan;
  const ways = [plannedHbone(mesh) !== undefined, tunnel !== undefined, mayHaveSsh(run)].filter(Boolean).length;
  return Math.floor(callersDescriptors(loadLibc().procText("/proc/self/limits")) / Math.max(1, ways));
}
