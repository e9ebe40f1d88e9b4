import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type IpAddress, onePerFamily, parseIp } from "./ip_address.ts";

for (const { id, why, input, expect } of loadVectors<string, IpAddress | null>("ip_address")) {
  Deno.test(`parseIp() ${id}: ${why}`, () => assert.deepEqual(parseIp(input) ?? null, expect));
}

Deno.test("parseIp() never throws, and its text reads back as itself", () => {
  fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
    const ip = parseIp(text);
    if (ip) assert.deepEqual(parseIp(ip.text), ip);
  }));
});

Deno.test("parseIp() reads every address", () => {
  fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => assert.ok(parseIp(text))));
});

Deno.test("onePerFamily() leaves out what is no address", () => {
  assert.deepEqual(onePerFamily(["eth0", "fe80::1%eth0", "::1", "127.0.0.1"], 4), ["127.0.0.1", "::1"]);
});
