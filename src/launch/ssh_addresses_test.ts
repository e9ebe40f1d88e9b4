import assert from "node:assert/strict";
import { type IpFamilies, sshAddresses } from "./ssh_addresses.ts";

const BOTH: IpFamilies = { hasIpv6: true, isSplit: false };
const SPLIT: IpFamilies = { hasIpv6: true, isSplit: true };
const IPV4: IpFamilies = { hasIpv6: false, isSplit: true };

function hosts(settings: { listen?: string; authorizedKeys?: string }, families = BOTH): string[] {
  const { listen, ...others } = settings;
  const given = { ...others, ...(listen !== undefined && { listen: { hostname: listen, port: 22 } }) };
  return sshAddresses(given, families).map(({ hostname }) => hostname);
}

Deno.test("sshAddresses() is all addresses with SSH_AUTH, and loopback without", () => {
  assert.deepEqual(hosts({ authorizedKeys: "key" }), ["::"]);
  assert.deepEqual(hosts({ authorizedKeys: "key" }, SPLIT), ["::", "0.0.0.0"]);
  assert.deepEqual(hosts({ authorizedKeys: "key" }, IPV4), ["0.0.0.0"]);
  for (const families of [BOTH, SPLIT, IPV4]) assert.deepEqual(hosts({}, families), ["127.0.0.1"]);
});

Deno.test("sshAddresses() is what KRUN_SSH says, in whatever spelling, and 127.0.0.1 where that is not part of it", () => {
  for (const authorizedKeys of ["key", undefined]) {
    const of = (listen: string, families = BOTH) =>
      hosts({ listen, ...(authorizedKeys && { authorizedKeys }) }, families);
    assert.deepEqual(of("0.0.0.0", SPLIT), ["0.0.0.0"]);
    assert.deepEqual([of("::"), of("0::0"), of("0:0:0:0:0:0:0:0")], [["::"], ["::"], ["::"]]);
    assert.deepEqual(of("0::0", SPLIT), ["::", "127.0.0.1"]);
    assert.deepEqual([of("127.0.0.1"), of("::ffff:127.0.0.1"), of("127.000.0.1")], Array(3).fill(["127.0.0.1"]));
    assert.deepEqual([of("10.0.0.7"), of("::1")], [["10.0.0.7", "127.0.0.1"], ["::1", "127.0.0.1"]]);
    assert.deepEqual([of("localhost"), of("web")], [["localhost", "127.0.0.1"], ["web", "127.0.0.1"]]);
  }
});
