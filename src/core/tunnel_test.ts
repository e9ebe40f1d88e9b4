import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import {
  type DeclaredPort,
  isTunnelOpen,
  portsBehind,
  tunnelAddressText,
  tunnelPlan,
  type TunnelSetting,
} from "./tunnel.ts";

interface Input extends TunnelSetting {
  readonly declared: readonly DeclaredPort[];
}

for (const { id, why, input, expect } of loadVectors<Input, Record<string, unknown>>("tunnel_plan")) {
  Deno.test(`tunnelPlan() ${id}: ${why}`, () => {
    const { declared, ...setting } = input;
    if ("error" in expect) {
      assert.throws(() => tunnelPlan(setting, declared), (e) => e instanceof KrunError && e.code === expect.error);
      return;
    }
    const { rule, addressRule, programRule, ...found } = tunnelPlan(setting, declared);
    assert.deepEqual(found, expect);
    assert.ok(rule !== "" && addressRule !== "" && programRule !== "");
  });
}

Deno.test("portsBehind() leaves out the platform's PORT, and nothing else", () => {
  const ports = [{ env: "PORT_http", name: "http", port: 8080 }, { env: "PORT", port: 8080 }, {
    env: "PORT_x",
    port: 1,
  }];
  assert.deepEqual(portsBehind({ platformPort: 8080 }, ports), [ports[0], ports[2]]);
  assert.deepEqual(portsBehind({}, ports), ports);
  assert.deepEqual(portsBehind(undefined, ports), ports);
});

Deno.test("isTunnelOpen() knows who reaches it, and tunnelAddressText() says where", () => {
  const cases = [
    [undefined, true, "all"],
    ["0.0.0.0", true, "all"],
    ["::", true, "all"],
    ["10.1.2.3", true, "10.1.2.3"],
    ["127.0.0.1", false, "127.0.0.1"],
    ["127.1.2.3", false, "127.1.2.3"],
    ["::1", false, "::1"],
  ] as const;
  for (const [address, isOpen, text] of cases) {
    const plan = address === undefined ? {} : { address };
    assert.deepEqual([isTunnelOpen(plan), tunnelAddressText(plan)], [isOpen, text]);
  }
});
