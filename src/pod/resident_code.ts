/**
 * The part of krun's memory that is code. In: nothing. Out: less of it.
 *
 * @module
 */
import { mappedCode } from "../core/proc_maps.ts";
import { loadLibc } from "./libc.ts";

/**
 * Lets go of the code that only a start needed: 20 of 65 MB (docs/performance.md). What is used again is mapped again, from
 * the same file, most likely without reading it. Nothing happens where /proc cannot be read.
 */
export function releaseCode(): void {
  const MADV_DONTNEED = 4;
  const libc = loadLibc();
  const code = mappedCode(libc.procText("/proc/self/maps") ?? "", Deno.execPath());
  for (const { start, bytes } of code) libc.attempt("madvise", start, bytes, MADV_DONTNEED);
}
