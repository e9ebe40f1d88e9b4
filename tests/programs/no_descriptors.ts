/**
 * Waiting for a descriptor when none is left to wait with. Prints what came of it, a line each.
 */
import { loadLibc } from "../../src/pod/libc.ts";
import { prepareWaiting, readable, stopWaiting } from "../../src/pod/readable.ts";

const libc = loadLibc();
const { readFd, writeFd } = libc.pipe();
const { soft } = libc.openFilesLimit();
libc.setOpenFilesLimit(3n);
let isStopped = false;
const outcomes: string[] = [];
try {
  prepareWaiting();
} catch (error) {
  outcomes.push((error as Error).message);
}
const stopped = readable(readFd).then(() => isStopped = true);
stopWaiting(readFd);
await stopped;
outcomes.push(`stopped ${isStopped}`);
await readable(readFd);
outcomes.push(`looks again ${libc.call("read", readFd, new Uint8Array(0), 0)}`);
libc.setOpenFilesLimit(soft);
prepareWaiting();
libc.setOpenFilesLimit(3n);
let isThere = false;
const wait = readable(readFd).then(() => isThere = true);
await Promise.resolve();
outcomes.push(`prepared ${isThere}`);
libc.call("write", writeFd, new Uint8Array(1), 1);
await wait;
outcomes.push(`there ${isThere}`);
libc.setOpenFilesLimit(soft);
console.log(outcomes.join("\n"));
