import assert from "node:assert/strict";
import { settle } from "../../tests/fake_clock.ts";
import { loadLibc } from "./libc.ts";
import { readable, stopWaiting, writable } from "./readable.ts";

const libc = loadLibc();

function write(descriptor: number): void {
  assert.equal(libc.call("write", descriptor, new Uint8Array(1), 1), 1);
}

/** Uses a pipe, and closes what is open of it. */
async function withPipe(use: (pipe: { readFd: number; writeFd: number; closeWriter(): void }) => Promise<void>) {
  const { readFd, writeFd } = libc.pipe();
  let isOpen = true;
  const closeWriter = () => {
    if (isOpen) libc.call("close", writeFd);
    isOpen = false;
  };
  await use({ readFd, writeFd, closeWriter });
  closeWriter();
  libc.call("close", readFd);
}

/** Whether a promise has resolved, for looking at it. */
function watched(promise: Promise<void>): { isDone: boolean; done: Promise<void> } {
  const state = { isDone: false, done: promise };
  state.done = promise.then(() => void (state.isDone = true));
  return state;
}

Deno.test("readable() resolves when there is something to read, and not before", async () => {
  await withPipe(async ({ readFd, writeFd }) => {
    const wait = watched(readable(readFd));
    await settle();
    assert.equal(wait.isDone, false);
    write(writeFd);
    await wait.done;
    // It is still there, since nobody has read it.
    await readable(readFd);
  });
});

Deno.test("readable() resolves when the other end is closed, and for what is no descriptor", async () => {
  await withPipe(async ({ readFd, closeWriter }) => {
    const wait = readable(readFd);
    closeWriter();
    await wait;
  });
  await readable(9_999);
});

Deno.test("readable() waits for many at once, also for one that comes while it waits, and wakes each by itself", async () => {
  await withPipe((one) =>
    withPipe((two) =>
      withPipe(async (three) => {
        const first = watched(readable(one.readFd));
        const second = watched(readable(two.readFd));
        await settle();
        const third = watched(readable(three.readFd));
        write(two.writeFd);
        await second.done;
        assert.deepEqual([first.isDone, third.isDone], [false, false]);
        write(three.writeFd);
        await third.done;
        assert.equal(first.isDone, false);
        stopWaiting(one.readFd);
        await first.done;
        // Its call has ended too once a later wait has: this one has something to read.
        await readable(three.readFd);
      })
    )
  );
});

Deno.test("stopWaiting() ends a wait at once, and is nothing where nobody waits", async () => {
  await withPipe(async ({ readFd, writeFd }) => {
    const wait = readable(readFd);
    stopWaiting(readFd);
    await wait;
    stopWaiting(readFd);
    const again = readable(readFd);
    write(writeFd);
    await again;
  });
});

Deno.test("A second wait for the same ends the first, and waits itself", async () => {
  await withPipe(async ({ readFd, writeFd }) => {
    const first = readable(readFd);
    const second = watched(readable(readFd));
    await first;
    assert.equal(second.isDone, false);
    write(writeFd);
    await second.done;
  });
});

Deno.test("writable() resolves when there is room again, and when the reader has gone", async () => {
  const F_SETPIPE_SZ = 1031;
  const page = new Uint8Array(4096);
  await withPipe(async ({ readFd, writeFd }) => {
    libc.call("fcntl", writeFd, F_SETPIPE_SZ, page.length);
    await writable(writeFd);
    while (libc.call("write", writeFd, page, page.length) > 0);
    const wait = watched(writable(writeFd));
    await settle();
    assert.equal(wait.isDone, false);
    libc.call("read", readFd, page, page.length);
    await wait.done;
    while (libc.call("write", writeFd, page, page.length) > 0);
    const last = writable(writeFd);
    libc.call("close", readFd);
    await last;
    // Whatever withPipe() closes at the end.
    assert.equal(libc.open("/dev/null", 0), readFd);
  });
});

Deno.test("A descriptor is waited for in both ways at once, and each wait ends by itself", async () => {
  const TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441, O_RDWR = 2, O_NOCTTY = 0o400;
  const terminal = libc.open("/dev/ptmx", O_RDWR | O_NOCTTY);
  libc.call("ioctl", terminal, TIOCSPTLCK, new Uint8Array(4));
  const program = libc.call("ioctl", terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY);
  const reading = watched(readable(terminal));
  await writable(terminal);
  assert.equal(reading.isDone, false);
  write(program);
  await reading.done;
  for (const fd of [terminal, program]) libc.call("close", fd);
});

Deno.test("readable() does not reject when no descriptor is left to wait with, and needs none after prepareWaiting()", async () => {
  const program = new URL("../../tests/programs/no_descriptors.ts", import.meta.url).pathname;
  const args = ["run", "--no-prompt", "--no-config", "-A", program];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.deepEqual(text(stdout).trim().split("\n"), [
    "Cannot wait for descriptors: none is left for that",
    "stopped true",
    "looks again 0",
    "prepared false",
    "there true",
  ], text(stderr));
});
