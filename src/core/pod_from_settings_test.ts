import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldAt } from "../../tests/field_at.ts";
import { loadVectors } from "../../tests/vectors.ts";
import type { Cluster } from "./cluster.ts";
import { containerEnv, expandArgv } from "./container_env.ts";
import { workloadIdentity } from "./identity.ts";
import { parsePodManifest } from "./pod_manifest.ts";
import { type PlannedPod, podFromSettings } from "./pod_from_settings.ts";
import type { Env } from "./pod_inputs.ts";
import { parseSettings } from "./settings.ts";

interface Input {
  readonly env: Env;
  readonly argv: readonly string[];
  readonly uid: number;
  readonly gid: number;
  readonly base: string;
  readonly cluster?: Pick<Cluster, "source" | "endpoint">;
  readonly manifest?: unknown;
  readonly kubeletServiceAccount?: boolean;
  readonly homeKubeconfig?: boolean;
}

/** From variables to the Pod, by all the steps of a start. */
function plan(
  { env, argv, uid, gid, base, cluster, manifest: data, kubeletServiceAccount = false, homeKubeconfig = false }: Input,
): PlannedPod {
  const settings = parseSettings(env);
  const manifest = data === undefined ? undefined : parsePodManifest(data, "pod.yaml");
  const identity = workloadIdentity(settings.workload, { manifest, source: cluster?.source });
  return podFromSettings({
    settings,
    identity,
    argv,
    manifest,
    cluster,
    self: { uid, gid },
    base,
    podUid: "u-1",
    kubeletServiceAccount,
    homeKubeconfig,
  });
}

for (const { id, why, input, expect } of loadVectors<Input, Record<string, unknown>>("pod_from_settings")) {
  Deno.test(`podFromSettings() ${id}: ${why}`, () => {
    const planned = plan(input);
    const found = {
      ...planned,
      origins: Object.fromEntries(planned.origins),
      liveFiles: [...planned.liveFiles],
      localObjects: Object.fromEntries(planned.localObjects),
    };
    for (const [path, value] of Object.entries(expect)) assert.deepEqual(fieldAt(found, path), value, path);
  });
}

const PLAIN = { env: {}, uid: 0, gid: 0, base: "/" };

Deno.test("podFromSettings() gives the program its argv byte for byte when the environment holds what it names", () => {
  const word = fc.array(fc.constantFrom("$", "$$", "(", ")", "$(A)", "${A}", "A", "x", " ", "\\")).map((p) =>
    p.join("")
  );
  fc.assert(fc.property(fc.array(word, { minLength: 1 }), (argv) => {
    const { pod } = plan({ ...PLAIN, argv });
    assert.deepEqual(expandArgv(pod.spec?.containers[0]?.command ?? [], { A: "boom" }), argv);
  }));
});

Deno.test("podFromSettings() gives KUBERNETES_ variables of the endpoint when the environment is made from it", () => {
  const cluster = {
    source: { kind: "kubeconfig", where: "/k", namespace: "default" },
    endpoint: { server: "https://[2001:db8::1]:6443", caPem: "CA" },
  } as const;
  const { pod, localServices } = plan({ ...PLAIN, env: { KUBECONFIG: "/k" }, argv: ["x"], cluster });
  const inputs = {
    object: () => undefined,
    token: () => assert.fail("no token is asked for"),
    services: localServices,
    node: { name: "n", ips: [], allocatable: {} },
  };
  const env = containerEnv(pod.spec!.containers[0]!, { pod, inputs });
  assert.equal(env["KUBERNETES_SERVICE_HOST"], "2001:db8::1");
  assert.equal(env["KUBERNETES_SERVICE_PORT"], "6443");
  assert.equal(env["KUBERNETES_PORT"], "tcp://[2001:db8::1]:6443");
});

Deno.test("podFromSettings() does not change the manifest when it adds to it", () => {
  const data = { apiVersion: "v1", kind: "Pod", spec: { containers: [{ name: "a", command: ["b"] }] } };
  const manifest = parsePodManifest(data, "pod.yaml");
  const before = structuredClone(manifest);
  const settings = parseSettings({ K8S_SECRET_db: "/db", KRUN_RUN_AS: "5", PORT: "1" });
  const identity = workloadIdentity({}, {});
  podFromSettings({ settings, identity, argv: ["c"], manifest, self: { uid: 0, gid: 0 }, base: "/", podUid: "u" });
  assert.deepEqual(manifest, before);
});
