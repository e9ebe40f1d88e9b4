import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import {
  injectorValuesOf,
  jsonObject,
  loadBalancerAddress,
  meshConfigOf,
  sidecarsOf,
  workloadGroupOf,
} from "./mesh_objects.ts";

const READERS = {
  meshConfig: meshConfigOf,
  injectorValues: injectorValuesOf,
  workloadGroup: workloadGroupOf,
  service: loadBalancerAddress,
  sidecars: sidecarsOf,
};

interface Input {
  readonly of: keyof typeof READERS;
  readonly value?: unknown;
}

/** Without fields that are not there. */
function plain(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}

for (const { id, why, input, expect } of loadVectors<Input, unknown>("mesh_objects")) {
  Deno.test(`${READERS[input.of].name}() ${id}: ${why}`, () => {
    assert.deepEqual(plain(READERS[input.of](input.value)), expect);
  });
}

/** Data of the right shape, of which any part may be something else. */
function almost(shape: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> {
  const parts = Object.entries(shape).map(([name, part]) => [name, fc.oneof(part, fc.jsonValue())] as const);
  return fc.oneof(fc.jsonValue(), fc.record(Object.fromEntries(parts), { requiredKeys: [] }));
}

Deno.test("workloadGroupOf() takes any data, and what it gives is of the types that it says", () => {
  const labels = fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), fc.oneof(fc.string(), fc.integer()));
  const template = almost({ serviceAccount: fc.string(), network: fc.string(), ports: labels });
  const spec = almost({ metadata: almost({ labels }), template, probe: fc.jsonValue() });
  const group = almost({ metadata: almost({ name: fc.string({ minLength: 1 }) }), spec });
  let seen = 0;
  fc.assert(fc.property(group, (value) => {
    const found = workloadGroupOf(value);
    if (found === undefined) return;
    seen++;
    assert.ok(Object.values(found.labels).every((label) => typeof label === "string"));
    assert.ok(Object.values(found.ports).every((port) => typeof port === "number"));
    for (const text of [found.name, found.serviceAccount, found.network]) assert.notEqual(text, "");
    assert.deepEqual(jsonObject(found.probe), found.probe ?? {});
  }));
  assert.ok(seen > 0, "no group was made");
});

Deno.test("meshConfigOf(), injectorValuesOf(), sidecarsOf() and loadBalancerAddress() take any data", () => {
  const ingress = fc.array(almost({ ip: fc.string(), hostname: fc.string() }));
  const service = almost({ status: almost({ loadBalancer: almost({ ingress }) }), spec: fc.jsonValue() });
  const values = almost({
    global: almost({ multiCluster: almost({ clusterName: fc.string() }), meshID: fc.string() }),
  });
  const config = almost({ trustDomain: fc.string(), defaultConfig: fc.jsonValue(), proxyHttpPort: fc.integer() });
  fc.assert(fc.property(service, values, config, (service, values, config) => {
    assert.notEqual(loadBalancerAddress(service), "");
    assert.notEqual(injectorValuesOf(values).meshId, "");
    assert.equal(Array.isArray(meshConfigOf(config).defaultConfig), false);
    const sidecars = sidecarsOf({ items: [service, values, config] }) ?? [];
    assert.deepEqual(sidecars.map(({ ingressPorts }) => ingressPorts.filter((port) => typeof port !== "number")), [
      [],
      [],
      [],
    ]);
  }));
});
