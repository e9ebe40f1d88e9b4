/**
 * How many of krun's file descriptors one way in may have: HBONE's endpoint, the tunnel, the debug SSH server. In: a run. Out: a number.
 *
 * @module
 */
import { callersDescriptors } from "../core/open_files.ts";
import { mayHaveSsh } from "../core/ssh_settings.ts";
import { loadLibc } from "../pod/libc.ts";
import type { Run } from "./run.ts";
import { plannedHbone } from "./ways_in_findings.ts";

/** The same for each way that there may be: callers of one keep nobody out of the others, nor krun from its own work. */
export function callersShare(run: Pick<Run, "settings" | "plan">): number {
  const { settings: { ssh }, plan: { mesh, cluster, planned: { tunnel } } } = run;
  const hasSsh = mayHaveSsh(ssh, { hasCluster: cluster !== undefined });
  const ways = [plannedHbone(mesh) !== undefined, tunnel !== undefined, hasSsh].filter(Boolean).length;
  return Math.floor(callersDescriptors(loadLibc().procText("/proc/self/limits")) / Math.max(1, ways));
}
