import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { bytesOfText } from "./byte_text.ts";
import {
  MAX_LINE_BYTES,
  nameFault,
  parseScpLine,
  ScpFormatError,
  ScpFraming,
  type ScpMessage,
  scpMessage,
} from "./scp_protocol.ts";
import { concatBytes } from "./ssh_wire.ts";

for (const { id, why, input, expect } of loadVectors<string, ScpMessage | "refused">("scp_line")) {
  Deno.test(`parseScpLine() ${id}: ${why}`, () => {
    const bytes = Uint8Array.from(input, (character) => character.charCodeAt(0));
    if (expect === "refused") assert.throws(() => parseScpLine(bytes), ScpFormatError);
    else assert.deepEqual(parseScpLine(bytes), expect);
  });
}

const mode = fc.nat({ max: 0o7777 });
const name = fc.string({ unit: "binary", minLength: 1, maxLength: 50 }).filter((text) => nameFault(text) === undefined);
const text = fc.string({ maxLength: 50 }).map((some) => some.replaceAll("\n", " "));
const message: fc.Arbitrary<ScpMessage> = fc.oneof(
  fc.record({ kind: fc.constant("file" as const), mode, sizeBytes: fc.maxSafeNat(), name }),
  fc.record({ kind: fc.constant("folder" as const), mode, name }),
  fc.record({
    kind: fc.constant("times" as const),
    modifiedSeconds: fc.maxSafeNat(),
    accessedSeconds: fc.maxSafeNat(),
  }),
  fc.record({ kind: fc.constantFrom("warning" as const, "fatal" as const), text }),
  fc.record({ kind: fc.constantFrom("folderEnd" as const, "ok" as const) }),
);

/** Cuts bytes into pieces of such lengths, one after the other, again from the begin. */
function pieces(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const cut: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.length; at += lengths[turn++ % lengths.length]!) {
    cut.push(bytes.subarray(at, at + lengths[turn % lengths.length]!));
  }
  return cut;
}

Deno.test("ScpFraming gives what scpMessage() writes, however it comes", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
  fc.assert(fc.property(fc.array(message), lengths, (messages, lengths) => {
    const framing = new ScpFraming();
    const seen: ScpMessage[] = [];
    for (const piece of pieces(concatBytes(...messages.map(scpMessage)), lengths)) {
      framing.push(piece);
      for (let one; (one = framing.message()) !== undefined;) seen.push(one);
    }
    assert.deepEqual(seen, messages.map((one) => ({ ...one })));
    assert.ok(framing.isBetween);
  }));
});

Deno.test("ScpFraming takes any bytes as messages, or refuses them; no name leads out of a folder", () => {
  const begin = fc.constantFrom("C0644 1 ", "D0755 0 ", "T1 0 1 0", "E", "\x01", "\0", "");
  fc.assert(fc.property(fc.array(fc.tuple(begin, fc.uint8Array({ maxLength: 12 }))), (parts) => {
    const framing = new ScpFraming();
    framing.push(concatBytes(...parts.flatMap(([text, bytes]) => [bytesOfText(text), bytes, Uint8Array.of(10)])));
    try {
      for (let one; (one = framing.message()) !== undefined;) {
        if (one.kind === "file" || one.kind === "folder") assert.doesNotMatch(one.name, /^\.{0,2}$|[/\0\n]/);
      }
    } catch (error) {
      assert.ok(error instanceof ScpFormatError, String(error));
    }
  }));
});

Deno.test("ScpFraming gives the bytes of a file, and the message after them", () => {
  const framing = new ScpFraming();
  framing.push(bytesOfText("C0644 5 x\nhel"));
  assert.equal(framing.message()?.kind, "file");
  assert.deepEqual(framing.data(5), bytesOfText("hel"));
  assert.equal(framing.data(2).length, 0);
  framing.push(bytesOfText("lo\0E\n"));
  assert.deepEqual(framing.data(2), bytesOfText("lo"));
  assert.deepEqual([framing.message(), framing.message(), framing.message()], [
    { kind: "ok" },
    { kind: "folderEnd" },
    undefined,
  ]);
});

Deno.test("ScpFraming refuses a line without an end as soon as it is too long", () => {
  for (const piece of [1, 1000, MAX_LINE_BYTES]) {
    const framing = new ScpFraming();
    const lines = new Uint8Array(piece).fill(1);
    for (let length = piece; length <= MAX_LINE_BYTES; length += piece) {
      framing.push(lines);
      assert.equal(framing.message(), undefined);
    }
    framing.push(lines);
    assert.throws(() => framing.message(), ScpFormatError);
  }
});

Deno.test("scpMessage() writes texts that fit into one answer of OpenSSH's client, and on one line", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 3000 }), (text) => {
    const bytes = scpMessage({ kind: "warning", text });
    assert.ok(bytes.length < 2048);
    assert.equal(bytes.indexOf(10), bytes.length - 1);
  }));
});

Deno.test("scpMessage() writes no name that the other side would have to refuse, and no time before the epoch", () => {
  for (const name of ["", ".", "..", "a/b", "a\nb", "a\0b"]) {
    assert.throws(() => scpMessage({ kind: "folder", mode: 0o755, name }), TypeError);
  }
  const times = scpMessage({ kind: "times", modifiedSeconds: -5, accessedSeconds: 7 });
  assert.deepEqual(times, bytesOfText("T0 0 7 0\n"));
});
