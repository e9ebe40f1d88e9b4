import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { childCode, signalHandlerCode, systemCallCode } from "./machine_code.ts";

Deno.test("systemCallCode() is what an assembler gives for it (binutils 2.40, objdump -d)", () => {
  assert.equal(
    systemCallCode("x86_64").toHex(),
    "534889fb488b03488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f054889433831c05bc3",
  );
  assert.equal(
    systemCallCode("aarch64").toHex(),
    "e90300aa280140f9208540a9228d41a9249542a9010000d4201d00f900008052c0035fd6",
  );
});

Deno.test("childCode() is what an assembler gives for it (binutils 2.40, llvm-mc 14)", () => {
  assert.equal(
    childCode("x86_64").toHex(),
    "534889fb488b03488b7b08488b7310488b53184c8b53204c8b43280f054885c074084889433831c05bc3" +
      "4989dc4883c340488b03488b7b08488b7310488b53184c8b53204c8b43280f05488943384885c079da48837b300075d3" +
      "b801000000498b7c24304889deba400000000f05bf7f000000b8e70000000f05",
  );
  assert.equal(
    childCode("aarch64").toHex(),
    "e90300aa280140f9208540a9228d41a9241540f9010000d4800000b4201d00f900008052c0035fd6" +
      "ea0309aa29010191280140f9208540a9228d41a9241540f9010000d4201d00f920ffffb6211940f9e1feffb5" +
      "401940f9e10309aa020880d2080880d2010000d4e00f80d2c80b80d2010000d4",
  );
});

Deno.test("signalHandlerCode() is the machine code of write(fd, info, 128)", () => {
  assert.equal(signalHandlerCode("x86_64", 0x1234, 128).toHex(), "b801000000bf34120000ba800000000f05c3");
  assert.equal(signalHandlerCode("aarch64", 0x1234, 128).toHex(), "804682d2021080d2080880d2010000d4c0035fd6");
});

Deno.test("Libc.call() tells the fault of its own call, whatever else the thread does meanwhile", async () => {
  // With errno, which belongs to the thread, 1 failed call in 90,000 told V8's EAGAIN instead: a million of them, with
  // garbage to collect.
  const libc = loadLibc();
  const status = new Uint8Array(256);
  const answers = new Set<number>();
  let garbage: unknown[] = [];
  for (let round = 0; round < 200; round++) {
    for (let count = 0; count < 5000; count++) {
      answers.add(libc.call("statx", -100, "/nothing/here", 0, 1, status));
      garbage.push({ text: `${round}.${count}` });
    }
    if (garbage.length > 200_000) garbage = [];
    await new Promise((done) => setTimeout(done));
  }
  assert.deepEqual([...answers], [-2]);
});
