/**
 * Waiting until a descriptor can be read or written, for which Deno has no call. In: descriptors. Out: promises.
 *
 * One thread of Deno's pool waits for all of them: the pool has 32, which reading files and looking up names need too. The kernel
 * keeps the list (epoll(7)), so that a wait is added while the thread waits, and costs the same beside a thousand others.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { bytesOf, EMFILE, ENOENT, EPERM, type Libc, loadLibc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";

const EPOLLIN = 1, EPOLLOUT = 4, EPOLLONESHOT = 1 << 30;
const EPOLL_CTL_ADD = 1, EPOLL_CTL_MOD = 3;

/** With EPERM, for a file, what epoll_ctl(2) says of what cannot be waited for. */
const EBADF = 9;

/** When to look again at what cannot be waited for now, milliseconds. */
const SHORTAGE_MS = 200;

/** How many descriptors one call tells of; the others are told of by the next one. */
const MAX_EVENTS = 64;

/** struct epoll_event: the events and 64 bits of one's own, which only x86_64 has without a gap between (sys/epoll.h). */
const [EVENT_BYTES, DATA] = Deno.build.arch === "x86_64" ? [12, 4] : [16, 8];

/** Descriptor → whoever waits for it. */
const readers = new Map<number, () => void>();
const writers = new Map<number, () => void>();
let opened: { readonly epollFd: number; readonly wakeFd: number } | undefined;
let isPolling = false;

/**
 * Opens what waiting needs, two descriptors; else the first wait does.
 *
 * @throws {KrunError} `Internal` when no descriptor is left.
 */
export function prepareWaiting(): void {
  const libc = loadLibc();
  opened ??= open(libc);
  if (opened) return;
  const message = "Cannot wait for descriptors: none is left for that";
  throw new KrunError("Internal", message, "raise the limit of open files");
}

/**
 * Resolves when there is something to read, the other end is closed, or `descriptor` is none; and without a reason after some time
 * when the kernel has nothing left to wait with: whoever reads must take that there is nothing. One wait at a time for each: a
 * second one ends the first. Never rejects.
 */
export function readable(descriptor: number): Promise<void> {
  return wait(readers, descriptor);
}

/** Resolves when `descriptor` takes something, or nobody reads its other end any more. Otherwise as {@linkcode readable}. */
export function writable(descriptor: number): Promise<void> {
  return wait(writers, descriptor);
}

/** Ends the waits for a descriptor before they have happened: their promises resolve. Call it before the descriptor is closed. */
export function stopWaiting(descriptor: number): void {
  wake(readers, descriptor);
  wake(writers, descriptor);
  if (isPolling && readers.size + writers.size === 0) {
    // The thread is given back: as long as it waits, so does the end of a program that has nothing else to do.
    loadLibc().call("write", opened!.wakeFd, bytesOf(new BigUint64Array([1n])), 8);
  }
}

function wait(waiters: Map<number, () => void>, descriptor: number): Promise<void> {
  const libc = loadLibc();
  opened ??= open(libc);
  const { promise, resolve } = Promise.withResolvers<void>();
  wake(waiters, descriptor);
  waiters.set(descriptor, resolve);
  const errno = opened ? arm(libc, descriptor) : EMFILE;
  // A file never lets anybody wait.
  if (errno === EBADF || errno === EPERM) wake(waiters, descriptor);
  else if (errno !== 0) setTimeout(() => waiters.get(descriptor) === resolve && wake(waiters, descriptor), SHORTAGE_MS);
  else if (!isPolling) void poll(libc, opened!);
  return promise;
}

function wake(waiters: Map<number, () => void>, descriptor: number): void {
  waiters.get(descriptor)?.();
  waiters.delete(descriptor);
}

function open(libc: Libc): { epollFd: number; wakeFd: number } | undefined {
  const epollFd = libc.call("epoll_create1", O_CLOEXEC);
  const wakeFd = libc.call("eventfd2", 0, O_CLOEXEC | O_NONBLOCK);
  const errno = control(libc, { epollFd, call: EPOLL_CTL_ADD, descriptor: wakeFd, events: EPOLLIN });
  if (errno === 0) return { epollFd, wakeFd };
  for (const fd of [epollFd, wakeFd]) if (fd >= 0) libc.call("close", fd);
  return undefined;
}

/** Has the kernel tell once of what is waited for. Returns errno. */
function arm(libc: Libc, descriptor: number): number {
  const wanted = (readers.has(descriptor) ? EPOLLIN : 0) | (writers.has(descriptor) ? EPOLLOUT : 0);
  const request = { epollFd: opened!.epollFd, descriptor, events: wanted | EPOLLONESHOT };
  // It is on the list from its last wait on, until it is closed.
  const errno = control(libc, { ...request, call: EPOLL_CTL_MOD });
  return errno === ENOENT ? control(libc, { ...request, call: EPOLL_CTL_ADD }) : errno;
}

/** epoll_ctl(2). Returns errno. */
function control(
  libc: Libc,
  { epollFd, call, descriptor, events }: { epollFd: number; call: number; descriptor: number; events: number },
): number {
  const event = new DataView(new ArrayBuffer(EVENT_BYTES));
  event.setUint32(0, events, true);
  event.setInt32(DATA, descriptor, true);
  return libc.attempt("epoll_ctl", epollFd, call, descriptor, bytesOf(event));
}

async function poll(libc: Libc, { epollFd, wakeFd }: { epollFd: number; wakeFd: number }): Promise<void> {
  const events = new DataView(new ArrayBuffer(MAX_EVENTS * EVENT_BYTES));
  isPolling = true;
  while (readers.size + writers.size > 0) {
    const count = await libc.c.epollWaitLater(epollFd, bytesOf(events), MAX_EVENTS, -1);
    for (let at = 0; at < count; at++) {
      const descriptor = events.getInt32(at * EVENT_BYTES + DATA, true);
      if (descriptor === wakeFd) libc.call("read", wakeFd, new Uint8Array(8), 8);
      else ready(libc, { descriptor, found: events.getUint32(at * EVENT_BYTES, true) });
    }
  }
  isPolling = false;
}

function ready(libc: Libc, { descriptor, found }: { descriptor: number; found: number }): void {
  // Whatever else is found, an error or a closed other end, concerns both.
  if ((found & ~EPOLLOUT) !== 0) wake(readers, descriptor);
  if ((found & ~EPOLLIN) !== 0) wake(writers, descriptor);
  if (readers.has(descriptor) || writers.has(descriptor)) arm(libc, descriptor);
}
