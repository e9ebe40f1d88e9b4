import assert from "node:assert/strict";
import { AnySignal } from "./any_signal.ts";

Deno.test("AnySignal aborts with the first of its sources, and its reason", () => {
  const [one, two] = [new AbortController(), new AbortController()];
  using any = new AnySignal([one.signal, two.signal]);
  assert.equal(any.signal.aborted, false);
  two.abort("two");
  one.abort("one");
  assert.deepEqual([any.signal.aborted, any.signal.reason], [true, "two"]);
});

Deno.test("AnySignal of one that has aborted has aborted", () => {
  using any = new AnySignal([new AbortController().signal, AbortSignal.abort("before")]);
  assert.deepEqual([any.signal.aborted, any.signal.reason], [true, "before"]);
});

Deno.test("AnySignal lets go of its sources when it is disposed", () => {
  const source = new AbortController();
  const any = new AnySignal([source.signal]);
  any[Symbol.dispose]();
  source.abort();
  assert.equal(any.signal.aborted, false);
});
