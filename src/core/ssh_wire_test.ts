import assert from "node:assert/strict";
import fc from "fast-check";
import { mpint, uint64 } from "../../tests/ssh_keys.ts";
import { concatBytes, SshFormatError, SshReader, sshString, sshUint32 } from "./ssh_wire.ts";

const bytes = fc.uint8Array({ maxLength: 100 });

Deno.test("SshReader reads what was written, value by value", () => {
  const value = fc.record({ small: fc.nat(255), int: fc.nat(0xffffffff), long: fc.bigInt(0n, 2n ** 64n - 1n), bytes });
  fc.assert(fc.property(value, bytes, fc.string({ unit: "grapheme" }), (value, rest, text) => {
    const written = [Uint8Array.of(value.small), sshUint32(value.int), uint64(value.long), sshString(value.bytes)];
    const reader = new SshReader(concatBytes(...written, sshString(text), rest));
    assert.equal(reader.uint8(), value.small);
    assert.equal(reader.uint32(), value.int);
    assert.equal(reader.uint64(), value.long);
    assert.deepEqual([...reader.string()], [...value.bytes]);
    assert.equal(reader.text(), text);
    assert.equal(reader.isAtEnd, rest.length === 0);
    assert.deepEqual([...reader.rest()], [...rest]);
    assert.equal(reader.isAtEnd, true);
  }));
});

Deno.test("SshReader.magnitude() reads a number of any size", () => {
  fc.assert(fc.property(fc.bigInt(0n, 2n ** 600n), (number) => {
    const hex = number.toString(16);
    const magnitude = Uint8Array.fromHex(hex.padStart(hex.length + hex.length % 2, "0"));
    const read = new SshReader(mpint(magnitude)).magnitude();
    assert.equal(BigInt(`0x0${read.toHex()}`), number);
  }));
  // RFC 4251, section 5: the examples that are not negative, and one that is.
  assert.deepEqual([...new SshReader(Uint8Array.fromHex("00000000")).magnitude()], []);
  assert.deepEqual([...new SshReader(Uint8Array.fromHex("000000020080")).magnitude()], [0x80]);
  assert.throws(() => new SshReader(Uint8Array.fromHex("00000002edcc")).magnitude(), SshFormatError);
});

Deno.test("SshReader throws SshFormatError, and nothing else, where the bytes end or are no text", () => {
  const methods = ["uint8", "uint32", "uint64", "string", "text", "magnitude", "rest"] as const;
  fc.assert(fc.property(bytes, fc.array(fc.constantFrom(...methods)), (bytes, calls) => {
    const reader = new SshReader(bytes);
    try {
      for (const method of calls) reader[method]();
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }));
  assert.throws(() => new SshReader(Uint8Array.fromHex("000000ff00")).string(), SshFormatError);
  assert.throws(() => new SshReader(sshString(Uint8Array.of(0xff))).text(), SshFormatError);
  assert.throws(() => new SshReader(new Uint8Array(0)).bytes(1), SshFormatError);
});
