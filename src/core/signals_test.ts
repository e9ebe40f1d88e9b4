import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { FORWARDED, SIGCHLD, SIGKILL, signalName, signalNumber, SIGRTMAX, SIGSTOP, SIGTERM } from "./signals.ts";

for (const { id, why, input, expect } of loadVectors<string, number | null>("signal_number")) {
  Deno.test(`signalNumber() ${id}: ${why}`, () => assert.equal(signalNumber(input) ?? null, expect));
}

Deno.test("signalName() gives a name that signalNumber() reads back, for every signal", () => {
  for (let number = 1; number <= SIGRTMAX; number++) assert.equal(signalNumber(signalName(number)), number);
});

Deno.test("signalNumber() agrees with the runtime's own numbers", async () => {
  const { constants } = await import("node:os");
  const { SIGPOLL: _io, SIGIOT: _abrt, SIGUNUSED: _sys, ...signals } = constants.signals as Record<string, number>;
  for (const [name, number] of Object.entries(signals)) assert.equal(signalNumber(name), number, name);
});

Deno.test("FORWARDED holds every signal but those that are krun's own", () => {
  const own = Array.from({ length: SIGRTMAX }, (_, index) => index + 1).filter((signal) => !FORWARDED.includes(signal));
  const names = own.filter((signal) => signal < 32).map(signalName).join(" ");
  assert.equal(names, "ILL TRAP ABRT BUS FPE KILL SEGV CHLD STOP SYS");
  assert.deepEqual(own.filter((signal) => signal >= 32), [32, 33]);
  assert.ok(FORWARDED.includes(SIGTERM));
  for (const signal of [SIGKILL, SIGSTOP, SIGCHLD]) assert.ok(!FORWARDED.includes(signal));
});
