import assert from "node:assert/strict";
import fc from "fast-check";
import { type MeshTrial, meshTrial, plainEnv } from "../../tests/meshed_pod.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { ISTIO_PROXY } from "./istio_proxy.ts";
import type { MeshConfig } from "./mesh_objects.ts";
import { MESH_MODES } from "./mesh_settings.ts";
import { expand } from "./expansion.ts";

function agentEnv(trial: MeshTrial) {
  return plainEnv(meshTrial(trial), ISTIO_PROXY);
}

interface MetricsInput {
  readonly annotations: Readonly<Record<string, string>>;
  readonly meshConfig?: MeshConfig;
}

for (const { id, why, input, expect } of loadVectors<MetricsInput, unknown>("scraped_metrics")) {
  Deno.test(`agentEnv() metrics: ${id}: ${why}`, () => {
    const { annotations, meshConfig } = input;
    const spec = { containers: [{ name: "web", command: ["x"] }] };
    const manifest = { apiVersion: "v1", kind: "Pod", metadata: { annotations }, spec };
    const env = agentEnv({ mode: "proxy", manifest, found: { meshConfig } });
    assert.deepEqual(JSON.parse(env.ISTIO_PROMETHEUS_ANNOTATIONS ?? "null"), expect);
  });
}

Deno.test("agentEnv() lets the mesh's metadata replace what krun knows, but not what the mode is made of", () => {
  const proxyMetadata = {
    ...{ ISTIO_META_DNS_CAPTURE: "true", ISTIO_META_INTERCEPTION_MODE: "TPROXY", DISABLE_ENVOY: "maybe" },
    ...{ ISTIO_META_MESH_ID: "theirs", ISTIO_BOOTSTRAP: "/theirs", EXTRA: "1" },
  };
  const seen = MESH_MODES.map((mode) => {
    const env = agentEnv({ mode, proxyConfig: { proxyMetadata } });
    assert.deepEqual([env.ISTIO_META_MESH_ID, env.ISTIO_BOOTSTRAP, env.EXTRA], ["theirs", "/theirs", "1"]);
    return [env.ISTIO_META_DNS_CAPTURE, env.ISTIO_META_INTERCEPTION_MODE, env.DISABLE_ENVOY];
  });
  assert.deepEqual(seen, [["true", "REDIRECT", "maybe"], ["false", "NONE", "maybe"], ["false", "TPROXY", "true"]]);
  const capture = (value: Record<string, string>) =>
    agentEnv({ mode: "intercept", proxyConfig: { proxyMetadata: value } }).ISTIO_META_DNS_CAPTURE;
  assert.deepEqual([capture({}), capture({ ISTIO_META_DNS_CAPTURE: "false" })], ["true", "false"]);
});

Deno.test("agentEnv() lets a variable that somebody has set for the agent replace everything", () => {
  const env = {
    ISTIO_META_DNS_CAPTURE: "yes",
    ISTIO_META_MESH_ID: "mine",
    XDS_HEADER_X: "1",
    CA_HEADER_Y: "2",
    ISTIO_METAJSON_Z: "{}",
  };
  const proxyMetadata = { ISTIO_META_MESH_ID: "theirs" };
  for (const mode of MESH_MODES) {
    const seen = agentEnv({ mode, env, proxyConfig: { proxyMetadata } });
    for (const [name, value] of Object.entries(env)) assert.equal(seen[name], value, `${mode}: ${name}`);
  }
});

Deno.test("agentEnv() asks for the machine's roots only for a control plane that has no other", () => {
  const roots = (env: Record<string, string>) => {
    const { XDS_ROOT_CA, CA_ROOT_CA } = agentEnv({ mode: "proxy", env });
    return [XDS_ROOT_CA, CA_ROOT_CA];
  };
  assert.deepEqual(roots({ XDS_ADDR: "istiod.example:443" }), ["SYSTEM", "SYSTEM"]);
  assert.deepEqual(roots({}), [undefined, undefined]);
});

Deno.test("agentEnv() names the CA only if somebody does: ISTIOD_SAN does not count for an address of its own", () => {
  assert.equal(agentEnv({ mode: "proxy" }).CA_ADDR, undefined);
  assert.equal(agentEnv({ mode: "proxy", env: { CA_ADDR: "ca.example:443" } }).CA_ADDR, "ca.example:443");
});

Deno.test("agentEnv() has a workload of a group ask krun for its health, unless the ProxyConfig says how; others have none", () => {
  const group = { name: "g", labels: {}, ports: {}, probe: { tcpSocket: { port: 1 } } };
  const probe = (options: Partial<MeshTrial>) =>
    JSON.parse(agentEnv({ mode: "proxy", ...options }).PROXY_CONFIG!).readinessProbe;
  assert.deepEqual(probe({ found: { group } }).httpGet, { host: "127.0.0.1", port: 15018, path: "/" });
  const readinessProbe = { tcpSocket: { port: 2 } };
  assert.deepEqual(probe({ found: { group }, proxyConfig: { readinessProbe } }), readinessProbe);
  assert.equal(probe({}), undefined);
  const env = agentEnv({ mode: "proxy", found: { group } });
  assert.equal(env.ISTIO_META_AUTO_REGISTER_GROUP, "g");
  assert.equal(agentEnv({ mode: "proxy" }).ISTIO_META_AUTO_REGISTER_GROUP, undefined);
});

Deno.test("agentEnv() gives every text as it is, whatever a Pod would replace in it", () => {
  const text = fc.array(fc.constantFrom("$", "$$", "(", ")", "$(POD_NAME)", "x")).map((parts) => parts.join(""));
  fc.assert(fc.property(text, text, (extra, header) => {
    const env = agentEnv({
      mode: "proxy",
      env: { XDS_HEADER_X: header || "x" },
      proxyConfig: { proxyMetadata: { EXTRA: extra } },
    });
    const seen = (name: string) => expand(env[name]!, () => "replaced");
    assert.deepEqual([seen("EXTRA"), seen("XDS_HEADER_X")], [extra, header || "x"]);
  }));
});
