import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { hbonePeersText, type HbonePlan, hbonePlan, type HbonePlanOptions, wantsHbone } from "./hbone_plan.ts";
import { connectTarget } from "./hbone_target.ts";

const PORTS = [{ containerPort: 8080 }, { containerPort: 9090, protocol: "TCP" }, {
  containerPort: 53,
  protocol: "UDP",
}];

const POD: V1Pod = {
  metadata: { name: "web-x7", namespace: "shop", labels: { "service.istio.io/canonical-name": "web" } },
  spec: {
    initContainers: [{ name: "istio-proxy", restartPolicy: "Always", ports: [{ containerPort: 15090 }] }],
    containers: [{ name: "web", ports: PORTS }, {
      name: "beside",
      ports: [{ containerPort: 9090 }, { containerPort: 7 }],
    }],
  },
};

function options(more: Partial<HbonePlanOptions> = {}): HbonePlanOptions {
  return {
    ...{ settings: {}, pod: POD, ownContainers: new Set(["istio-proxy"]), clusterDomain: "cluster.local" },
    ...{ addresses: ["127.0.0.1", "10.0.0.5", "fd00::5"], names: ["vm-1"], sshPort: 15022 },
    ...more,
  };
}

function planned(more: Partial<HbonePlanOptions> = {}): HbonePlan {
  const plan = hbonePlan(options(more));
  assert.ok("ports" in plan, JSON.stringify(plan));
  return plan;
}

Deno.test("hbonePlan() reaches the TCP ports that the Pod's own containers declare, and ssh, and nothing of the proxy's", () => {
  const { workload } = planned();
  assert.deepEqual(workload.ports, [8080, 9090, 7]);
  assert.equal(workload.sshPort, 15022);
});

Deno.test("hbonePlan() knows the workload by the machine's addresses and its own names", () => {
  const { workload } = planned();
  for (
    const host of ["10.0.0.5", "[fd00::5]", "vm-1", "web-x7", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"]
  ) {
    assert.deepEqual(connectTarget(`${host}:8080`, workload), { port: 8080 }, host);
  }
  for (const host of ["10.0.0.6", "web", "other.shop", "web.ops.svc"]) {
    assert.equal((connectTarget(`${host}:8080`, workload) as { status?: number }).status, 403, host);
  }
});

Deno.test("hbonePlan() listens where nobody else is to", () => {
  assert.deepEqual(planned().ports, [15008, 15009]);
  const labels = { "networking.istio.io/tunnel": "http" };
  assert.deepEqual(
    planned({ pod: { ...POD, metadata: { labels } } }).ports,
    [15009],
    "Envoy has an endpoint of its own",
  );
  const declares = (...ports: number[]) => ({
    ...POD,
    spec: { containers: [{ name: "web", ports: ports.map((containerPort) => ({ containerPort })) }] },
  });
  assert.deepEqual(planned({ pod: declares(15009) }).ports, [15008], "the program has declared it");
  const none = hbonePlan(options({ pod: declares(15008, 15009) }));
  assert.deepEqual(none, { because: "ports 15008 and 15009 are the program's" });
});

Deno.test("hbonePlan() says why there is none", () => {
  const incapable = "it needs another runtime";
  const cases = [
    [{ settings: { hbonePeers: "none" } }, "HBONE_ALLOW is -"],
    [{ settings: { gateway: "edge" } }, "a gateway has no program to reach"],
    [{ incapable }, incapable],
  ] as const;
  for (const [more, because] of cases) {
    assert.deepEqual(hbonePlan(options(more)), { because });
    assert.equal(wantsHbone(options(more)), false);
  }
  assert.equal(wantsHbone(options()), true);
});

Deno.test("hbonePeersText() names whom the endpoint lets in", () => {
  assert.equal(hbonePeersText(planned(), "cluster.local"), "spiffe://cluster.local");
  const hbonePeers = [{ trustDomain: "a" }, { trustDomain: "b", namespace: "ops" }];
  assert.equal(hbonePeersText(planned({ settings: { hbonePeers } }), "x"), "spiffe://a,spiffe://b/ns/ops/sa/*");
});
