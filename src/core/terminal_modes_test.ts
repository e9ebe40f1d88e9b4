import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { TERMIOS_BYTES, withTerminalModes } from "./terminal_modes.ts";

/** What a case changes; flag words are written in octal, as the kernel's headers have them. */
interface Changes {
  readonly iflag?: string;
  readonly oflag?: string;
  readonly cflag?: string;
  readonly lflag?: string;
  readonly cc?: Readonly<Record<string, number>>;
}

/** What Linux gives a new pseudo-terminal (drivers/tty/tty_io.c, tty_std_termios; INIT_C_CC). */
const INITIAL = { iflag: "0o2400", oflag: "0o5", cflag: "0o277", lflag: "0o105073" };
const INITIAL_CC = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0];

function termios(changes: Changes = {}): Uint8Array {
  const bytes = new Uint8Array(TERMIOS_BYTES);
  const words = { ...INITIAL, ...changes };
  [words.iflag, words.oflag, words.cflag, words.lflag].forEach((word, index) =>
    new DataView(bytes.buffer).setUint32(4 * index, Number(word), true)
  );
  bytes.set(INITIAL_CC, 17);
  for (const [index, character] of Object.entries(changes.cc ?? {})) bytes[17 + Number(index)] = character;
  return bytes;
}

for (const { id, why, input, expect } of loadVectors<[number, number][], Changes>("terminal_modes")) {
  Deno.test(`withTerminalModes() ${id}: ${why}`, () =>
    assert.deepEqual(withTerminalModes(termios(), new Map(input)), Uint8Array.from(termios(expect))));
}

const modes = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 0xffff_ffff })))
  .map((pairs) => new Map(pairs));
const anyTermios = fc.uint8Array({ minLength: TERMIOS_BYTES, maxLength: TERMIOS_BYTES });

Deno.test("withTerminalModes() has the same result when the same modes come again", () => {
  fc.assert(fc.property(anyTermios, modes, (bytes, map) => {
    const once = withTerminalModes(bytes, map);
    assert.deepEqual(withTerminalModes(once, map), once);
  }));
});

Deno.test("withTerminalModes() touches neither what has no opcode nor the bytes that it was given", () => {
  const masks = [0o77774, 0o77, 0o10017 | 0o10017 << 16 | 0o1460, 0o145777];
  fc.assert(fc.property(anyTermios, modes, (bytes, map) => {
    const given = Uint8Array.from(bytes);
    const [before, after] = [bytes, withTerminalModes(bytes, map)].map((all) =>
      new DataView(all.buffer, all.byteOffset, TERMIOS_BYTES)
    );
    masks.forEach((mask, index) =>
      assert.equal((before!.getUint32(4 * index, true) ^ after!.getUint32(4 * index, true)) & ~mask, 0)
    );
    // The line discipline, VTIME and VMIN, and the two characters that Linux does not use.
    for (const at of [16, 17 + 5, 17 + 6, 17 + 17, 17 + 18]) assert.equal(after!.getUint8(at), before!.getUint8(at));
    assert.deepEqual(bytes, given);
  }));
});
