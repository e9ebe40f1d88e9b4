/**
 * Waiting until a descriptor can be read, for which Deno has no call. In: descriptors. Out: promises.
 *
 * One thread of Deno's pool waits for all of them: the pool has 32, which reading files and looking up names need too.
 *
 * @module
 */
import { bytesOf, type Libc, loadLibc } from "./libc.ts";

const POLLIN = 1;

/** Descriptor → whoever waits for it. */
const waiters = new Map<number, () => void>();
let wake: ReturnType<Libc["pipe"]> | undefined;
let isPolling = false;

/**
 * Resolves when there is something to read, the other end is closed, or `descriptor` is none. One wait at a time for each. Never
 * rejects. Its memory is that of `Libc.spawn`, which must be loaded while krun has the permission ffi.
 */
export function readable(descriptor: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  waiters.set(descriptor, resolve);
  if (isPolling) ring();
  else void poll();
  return promise;
}

/** Ends a wait before it has happened: its promise resolves. Call it before the descriptor is closed. */
export function stopWaiting(descriptor: number): void {
  waiters.get(descriptor)?.();
  waiters.delete(descriptor);
  if (isPolling) ring();
}

/** Has the thread look at the descriptors anew. */
function ring(): void {
  loadLibc().call("write", wake!.writeFd, new Uint8Array(1), 1);
}

async function poll(): Promise<void> {
  const libc = loadLibc();
  wake ??= libc.pipe();
  isPolling = true;
  while (waiters.size > 0) {
    const descriptors = [wake.readFd, ...waiters.keys()];
    // struct pollfd (poll(2)): the descriptor, then what is asked for and what was found, 16 bits each.
    const polled = new Int32Array(descriptors.flatMap((descriptor) => [descriptor, POLLIN]));
    await libc.spawn.pollLater(bytesOf(polled), BigInt(descriptors.length), -1);
    descriptors.forEach((descriptor, index) => {
      if (polled[2 * index + 1]! >> 16 !== 0) ready(libc, descriptor);
    });
  }
  isPolling = false;
}

function ready(libc: Libc, descriptor: number): void {
  if (descriptor === wake!.readFd) {
    libc.call("read", descriptor, new Uint8Array(64), 64);
    return;
  }
  waiters.get(descriptor)?.();
  waiters.delete(descriptor);
}
