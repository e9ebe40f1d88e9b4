import assert from "node:assert/strict";
import fc from "fast-check";
import { dump } from "js-yaml";
import type { V1EnvVar, V1Pod } from "@kubernetes/client-node";
import { assertGolden } from "../../tests/golden.ts";
import { type MeshTrial, meshTrial, plainEnv } from "../../tests/meshed_pod.ts";
import { KrunError } from "./errors.ts";
import { ISTIO_PROXY } from "./istio_proxy.ts";
import { MESH_MODES } from "./mesh_settings.ts";
import type { PlannedPod } from "./pod_from_settings.ts";
import { podContainers } from "./volume_mounts.ts";

/** A mesh that says something of everything, and a Pod with something of everything. */
const FULL = {
  env: { ISTIO_META_X: "1", NO_PROXY: "corp.example" },
  manifest: {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "web-0",
      namespace: "shop",
      labels: { app: "web" },
      annotations: { "prometheus.io/port": "9090" },
    },
    spec: {
      initContainers: [{ name: "setup", command: ["true"] }],
      containers: [
        {
          name: "web",
          ports: [{ name: "http", containerPort: 8080 }],
          readinessProbe: { httpGet: { port: "http" } },
          env: [{ name: "OWN", value: "1" }],
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        },
        { name: "log", command: ["log"] },
      ],
      volumes: [{ name: "data", emptyDir: {} }],
    },
  },
  found: {
    meshConfig: { trustDomain: "corp.example", defaultConfig: { drainDuration: "30s", proxyMetadata: { EXTRA: "1" } } },
    injector: { clusterName: "edge", meshId: "mesh-1", clusterDomain: "corp.local" },
    group: { name: "web", network: "n1", locality: "r/z/s", labels: { tier: "front" }, ports: { http: 8080 } },
  },
} satisfies Omit<MeshTrial, "mode">;

for (const mode of MESH_MODES) {
  Deno.test(`meshedPod() in mode ${mode} is what tests/testdata/golden/meshed_pod_${mode}.yaml holds`, () => {
    const { pod, origins, localObjects, volumeUsers } = meshTrial({ ...FULL, mode, ownBootstrap: "TEMPLATE" });
    const parts = {
      pod,
      origins: Object.fromEntries(origins),
      localObjects: [...localObjects.keys()],
      volumeUsers: Object.fromEntries(volumeUsers),
    };
    assertGolden(`meshed_pod_${mode}.yaml`, dump(parts, { lineWidth: -1, noRefs: true }));
  });
}

Deno.test("meshedPod() gives the program the probe of its WorkloadGroup, unless it has one of its own", () => {
  const probe = { tcpSocket: { port: 7 } };
  const found = { ...FULL.found, group: { ...FULL.found.group, probe } };
  const readiness = (manifest?: unknown) => {
    const { pod, program } = meshTrial({ mode: "proxy", found, manifest });
    return pod.spec?.containers.find(({ name }) => name === program)?.readinessProbe;
  };
  assert.equal(readiness()?.tcpSocket?.port, 7);
  assert.equal(readiness(FULL.manifest)?.tcpSocket, undefined);
  assert.equal(readiness(FULL.manifest)?.httpGet?.port, "http");
});

/** Containers that mount a volume. */
function mounting(pod: V1Pod, volume: string): string[] {
  return podContainers(pod).filter(({ volumeMounts = [] }) => volumeMounts.some(({ name }) => name === volume))
    .map(({ name }) => name);
}

function names(env: readonly V1EnvVar[] | undefined): string[] {
  return (env ?? []).map(({ name }) => name);
}

Deno.test("meshedPod() gives the agent's token to the agent alone: no other container mounts it, no other user may enter", () => {
  for (const mode of MESH_MODES) {
    const { pod, volumeUsers } = meshTrial({ ...FULL, mode });
    assert.deepEqual(mounting(pod, "istio-token"), [ISTIO_PROXY], mode);
    assert.equal(volumeUsers.get("istio-token"), mode === "proxyless" ? 0 : 1337, mode);
    const token = pod.spec?.volumes?.find(({ name }) => name === "istio-token")?.projected;
    assert.deepEqual(token?.sources, [
      { serviceAccountToken: { audience: "istio-ca", expirationSeconds: 43_200, path: "istio-token" } },
    ]);
    assert.equal(token?.defaultMode, 0o600);
  }
});

Deno.test("meshedPod() keeps every volume with keys or sockets for one user, and none of the Pod's own", () => {
  for (const mode of MESH_MODES) {
    const { pod, volumeUsers } = meshTrial({ ...FULL, mode });
    const secret = [
      "istio-token",
      "istio-envoy",
      "istio-data",
      "workload-socket",
      "workload-certs",
      "credential-socket",
    ];
    const expected = mode === "proxyless" ? secret.slice(0, -1) : secret;
    assert.deepEqual([...volumeUsers.keys()].sort(), expected.toSorted(), mode);
    assert.ok(pod.spec?.volumes?.some(({ name }) => name === "data"));
  }
});

Deno.test("meshedPod() runs agent and Envoy as 1337 where krun can choose, else as krun, and without Envoy as the program", () => {
  const user = (trial: MeshTrial) => {
    const { pod, volumeUsers } = meshTrial(trial);
    const { runAsUser, runAsGroup } = {
      ...pod.spec?.securityContext,
      ...pod.spec?.initContainers?.[0]?.securityContext,
    };
    return [runAsUser, runAsGroup, volumeUsers.get("istio-token")];
  };
  const ann = { uid: 1000, gid: 1001 };
  assert.deepEqual(user({ mode: "proxy" }), [1337, 1337, 1337]);
  assert.deepEqual(user({ mode: "proxy", self: ann }), [1000, 1001, 1000]);
  assert.deepEqual(user({ mode: "proxyless" }), [0, 0, 0]);
  assert.deepEqual(user({ mode: "proxyless", env: { KRUN_RUN_AS: "1500:1501" } }), [1500, 1501, 1500]);
  assert.deepEqual(user({ mode: "proxy", env: { KRUN_RUN_AS: "1500:1501" } }), [1337, 1337, 1337]);
});

Deno.test("meshedPod() gives the agent no variable of the program or of krun, nor the program one of the agent", () => {
  const name = fc.stringMatching(/^[A-Z][A-Z_]{2,8}$/).map((text) => `X${text}`);
  const env = fc.dictionary(name, fc.string({ minLength: 1 }));
  fc.assert(
    fc.property(env, env, fc.constantFrom(...MESH_MODES), (ofKrun, ofPod, mode) => {
      const container = {
        name: "web",
        command: ["x"],
        env: Object.entries(ofPod).map(([name, value]) => ({ name, value })),
      };
      const manifest = { apiVersion: "v1", kind: "Pod", spec: { containers: [container] } };
      const { pod } = meshTrial({ mode, env: ofKrun, manifest });
      const agents = names(pod.spec!.initContainers![0]!.env);
      const programs = names(pod.spec!.containers[0]!.env);
      for (const name of [...Object.keys(ofKrun), ...Object.keys(ofPod)]) assert.ok(!agents.includes(name), name);
      const shared = agents.filter((name) => programs.includes(name));
      assert.deepEqual(shared, mode === "proxyless" ? ["GRPC_XDS_BOOTSTRAP"] : []);
    }),
    { numRuns: 30 },
  );
});

Deno.test("meshedPod() never tells the agent of an API server, be it the program's, krun's own or the mesh's", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" };
  for (const mode of MESH_MODES) {
    const { pod } = meshTrial({ mode, env, proxyConfig: { proxyMetadata: { ...env, EXTRA: "1" } } });
    const seen = names(pod.spec!.initContainers![0]!.env);
    assert.ok(!seen.includes("KUBERNETES_SERVICE_HOST"), mode);
    assert.ok(seen.includes("EXTRA"), "the control: other metadata is there");
  }
});

Deno.test("meshedPod() sends a program's HTTP through the mesh, never what its identity comes from, and no TLS", () => {
  const env = plainEnv(meshTrial({ mode: "proxy", env: { NO_PROXY: "corp.example" } }), "web");
  assert.equal(env.HTTP_PROXY, "http://127.0.0.1:15007");
  assert.equal(env.http_proxy, env.HTTP_PROXY);
  assert.equal(env.no_proxy, env.NO_PROXY);
  const never = ["127.0.0.1", "localhost", "::1", "169.254.169.254", "metadata.google.internal", ".googleapis.com"];
  assert.deepEqual(env.NO_PROXY?.split(","), [...never, "10.0.0.1", "corp.example"]);
  assert.ok(!Object.keys(env).some((name) => /https|all_proxy/i.test(name)));
  for (const mode of ["intercept", "proxyless"] as const) {
    assert.equal(plainEnv(meshTrial({ mode }), "web").HTTP_PROXY, undefined, mode);
  }
});

Deno.test("meshedPod() leaves a variable and a path to the Pod that says them itself, and says whose they are", () => {
  const container = {
    name: "web",
    command: ["x"],
    env: [{ name: "GRPC_XDS_BOOTSTRAP", value: "/mine" }],
    volumeMounts: [{ name: "mine", mountPath: "/var/lib/istio/data" }],
  };
  const spec = { containers: [container], volumes: [{ name: "mine", emptyDir: {} }] };
  const planned = meshTrial({ mode: "proxyless", manifest: { apiVersion: "v1", kind: "Pod", spec } });
  const [web] = planned.pod.spec!.containers;
  assert.deepEqual(web?.env?.filter(({ name }) => name === "GRPC_XDS_BOOTSTRAP"), container.env);
  assert.deepEqual(
    web?.volumeMounts?.filter(({ mountPath }) => mountPath === "/var/lib/istio/data").map(({ name }) => name),
    [
      "mine",
    ],
  );
  assert.equal(planned.origins.get("env:web/GRPC_XDS_BOOTSTRAP"), "KRUN_POD");
  assert.equal(planned.origins.get("env:web/GRPC_XDS_EXPERIMENTAL_RBAC"), "the mesh");
  assert.equal(planned.origins.get("istio-token"), "the mesh");
});

Deno.test("meshedPod() refuses a Pod with a volume of the proxy's name, which would be mounted where the proxy's is meant", () => {
  const spec = (name: string) => ({
    containers: [{ name: "web", command: ["x"], volumeMounts: [{ name, mountPath: "/mine" }] }],
    volumes: [{ name, emptyDir: {} }],
  });
  const mesh = (name: string) =>
    meshTrial({ mode: "proxy", manifest: { apiVersion: "v1", kind: "Pod", spec: spec(name) } });
  assert.throws(() => mesh("istio-token"), (error) => {
    assert.ok(error instanceof KrunError);
    assert.equal(error.code, "PodInvalid");
    assert.match(error.message, /"istio-token"/);
    return true;
  });
  mesh("token");
});

Deno.test("meshedPod() names the Pod anew where it has no name of its own, in its metadata and for the control plane", () => {
  const owner = (planned: PlannedPod) => plainEnv(planned, ISTIO_PROXY).ISTIO_META_OWNER;
  const named = meshTrial({ mode: "proxy", podName: "web-1-abcde" });
  assert.equal(named.pod.metadata?.name, "web-1-abcde");
  assert.equal(owner(named), "kubernetes://apis/v1/namespaces/shop/pods/web-1-abcde");
  assert.equal(plainEnv(named, ISTIO_PROXY).ISTIO_META_WORKLOAD_NAME, "web");
  assert.equal(meshTrial({ mode: "proxy" }).pod.metadata?.name, "web");
});
