import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import {
  addressListFault,
  addressPatternReach,
  addressPatternsFault,
  matchesAddressList,
  matchesAddressPatterns,
} from "./ssh_address_pattern.ts";

type Input = { list: string; peer: string };
/** `from` and `sourceAddress` of the list; null: it is malformed. */
type Expected = { from: boolean | null; sourceAddress: boolean | null };

for (const { id, why, input: { list, peer }, expect } of loadVectors<Input, Expected>("ssh_address_pattern")) {
  Deno.test(`matchesAddressPatterns(), matchesAddressList() ${id}: ${why}`, () => {
    assert.equal(addressPatternsFault(list) === undefined, expect.from !== null, addressPatternsFault(list) ?? "");
    assert.equal(matchesAddressPatterns(list, peer), expect.from ?? false);
    assert.equal(addressListFault(list) === undefined, expect.sourceAddress !== null, addressListFault(list) ?? "");
    assert.equal(matchesAddressList(list, peer), expect.sourceAddress ?? false);
  });
}

const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
const hextets = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
const bitsOf = (parts: readonly number[], size: number) => parts.map((p) => p.toString(2).padStart(size, "0")).join("");

Deno.test("matchesAddressList() compares the bits of the prefix, and no others", () => {
  const network = (parts: readonly number[], size: number, prefix: number) =>
    bitsOf(parts, size).slice(0, prefix).padEnd(parts.length * size, "0");
  fc.assert(fc.property(octets, octets, fc.nat(32), fc.boolean(), (one, other, prefix, isNear) => {
    const net = network(one, 8, prefix).match(/.{8}/g)!.map((bits) => Number.parseInt(bits, 2)).join(".");
    // Two addresses of chance hardly ever share a prefix.
    const peer = isNear ? [...one.slice(0, 2), ...other.slice(2)] : other;
    const expected = bitsOf(peer, 8).startsWith(bitsOf(one, 8).slice(0, prefix));
    assert.equal(matchesAddressList(`${net}/${prefix}`, peer.join(".")), expected);
    assert.equal(matchesAddressPatterns(`${net}/${prefix}`, `::ffff:${peer.join(".")}`), expected);
  }));
  fc.assert(fc.property(hextets, hextets, fc.nat(128), fc.nat(8), (one, other, prefix, shared) => {
    fc.pre(one[0] !== 0);
    const words = network(one, 16, prefix).match(/.{16}/g)!.map((bits) => Number.parseInt(bits, 2).toString(16));
    const peer = [...one.slice(0, shared), ...other.slice(shared)];
    fc.pre(peer[0] !== 0 && words[0] !== "0");
    const expected = bitsOf(peer, 16).startsWith(bitsOf(one, 16).slice(0, prefix));
    const address = peer.map((word) => word.toString(16)).join(":");
    assert.equal(matchesAddressList(`${words.join(":")}/${prefix}`, address), expected);
    assert.equal(matchesAddressPatterns(`*,!${words.join(":")}/${prefix}`, address), !expected);
  }));
});

Deno.test("addressPatternReach() knows entries that no address matches, and lists that let nobody in", () => {
  for (
    const alive of ["*", "?", "10.0.0.1", "10.0.0.0/8", "10.*", "::1", "2001:DB8::*", "fe80::/10", "*.*.*.1", "*:*"]
  ) {
    assert.deepEqual(addressPatternReach(alive), { letsIn: true, dead: [] }, alive);
    assert.deepEqual(addressPatternReach(`!${alive}`), { letsIn: false, dead: [] }, alive);
  }
  for (const dead of ["*.example.com", "web", "beef", "*.de", "localhost", "10.0.*.example.com", "fe80::1%eth*"]) {
    assert.deepEqual(addressPatternReach(dead), { letsIn: false, dead: [dead] }, dead);
    assert.deepEqual(addressPatternReach(`${dead},10.0.0.1,!${dead}`), { letsIn: true, dead: [dead, `!${dead}`] });
  }
});

Deno.test("addressPatternReach() calls nothing dead that matches an address", () => {
  const list = fc.array(fc.string({ unit: fc.constantFrom(..."10.:*?!afx"), minLength: 1 }), { minLength: 1 })
    .map((entries) => entries.join());
  fc.assert(fc.property(list, fc.oneof(fc.ipV4(), fc.ipV6()), (list, peer) => {
    if (matchesAddressPatterns(list, peer)) assert.ok(addressPatternReach(list).letsIn);
    const { dead } = addressPatternReach(list);
    for (const entry of dead) assert.equal(matchesAddressPatterns(entry.replace(/^!/, ""), peer), false);
  }));
});

Deno.test("whatever a list and a peer are, nothing is thrown, and what is malformed lets nobody in", () => {
  const list = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."10.:/*?!,afx") }));
  const peer = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6());
  fc.assert(fc.property(list, peer, (list, peer) => {
    if (addressPatternsFault(list) !== undefined) assert.equal(matchesAddressPatterns(list, peer), false);
    if (addressListFault(list) !== undefined) assert.equal(matchesAddressList(list, peer), false);
    // Addresses and ranges mean the same to both.
    else assert.equal(matchesAddressPatterns(list, peer), matchesAddressList(list, peer));
    assert.equal(matchesAddressPatterns(`${list},!*`, peer), false);
  }));
});
