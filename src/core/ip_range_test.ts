import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIpRange } from "./ip_range.ts";

const byte = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join("."));
const hextets = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });

Deno.test("parseIpRange() gives an IPv4 range as it is written", () => {
  fc.assert(fc.property(ipv4, fc.integer({ min: 0, max: 32 }), (address, length) => {
    assert.deepEqual(parseIpRange(`${address}/${length}`), { text: `${address}/${length}`, family: 4 });
  }));
});

Deno.test("parseIpRange() gives an IPv6 range in a form that it reads the same again", () => {
  fc.assert(fc.property(hextets, fc.integer({ min: 0, max: 128 }), (words, length) => {
    // An address of this kind is IPv4 in disguise.
    fc.pre(!(words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff));
    const range = parseIpRange(`${words.map((word) => word.toString(16).toUpperCase()).join(":")}/${length}`);
    assert.equal(range?.family, 6);
    assert.deepEqual(parseIpRange(range.text), range);
  }));
  assert.deepEqual(parseIpRange("FD00:0:0::1/8"), { text: "fd00::1/8", family: 6 });
});

Deno.test("parseIpRange() gives undefined for what is no range, and never throws", () => {
  for (
    const text of [
      ...["", "*", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0/8", "010.0.0.0/8"],
      ...[
        "10.0.0.256/8",
        " 10.0.0.0/8",
        "10.0.0.0/8 ",
        "fd00::/129",
        "fd00::%eth0/64",
        "::ffff:10.0.0.0/104",
        "[::]/0",
      ],
      ...["name/8", "10.0.0.0/8/8", "10.0.0.0/8,"],
    ]
  ) assert.equal(parseIpRange(text), undefined, text);
  fc.assert(fc.property(fc.string(), (text) => void parseIpRange(text)));
});
