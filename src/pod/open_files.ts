/**
 * The limit of open files that the program gets. In: how krun was started. Out: the same limit for the program.
 *
 * `deno run` raises its own soft limit to the hard one, and children would inherit that; a compiled krun does not. A program
 * that still uses select(2) breaks with descriptors above 1023, which is why the usual soft limit is low.
 *
 * @module
 */
import { type ChildCall, may } from "./child.ts";
import { bytesOf, type Libc, RLIMIT_NOFILE } from "./libc.ts";

/**
 * The soft limit of open files with which krun was started; `undefined` when it is the present one, or cannot be known.
 *
 * What `deno run` was started with is gone, so the limit of the parent is taken, when it can be the origin of ours.
 */
export function openFilesAtStart(libc: Libc): bigint | undefined {
  if (Deno.build.standalone) return undefined;
  const own = libc.openFilesLimit();
  const parent = parseOpenFiles(libc.procText(`/proc/${Deno.ppid}/limits`) ?? "");
  return parent && parent.hard === own.hard && parent.soft < own.soft ? parent.soft : undefined;
}

/** What a child does to have a soft limit of open files; `undefined` changes nothing. */
export function openFilesCalls(libc: Libc, soft: bigint | undefined): ChildCall[] {
  if (soft === undefined) return [];
  const limit = new BigUint64Array([soft, libc.openFilesLimit().hard]);
  return [may("prlimit64", 0, RLIMIT_NOFILE, bytesOf(limit), 0)];
}

/** Calls `body` with the given soft limit, which is in force for krun too as long as that takes; `undefined` changes nothing. */
export function withOpenFiles(libc: Libc, soft: bigint | undefined, body: () => void): void {
  if (soft === undefined) return body();
  const own = libc.openFilesLimit().soft;
  libc.setOpenFilesLimit(soft);
  try {
    body();
  } finally {
    libc.setOpenFilesLimit(own);
  }
}

/** Reads the line of /proc/<pid>/limits (proc_pid_limits(5)). */
export function parseOpenFiles(limits: string): { readonly soft: bigint; readonly hard: bigint } | undefined {
  const UNLIMITED = 0xffffffffffffffffn;
  const match = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(limits);
  if (!match) return undefined;
  const [soft, hard] = match.slice(1).map((text) => text === "unlimited" ? UNLIMITED : BigInt(text));
  return { soft: soft ?? UNLIMITED, hard: hard ?? UNLIMITED };
}
