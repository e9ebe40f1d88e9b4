/**
 * Which container a process belongs to, also when its parents are gone and it leads a session of its own. In: a container's
 * mark while it is started. Out: the mark of any process.
 *
 * The mark is the soft limit of file locks, RLIMIT_LOCKS. The kernel keeps it for every process, hands it down through fork,
 * exec, setsid and a change of user, shows it in /proc/<pid>/limits to everybody, and has enforced nothing by it since Linux
 * 2.4.25 (getrlimit(2)). Where it cannot be set (gVisor, or a lower hard limit) there is no mark.
 *
 * @module
 */
import { type ChildCall, may } from "./child.ts";
import { bytesOf, type Libc } from "./libc.ts";

const RLIMIT_LOCKS = 10;

/** The bits that tell the containers of one run apart. */
const CONTAINER_BITS = 16n;

/** The mark of one run of krun: what its containers' marks have in common. No other run has it. */
export function newRunMark(): bigint {
  const [random = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  // Far above what anybody sets, and below "unlimited".
  return (1n << 62n | random >> 2n) >> CONTAINER_BITS << CONTAINER_BITS;
}

/** The mark of a run's container, by its number from 1. */
export function containerMark(run: bigint, number: number): bigint {
  return run | BigInt(number);
}

/** The mark of the run to which a mark belongs. */
export function runOfMark(mark: bigint): bigint {
  return mark >> CONTAINER_BITS << CONTAINER_BITS;
}

/** Whether a mark is of some run's container: by its size, which nobody sets by chance. */
export function isRunMark(mark: bigint): boolean {
  return mark >> 62n === 1n && mark !== runOfMark(mark);
}

/** What a child does to have a mark, and all that it starts. */
export function markCall(libc: Libc, mark: bigint): ChildCall {
  const own = new BigUint64Array(2);
  libc.call("prlimit64", 0, RLIMIT_LOCKS, 0, bytesOf(own));
  return may("prlimit64", 0, RLIMIT_LOCKS, bytesOf(new BigUint64Array([mark, own[1] ?? 0n])), 0);
}

/** The mark that a process carries; `undefined` when it has none, or is gone. */
export function markOf(libc: Libc, pid: number): bigint | undefined {
  const [, soft] = /^Max file locks\s+(\d+)\s/m.exec(libc.procText(`/proc/${pid}/limits`) ?? "") ?? [];
  return soft === undefined ? undefined : BigInt(soft);
}
