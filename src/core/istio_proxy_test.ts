import assert from "node:assert/strict";
import { type MeshTrial, meshTrial } from "../../tests/meshed_pod.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { MESH_PATHS } from "./istio_proxy.ts";
import type { WorkloadGroup } from "./mesh_objects.ts";
import { MESH_MODES, type MeshMode } from "./mesh_settings.ts";

interface LabelsInput extends Pick<MeshTrial, "env" | "proxyConfig"> {
  readonly mode?: MeshMode;
  readonly labels?: Readonly<Record<string, string>>;
  readonly group?: WorkloadGroup;
}

/** A manifest with one container. */
function manifest(metadata: unknown): unknown {
  return { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "web", command: ["x"] }] } };
}

for (const { id, why, input, expect } of loadVectors<LabelsInput, Record<string, string>>("mesh_labels")) {
  Deno.test(`meshLabels() ${id}: ${why}`, () => {
    const { mode = "proxy", labels = {}, group, ...others } = input;
    const { pod } = meshTrial({ ...others, mode, found: { group }, manifest: manifest({ labels }) });
    assert.deepEqual(pod.metadata?.labels, expect);
  });
}

Deno.test("istioProxy() says levels of the logs by annotations, and by XDS_AGENT_DEBUG before them", () => {
  const annotations = {
    "sidecar.istio.io/logLevel": "debug",
    "sidecar.istio.io/componentLogLevel": "misc:info",
    "sidecar.istio.io/agentLogLevel": "dns:debug",
  };
  const levels = (trial: Partial<MeshTrial>) =>
    meshTrial({ mode: "proxy", ...trial }).pod.spec?.initContainers?.[0]?.command?.filter((word) => /evel/i.test(word));
  assert.deepEqual(levels({ manifest: manifest({ annotations }) }), [
    "--proxyLogLevel=debug",
    "--proxyComponentLogLevel=misc:info",
    "--log_output_level=dns:debug",
  ]);
  assert.deepEqual(
    levels({ manifest: manifest({ annotations }), env: { XDS_AGENT_DEBUG: "ads:debug" } })?.at(-1),
    "--log_output_level=ads:debug",
  );
  assert.deepEqual(levels({}), [
    "--proxyLogLevel=warning",
    "--proxyComponentLogLevel=misc:error",
    "--log_output_level=default:info",
  ]);
});

Deno.test("istioProxy() leaves out annotations by which the agent would undo what krun has told it, and no other", () => {
  const own = { "example.org/x": "1", "sidecar.istio.io/userVolume": "{}" };
  const theAgents = {
    "proxy.istio.io/config": "discoveryAddress: istiod.istio-system.svc:15012",
    "sidecar.istio.io/discoveryAddress": "istiod.istio-system.svc:15012",
    "status.sidecar.istio.io/port": "0",
  };
  const { pod } = meshTrial({ mode: "proxy", manifest: manifest({ annotations: { ...own, ...theAgents } }) });
  assert.deepEqual(pod.metadata?.annotations, {
    ...own,
    "istio.io/rev": "default",
    "sidecar.istio.io/interceptionMode": "NONE",
  });
});

Deno.test("istioProxy() believes a root by what the mesh says: the namespace's, a text, or the machine's", () => {
  const source = (env: Record<string, string>) => {
    const { pod, localObjects } = meshTrial({ mode: "proxy", env });
    const { configMap } = pod.spec?.volumes?.find(({ name }) => name === "istiod-ca-cert") ?? {};
    return [configMap?.name, localObjects.get(`ConfigMap/${configMap?.name}`)?.data?.["root-cert.pem"]];
  };
  assert.deepEqual(source({}), ["istio-ca-root-cert", undefined]);
  assert.deepEqual(source({ CAROOT_ISTIOD: "PEM" }), ["krun:istio-root", "PEM"]);
  assert.deepEqual(source({ XDS_ADDR: "istiod.example:443" }), [undefined, undefined]);
});

Deno.test("istioProxy() brings its own bootstrap where the image has none, and only for Envoy", () => {
  for (const mode of MESH_MODES) {
    const { pod, localObjects } = meshTrial({ mode, ownBootstrap: "TEMPLATE" });
    const mounted = pod.spec?.initContainers?.[0]?.volumeMounts?.find(({ mountPath }) =>
      mountPath === MESH_PATHS.ownBootstrap
    );
    const object = localObjects.get("ConfigMap/krun:istio-bootstrap");
    const hasEnvoy = mode !== "proxyless";
    assert.equal(mounted !== undefined, hasEnvoy, mode);
    assert.equal(object?.data?.["envoy_bootstrap.json"], hasEnvoy ? "TEMPLATE" : undefined, mode);
    assert.equal(meshTrial({ mode }).localObjects.has("ConfigMap/krun:istio-bootstrap"), false, mode);
  }
});

Deno.test("istioProxy() mounts a list of revoked certificates only where the agent finds it: below the root", () => {
  const has = (root: string) =>
    meshTrial({ mode: "proxy", places: { root } }).pod.spec?.volumes?.some(({ name }) => name === "istio-ca-crl");
  assert.deepEqual([has("/"), has("/home/ann")], [true, false]);
});

Deno.test("istioProxy() runs the agent as a router for a gateway, whose program gets nothing of the mesh's", () => {
  const { pod } = meshTrial({ mode: "proxy", env: { GATEWAY_NAME: "edge" } });
  const [proxy] = pod.spec!.initContainers!;
  assert.deepEqual(proxy?.command?.slice(0, 3), ["/usr/local/bin/pilot-agent", "proxy", "router"]);
  assert.equal(proxy?.env?.some(({ name }) => name === "ISTIO_META_HTTP_PROXY_PORT"), false);
  assert.equal(pod.spec?.containers[0]?.env?.some(({ name }) => /proxy/i.test(name)) ?? false, false);
});

Deno.test("istioProxy() asks the agent itself where there is no Envoy, and Envoy's port where there is one", () => {
  const port = (mode: MeshMode) => meshTrial({ mode }).pod.spec?.initContainers?.[0]?.startupProbe?.httpGet?.port;
  assert.deepEqual(MESH_MODES.map(port), [15021, 15021, 15020]);
});
