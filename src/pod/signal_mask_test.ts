import assert from "node:assert/strict";
import { SIGTTOU } from "../core/signals.ts";
import { loadLibc } from "./libc.ts";
import { blockTerminalStop, withFormerMask } from "./signal_mask.ts";

const libc = loadLibc();

/** Whether this thread blocks SIGTTOU. */
function isBlocked(): boolean {
  const [, mask = "0"] = /^SigBlk:\t(\w+)$/m.exec(libc.procText("/proc/thread-self/status") ?? "") ?? [];
  return (BigInt(`0x${mask}`) >> BigInt(SIGTTOU - 1) & 1n) === 1n;
}

Deno.test("blockTerminalStop() blocks SIGTTOU until its last holder lets go", () => {
  assert.ok(!isBlocked());
  const [first, second] = [blockTerminalStop(libc), blockTerminalStop(libc)];
  assert.ok(isBlocked());
  first();
  first();
  assert.ok(isBlocked());
  second();
  assert.ok(!isBlocked());
});

Deno.test("withFormerMask() has the mask from before for the time of the call, also after an error", () => {
  const unblock = blockTerminalStop(libc);
  assert.equal(withFormerMask(libc, isBlocked), false);
  const fail = () => {
    throw new RangeError("of the body");
  };
  assert.throws(() => withFormerMask(libc, fail), RangeError);
  assert.ok(isBlocked());
  unblock();
  assert.equal(withFormerMask(libc, isBlocked), false);
});
