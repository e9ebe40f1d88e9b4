import assert from "node:assert/strict";
import { assertGoldenJson } from "../../tests/golden.ts";
import { workloadIdentity } from "./identity.ts";
import { MESH_PORTS } from "./istio_proxy.ts";
import type { MeshMode } from "./mesh_settings.ts";
import { mountPath } from "./mount_path.ts";
import { parsePodManifest } from "./pod_manifest.ts";
import type { Env } from "./pod_inputs.ts";
import { podFromSettings } from "./pod_from_settings.ts";
import { parseSettings } from "./settings.ts";
import { type TrafficDirectorPod, trafficDirectorPod } from "./traffic_director_pod.ts";

interface Case {
  readonly mode: MeshMode;
  readonly env: Env;
  readonly uid?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** By the steps of a start; what is known only on a machine is fixed. */
function join({ mode, env, uid = 0, annotations = {} }: Case): TrafficDirectorPod {
  const settings = parseSettings({ WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web", ...env });
  const manifest = parsePodManifest(
    { apiVersion: "v1", kind: "Pod", metadata: { annotations }, spec: { containers: [{ name: "app" }] } },
    "pod.yaml",
  );
  const identity = workloadIdentity(settings.workload, { manifest });
  const base = uid === 0 ? "/" : "/srv/app";
  const self = { uid, gid: uid };
  const argv = ["./server"];
  const planned = podFromSettings({ settings, identity, argv, manifest, self, base, podUid: "u-1" });
  return trafficDirectorPod(planned, {
    ...{ mode, self, settings: settings.mesh, ports: MESH_PORTS, passEnv: settings.passEnv },
    ...{ workloadName: identity.name.value, podName: "web-bcdfg", nodeId: "0b9a57e2-2f5c-4a5e-9d0c-6a1f0f3c2d11" },
    ...{ ip: "10.1.2.3", envoy: "/usr/local/bin/envoy", noProxy: "127.0.0.1,.googleapis.com" },
    ...{ home: "/home/me", certFile: settings.cluster.certFile },
    place: (path) => mountPath(path, { base, cwd: "/" }),
  });
}

/** What the mesh has changed, with the files as values. */
function changed({ planned, readiness }: TrafficDirectorPod): unknown {
  const { pod, program, localObjects, origins, ownContainers, warnings } = planned;
  const { env, volumeMounts } = pod.spec!.containers.find(({ name }) => name === program)!;
  const own = pod.spec!.volumes!.filter(({ name }) => origins.get(name) === "Traffic Director");
  const files = [...localObjects.values()].flatMap(({ data = {} }) => Object.entries(data));
  return {
    ...{ readiness, warnings, annotations: pod.metadata?.annotations },
    ...{ initContainers: pod.spec!.initContainers, volumes: own, ownContainers: [...ownContainers] },
    program: { env: env?.filter(({ name }) => origins.has(`env:${program}/${name}`)), volumeMounts },
    files: Object.fromEntries(files.map(([name, text]) => [name, JSON.parse(text)])),
  };
}

const CASES: Readonly<Record<string, Case>> = {
  "intercept": {
    mode: "intercept",
    env: { MESH: "td:projects=123456789012&network=prod", LABEL_version: "canary", PORT: "8080" },
    annotations: { "cloud.google.com/includeInboundPorts": "8080" },
  },
  "proxy": {
    mode: "proxy",
    uid: 1500,
    env: {
      ...{ MESH: "td:mesh=sidecar-mesh", PROJECT_NUMBER: "123456789012", SSL_CERT_FILE: "/etc/ssl/own.pem" },
      ...{ GOOGLE_APPLICATION_CREDENTIALS: "/etc/krun/key.json", XDS_AGENT_DEBUG: "default:info,config:debug" },
    },
  },
  "gateway": {
    mode: "proxy",
    env: { MESH: "td:projects=123456789012&scopes=edge", XDS_ADDR: "trafficdirector.us-east1.rep.googleapis.com:443" },
  },
  "proxyless": {
    mode: "proxyless",
    uid: 1500,
    env: {
      ...{ MESH: "td:projects=123456789012&mesh=grpc-mesh", LABEL_app: "shop-web" },
      ...{ GOOGLE_APPLICATION_CREDENTIALS: "/etc/krun/key.json", ISTIO_META_TRAFFICDIRECTOR_ENABLE_TRACING: "true" },
    },
    annotations: { "cloud.google.com/proxyMetadata": '{"stage":"blue"}' },
  },
};

for (const [name, input] of Object.entries(CASES)) {
  Deno.test(`trafficDirectorPod() makes what golden/traffic_director/${name}.json holds`, () => {
    assertGoldenJson(`traffic_director/${name}.json`, changed(join(input)));
  });
}

Deno.test("trafficDirectorPod() leaves what the manifest says of a variable, and the Pod that it was given", () => {
  const env = { MESH: "td:projects=1", KRUN_PASS_ENV: "GOOGLE_APPLICATION_CREDENTIALS" };
  const input: Case = { mode: "proxyless", env: { ...env, GOOGLE_APPLICATION_CREDENTIALS: "/key.json" } };
  const before = join(input).planned;
  assert.deepEqual(before.warnings, [], "who hands the credentials on knows");
  const container = before.pod.spec!.containers[0]!;
  const own = container.env!.map((variable) => ({ ...variable, value: "mine" }));
  const planned = { ...before, pod: { ...before.pod, spec: { containers: [{ ...container, env: own }] } } };
  const copy = structuredClone(planned);
  const settings = parseSettings(env).mesh;
  const again = trafficDirectorPod(planned, {
    ...{ mode: "proxyless", settings, ports: MESH_PORTS, workloadName: "web", nodeId: "n", noProxy: "", passEnv: [] },
    self: { uid: 0, gid: 0 },
    place: (path) => path,
  });
  assert.deepEqual(again.planned.pod.spec!.containers[0]!.env, own);
  assert.deepEqual(planned, copy);
});

for (
  const [why, options, code] of [
    ["an annotation", { annotations: { "cloud.google.com/proxyMetadata": "[1]" } }, "PodInvalid"],
    ["a variable", { env: { MESH: "td:projects=1", ISTIO_METAJSON_X: "{" } }, "SettingInvalid"],
  ] as const
) {
  Deno.test(`trafficDirectorPod() throws ${code} when the node metadata of ${why} is no JSON object`, () => {
    assert.throws(() => join({ mode: "intercept", env: { MESH: "td:projects=1" }, ...options }), { code });
  });
}
