import assert from "node:assert/strict";
import { type MeshAdvice, meshAdvice, type MeshAdviceOptions } from "./mesh_advice.ts";

const decided = (value: string) => ({ value, rule: "r" });
const IDENTITY = { namespace: decided("shop"), name: decided("web"), serviceAccount: decided("web") };

function advice(options: Partial<MeshAdviceOptions>): MeshAdvice {
  return meshAdvice({
    ...{ mesh: {}, mode: "intercept", identity: IDENTITY, groupName: "web", labels: {}, ports: [] },
    ...{ uncaptured: undefined, resolvesNames: true },
    ...options,
  });
}

const warnings = (options: Partial<MeshAdviceOptions>) => advice(options).warnings;

Deno.test("meshAdvice() says what a program without DNS capture cannot do, where its traffic is captured", () => {
  assert.deepEqual(warnings({}), []);
  const [unresolved, ...more] = warnings({ resolvesNames: false });
  assert.match(unresolved!, /ISTIO_META_DNS_CAPTURE is false.* by cluster IP/);
  assert.deepEqual(more, []);
  assert.ok(!warnings({ mode: "proxy", resolvesNames: false }).some((text) => text.includes("DNS_CAPTURE")));
  assert.deepEqual(warnings({ mode: "proxyless", resolvesNames: false }), []);
});

Deno.test("meshAdvice() says that nobody can call a program with ports that has no WorkloadGroup", () => {
  const ports = [{ name: "http", containerPort: 8080 }];
  assert.deepEqual(warnings({ ports }), ['the mesh cannot call this workload: it has no WorkloadGroup "web"']);
  assert.deepEqual(warnings({ ports, mesh: { group: { name: "web", labels: {}, ports: {} } } }), []);
  // One that is there would be told to be made.
  const unread = advice({ ports, mesh: { unreadable: ["workloadgroups"] } });
  assert.match(unread.warnings.join(), /^krun may not read WorkloadGroup "web" \(docs\/rights\.md\)/);
  assert.deepEqual(unread.manifests, []);
});
