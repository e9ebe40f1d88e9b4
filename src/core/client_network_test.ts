import fc from "fast-check";
import assert from "node:assert/strict";
import { clientNetwork, oldestOfMost } from "./client_network.ts";

Deno.test("clientNetwork() is the address, of IPv6 its /64 however it is written, and nothing for what many share", () => {
  const CASES: readonly (readonly [string, string | undefined])[] = [
    ["10.1.2.3", "10.1.2.3"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:0:0:ffff::2", "2001:db8:0:0::/64"],
    ["2001:db8:0:1::1", "2001:db8:0:1::/64"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["1::", "1:0:0:0::/64"],
    ["127.0.0.1", undefined],
    ["127.9.9.9", undefined],
    ["::ffff:127.0.0.1", undefined],
    ["::1", undefined],
    ["unknown", undefined],
  ];
  for (const [address, network] of CASES) assert.equal(clientNetwork(address), network, address);
});

Deno.test("clientNetwork() is the same for all addresses of an IPv6 network, and another for those of another", () => {
  const word = fc.integer({ min: 0, max: 0xffff });
  const words = fc.array(word, { minLength: 8, maxLength: 8 });
  const written = (all: number[]) => all.map((one) => one.toString(16)).join(":");
  // Neither of 0:0:0:0, where loopback is, nor IPv4.
  const host = words.filter(([first]) => first !== 0);
  fc.assert(fc.property(host, words, fc.boolean(), ([...one], other, isSame) => {
    const second = [...(isSame ? one : other).slice(0, 4), ...other.slice(4)];
    const areSame = one.slice(0, 4).join() === second.slice(0, 4).join();
    assert.equal(clientNetwork(written(one)) === clientNetwork(written(second)), areSame);
  }));
});

Deno.test("oldestOfMost() names the first of those who are most", () => {
  assert.equal(oldestOfMost(["a", "b", "b", "c", "b"]), 1);
  assert.equal(oldestOfMost([undefined, "b", undefined]), 0);
  assert.equal(oldestOfMost(["a", "b"]), 0);
  assert.equal(oldestOfMost([]), -1);
});
