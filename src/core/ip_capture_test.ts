import assert from "node:assert/strict";
import { ipCapture } from "./ip_capture.ts";

const LOOPBACK = ["127.0.0.1", "::1"];
const ONE = { dualStack: false };
const DUAL = { dualStack: true };

Deno.test("ipCapture() is IPv4 alone where there is no other address", () => {
  assert.deepEqual(ipCapture([...LOOPBACK, "10.9.0.2", "fe80::1%eth0"], ONE), { families: [4], leavesOut: undefined });
});

Deno.test("ipCapture() leaves IPv6 out beside IPv4, in whatever order, and says so", () => {
  for (const addresses of [["10.9.0.2", "fd00::2"], ["fd00::2", "10.9.0.2"]]) {
    const { families, leavesOut } = ipCapture([...LOOPBACK, ...addresses], ONE);
    assert.deepEqual(families, [4]);
    assert.match(leavesOut ?? "", /^IPv6 is not captured: with the IPv4 address 10\.9\.0\.2 beside fd00::2 /);
    assert.deepEqual(ipCapture(addresses, DUAL), { families: [4, 6], leavesOut: undefined });
  }
});

Deno.test("ipCapture() is both families where IPv6 is the only one", () => {
  for (const options of [ONE, DUAL]) {
    assert.deepEqual(ipCapture([...LOOPBACK, "169.254.8.1", "fd00::2"], options), {
      families: [4, 6],
      leavesOut: undefined,
    });
  }
});

Deno.test("ipCapture() is nothing where all addresses are loopback or link-local", () => {
  for (const addresses of [[], [...LOOPBACK, "127.0.0.7"], ["169.254.8.1", "fe80::1", "febf::1"]]) {
    const { families, leavesOut } = ipCapture(addresses, DUAL);
    assert.deepEqual(families, []);
    assert.match(leavesOut ?? "", /^nothing is captured/);
  }
});
