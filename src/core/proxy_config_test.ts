import assert from "node:assert/strict";
import type { V1Probe } from "@kubernetes/client-node";
import { loadVectors } from "../../tests/vectors.ts";
import type { JsonObject } from "./mesh_objects.ts";
import { agentProxyConfig, groupReadinessProbe, type ProxyConfigOptions, proxyMetadataEnv } from "./proxy_config.ts";

for (const { id, why, input, expect } of loadVectors<JsonObject, V1Probe | null>("group_readiness_probe")) {
  Deno.test(`groupReadinessProbe() ${id}: ${why}`, () => {
    assert.deepEqual(groupReadinessProbe(input) ?? null, expect);
  });
}

interface ConfigInput {
  readonly config: JsonObject;
  readonly options: ProxyConfigOptions;
}

for (const { id, why, input: { config, options }, expect } of loadVectors<ConfigInput, JsonObject>("proxy_config")) {
  Deno.test(`agentProxyConfig() ${id}: ${why}`, () => {
    assert.deepEqual(JSON.parse(agentProxyConfig(config, options)), expect);
  });
}

Deno.test("proxyMetadataEnv() gives each entry as the injector does, and never what opens the agent's keys to everybody", () => {
  const proxyMetadata = { ISTIO_META_DNS_CAPTURE: "true", EXTRA: 1, KUBERNETES_SERVICE_HOST: "10.0.0.1" };
  assert.deepEqual(proxyMetadataEnv({ proxyMetadata }), { ISTIO_META_DNS_CAPTURE: "true", EXTRA: "1" });
  for (const other of [{}, { proxyMetadata: null }, { proxyMetadata: ["A=1"] }]) {
    assert.deepEqual(proxyMetadataEnv(other), {});
  }
});
