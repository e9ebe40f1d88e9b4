import assert from "node:assert/strict";
import { OutputQueue } from "./output_queue.ts";

/** A way out that takes what it is told to take. */
class Gate {
  readonly written: Uint8Array[] = [];
  #open = Promise.withResolvers<void>();

  readonly write = async (bytes: Uint8Array): Promise<void> => {
    this.written.push(bytes.slice());
    await this.#open.promise;
  };

  /** What was written, and is to be written from now on until the next call, goes out. */
  open(): void {
    this.#open.resolve();
  }

  fail(cause: Error): void {
    this.#open.reject(cause);
  }

  get text(): string {
    return this.written.map((bytes) => new TextDecoder().decode(bytes)).join("|");
  }
}

const neverFails = (cause: unknown) => assert.fail(String(cause));
const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("OutputQueue.push() sends all of one turn at once and in order, and what comes meanwhile after it", async () => {
  const gate = new Gate();
  const queue = new OutputQueue(gate.write, neverFails);
  queue.push(bytes("a"));
  queue.push(bytes("b"));
  await Promise.resolve();
  for (const text of ["c", "d"]) queue.push(bytes(text));
  assert.equal(gate.text, "ab");
  gate.open();
  await queue.emptied();
  assert.equal(gate.text, "ab|cd");
  assert.equal(queue.lengthBytes, 0);
  queue.push(bytes("e"));
  await queue.emptied();
  assert.equal(gate.text, "ab|cd|e");
});

Deno.test("OutputQueue.room() resolves when enough has gone out, not before", async () => {
  const gate = new Gate();
  const queue = new OutputQueue(gate.write, neverFails);
  queue.push(new Uint8Array(1000));
  await queue.room(() => 2000);
  let hasRoom = false;
  const room = queue.room(() => 500).then(() => hasRoom = true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(hasRoom, false);
  gate.open();
  await room;
  assert.equal(queue.lengthBytes, 0);
});

Deno.test("OutputQueue.push() takes more pieces than a function takes arguments, and counts what each costs", async () => {
  const gate = new Gate();
  const queue = new OutputQueue(gate.write, neverFails);
  const COUNT = 300_000;
  for (let piece = 0; piece < COUNT; piece++) queue.push(Uint8Array.of(piece % 251));
  assert.ok(queue.lengthBytes > COUNT * 100);
  gate.open();
  await queue.emptied();
  assert.equal(gate.written.length, 1);
  assert.ok(gate.written[0]!.every((byte, at) => byte === at % 251));
  assert.equal(queue.lengthBytes, 0);
});

Deno.test("OutputQueue tells of a write that fails once, wakes who waits, and drops what comes after it", async () => {
  const gate = new Gate();
  const causes: unknown[] = [];
  const queue = new OutputQueue(gate.write, (cause) => causes.push(cause));
  queue.push(new Uint8Array(1000));
  const room = queue.room(() => 0);
  const fault = new Error("gone");
  await Promise.resolve();
  gate.fail(fault);
  await room;
  await queue.emptied();
  queue.push(new Uint8Array(1000));
  await queue.room(() => 0);
  assert.deepEqual(causes, [fault]);
  assert.equal(gate.written.length, 1);
});
