import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { ApiEndpoint } from "./cluster.ts";
import { inClusterFailure, kubernetesService } from "./in_cluster.ts";
import { serviceEnv } from "./service_env.ts";

type Expect = { readonly failure: string } | { readonly clusterIP: string; readonly port: number };

for (const { id, why, input, expect } of loadVectors<ApiEndpoint, Expect>("in_cluster")) {
  Deno.test(`inClusterFailure() ${id}: ${why}`, () => {
    if ("failure" in expect) return assert.equal(inClusterFailure(input), expect.failure);
    assert.equal(inClusterFailure(input), undefined);
    const { spec } = kubernetesService(input);
    assert.deepEqual({ clusterIP: spec?.clusterIP, port: spec?.ports?.[0]?.port }, expect);
  });
}

Deno.test("kubernetesService() gives the eight KUBERNETES_ variables when it is made into an environment", () => {
  const service = kubernetesService({ server: "https://192.0.2.1:6443", caPem: "x" });
  assert.deepEqual(serviceEnv([service], { namespace: "shop", enableServiceLinks: false }), {
    KUBERNETES_SERVICE_HOST: "192.0.2.1",
    KUBERNETES_SERVICE_PORT: "6443",
    KUBERNETES_SERVICE_PORT_HTTPS: "6443",
    KUBERNETES_PORT: "tcp://192.0.2.1:6443",
    KUBERNETES_PORT_6443_TCP: "tcp://192.0.2.1:6443",
    KUBERNETES_PORT_6443_TCP_PROTO: "tcp",
    KUBERNETES_PORT_6443_TCP_PORT: "6443",
    KUBERNETES_PORT_6443_TCP_ADDR: "192.0.2.1",
  });
});
