/**
 * What a process holds: its descriptors, its descendants, its memory. In: a pid. Out: what a test compares before and after.
 *
 * @module
 */
import { descendants, isAlive } from "../../src/core/proc_stat.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { waitFor } from "../wait.ts";

const libc = loadLibc();

/** Descriptors by what they are, and descendants by their names. */
export interface Footprint {
  readonly descriptors: Readonly<Record<string, number>>;
  readonly processes: readonly string[];
}

/** What a process holds now, files aside: a runtime's caches come and go. Zombies count. */
export function footprint(pid: number): Footprint {
  const links = libc.procNames(`/proc/${pid}/fd`).map((fd) => libc.procLink(`/proc/${pid}/fd/${fd}`) ?? "gone");
  const descriptors: Record<string, number> = {};
  for (const link of links.filter((link) => !link.startsWith("/") || link.startsWith("/dev/pt"))) {
    const kind = link.replace(/\[?\d+\]?$/, "");
    descriptors[kind] = (descriptors[kind] ?? 0) + 1;
  }
  const all = descendants(readProcesses(libc), pid).filter((entry) => entry.pid !== pid);
  const name = (pid: number) => libc.procText(`/proc/${pid}/comm`)?.trim() ?? "gone";
  const processes = all.map((entry) => `${name(entry.pid)}${isAlive(entry) ? "" : " (dead)"}`);
  return { descriptors: Object.fromEntries(Object.entries(descriptors).sort()), processes: processes.sort() };
}

/** What a process holds once nothing of it comes and goes. */
export async function steadyFootprint(pid: number): Promise<Footprint> {
  const LOOKS = 5;
  let [last, same] = ["", 0];
  await waitFor("a steady footprint", () => {
    const now = JSON.stringify(footprint(pid));
    same = now === last && !now.includes("gone") ? same + 1 : 0;
    last = now;
    return same === LOOKS;
  });
  return JSON.parse(last);
}

/** Waits until a process holds what it held before; the error shows the difference. */
export async function holdsAgain(pid: number, before: Footprint): Promise<void> {
  const wanted = JSON.stringify(before);
  await waitFor(`the footprint ${wanted}`, () => {
    const now = JSON.stringify(footprint(pid));
    if (now !== wanted) throw new Error(now);
    return true;
  }, { timeoutMs: 20_000 });
}

/** Waits until a process takes no more memory, nor less. */
export async function steadyMemory(pid: number): Promise<void> {
  const LOOKS = 10;
  let [last, same] = [0, 0];
  await waitFor("steady memory", () => {
    const now = residentBytes(pid);
    same = now === last ? same + 1 : 0;
    last = now;
    return same === LOOKS;
  });
}

/** Resident memory of a process, bytes. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(libc.procText(`/proc/${pid}/status`) ?? "")?.[1]) * 1024;
}
