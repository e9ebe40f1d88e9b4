import assert from "node:assert/strict";
import { FakeCluster } from "../../tests/fake_cluster.ts";
import { plainEnv } from "../../tests/meshed_pod.ts";
import { failure } from "../../tests/planned_pod.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { workloadIdentity } from "../core/identity.ts";
import { ISTIO_PROXY } from "../core/istio_proxy.ts";
import { podFromSettings } from "../core/pod_from_settings.ts";
import type { Env } from "../core/pod_inputs.ts";
import { parsePodManifest } from "../core/pod_manifest.ts";
import { parseSettings } from "../core/settings.ts";
import { planMesh } from "./mesh_plan.ts";

interface PlanTrial {
  readonly env?: Env;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  /** @default {KRUN_POD does not name the Pod} */
  readonly podName?: string;
  readonly envoy?: string | undefined;
  readonly base?: string;
  readonly cluster?: FakeCluster;
}

/** Plans a workload `web` of namespace `shop`. */
async function plan(trial: PlanTrial) {
  const { env = {}, labels = {}, annotations = {}, podName, base = "/", cluster = new FakeCluster() } = trial;
  const envoy = "envoy" in trial ? trial.envoy : "/opt/envoy";
  const names = { WORKLOAD_NAMESPACE: "shop", ...(podName === undefined && { WORKLOAD_NAME: "web" }) };
  const settings = parseSettings({ XDS_ADDR: "34.1.2.3:15012", ...names, ...env });
  const metadata = { labels, annotations, ...(podName !== undefined && { name: podName }) };
  const spec = { containers: [{ name: "web", command: ["x"] }] };
  const manifest = parsePodManifest({ apiVersion: "v1", kind: "Pod", metadata, spec }, "pod.yaml");
  const identity = workloadIdentity(settings.workload, { manifest });
  const self = { uid: 1000, gid: 1000, groups: [] };
  const planned = podFromSettings({ settings, identity, argv: [], manifest, self, base, podUid: "u-1" });
  const outer = { args: [], env, cwd: "/", pid: 1, self, writeError() {}, writeOutput() {} };
  const machine = { agent: "/opt/pilot-agent", envoy };
  return await planMesh(outer, {
    ...{ settings, cluster, identity, planned, base, machine, log: new RecordingLog(), deadlineMs: 0 },
    signal: new AbortController().signal,
  });
}

/** The same, where it joins. */
async function joined(trial: PlanTrial) {
  const result = await plan(trial);
  if (typeof result === "string") assert.fail(`it joins none: ${result}`);
  return { ...result, agent: plainEnv(result.planned, ISTIO_PROXY) };
}

Deno.test("planMesh() joins none where there is none, and says what was looked for", async () => {
  const env = { XDS_ADDR: "" };
  assert.equal(await plan({ env }), "the cluster has neither ConfigMap mesh-env nor istio in istio-system");
  assert.match(String(await plan({ env, labels: { "istio.io/rev": "1-31" } })), /nor istio-1-31 in/);
});

Deno.test("planMesh() fails where a setting asks for a mesh and there is none", async () => {
  for (const asked of [{ MESH_MODE: "proxy" }, { GATEWAY_NAME: "edge" }] as const) {
    const error = await failure(plan({ env: { XDS_ADDR: "", ...asked } }), "MeshUnknown");
    const [name] = Object.keys(asked);
    assert.match(error.message, new RegExp(`^Cannot join the mesh that ${name} asks for: the cluster has neither `));
    assert.match(error.hint, new RegExp(`unset ${name}`));
  }
});

Deno.test("planMesh() joins none for a Pod that wants no proxy; of label and annotation the label counts", async () => {
  const INJECT = "sidecar.istio.io/inject";
  const joins = async (label?: string, annotation?: string) =>
    typeof await plan({
      ...(label !== undefined && { labels: { [INJECT]: label } }),
      ...(annotation !== undefined && { annotations: { [INJECT]: annotation } }),
    }) !== "string";
  assert.deepEqual([await joins("false"), await joins(undefined, "false"), await joins("false", "true")], [
    false,
    false,
    false,
  ]);
  assert.deepEqual([await joins(), await joins("true"), await joins("true", "false")], [true, true, true]);
});

Deno.test("planMesh() gives each instance a Pod's name of its own, and one that KRUN_POD names that name", async () => {
  const name = async (trial: PlanTrial) => (await joined(trial)).planned.pod.metadata?.name ?? "";
  const [one, other] = await Promise.all([name({}), name({})]);
  assert.notEqual(one, other);
  for (const each of [one, other]) assert.match(each, /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
  assert.match(await name({ env: { K_SERVICE: "web", K_REVISION: "web-00001-abc" } }), /^web-00001-abc-[a-z0-9]{5}$/);
  assert.equal(await name({ podName: "web-0" }), "web-0");
  const { agent } = await joined({ podName: "web-0" });
  assert.equal(agent.ISTIO_META_WORKLOAD_NAME, "web-0");
});

Deno.test("planMesh() puts PROXY_CONFIG over the Pod's annotation by the agent's rule, and YAML is as good as JSON", async () => {
  const annotations = {
    "proxy.istio.io/config": "concurrency: 1\ndrainDuration: 9s\nproxyMetadata:\n  A: '1'\n  B: '1'\n",
  };
  const env = { PROXY_CONFIG: '{"concurrency":2,"proxyMetadata":{"B":"2"}}' };
  const { agent } = await joined({ annotations, env });
  assert.partialDeepStrictEqual(JSON.parse(agent.PROXY_CONFIG!), { concurrency: 2, drainDuration: "9s" });
  assert.deepEqual([agent.A, agent.B], ["1", "2"]);
  const error = await failure(plan({ env: { PROXY_CONFIG: "a: [secret-text" } }), "MeshUnknown");
  assert.match(error.message, /PROXY_CONFIG/);
  assert.doesNotMatch(error.message, /secret-text/);
});

Deno.test("planMesh() takes the Envoy that a ProxyConfig names, if it is there, else the machine's", async () => {
  const path = await Deno.makeTempFile();
  try {
    const binary = async (binaryPath: string) => {
      const { agent } = await joined({ env: { PROXY_CONFIG: JSON.stringify({ binaryPath }) } });
      return JSON.parse(agent.PROXY_CONFIG!).binaryPath;
    };
    assert.equal(await binary(path), path);
    assert.equal(await binary("/no/such/envoy"), "/opt/envoy");
    const { mesh } = await joined({ envoy: undefined });
    assert.equal(mesh.mode.mode, "proxyless");
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("planMesh() has the agent work below the base, with paths that do not depend on where it works", async () => {
  const { mesh, agent, planned } = await joined({ base: "/home/ann", env: { MESH_MODE: "proxyless" } });
  assert.equal(mesh.places.root, "/home/ann");
  assert.equal(planned.pod.spec?.initContainers?.[0]?.workingDir, "/home/ann");
  assert.equal(JSON.parse(agent.PROXY_CONFIG!).configPath, "/home/ann/etc/istio/proxy");
  assert.equal(agent.GRPC_XDS_BOOTSTRAP, "/home/ann/etc/istio/proxy/grpc-bootstrap.json");
  assert.equal(agent.OUTPUT_CERTS, "/home/ann/var/lib/istio/data");
  assert.equal(plainEnv(planned, "web").GRPC_XDS_BOOTSTRAP, agent.GRPC_XDS_BOOTSTRAP);
});

Deno.test("planMesh() looks for the workload's group by its name, or by the one that is set for the agent", async () => {
  const cluster = new FakeCluster();
  for (const [name, network] of [["web", "n1"], ["vms", "n2"]] as const) {
    cluster.putResource("workloadgroups", {
      metadata: { namespace: "shop", name },
      ...{ spec: { template: { network } } },
    });
  }
  const network = async (env: Env) => (await joined({ cluster, env })).agent.ISTIO_META_NETWORK;
  assert.equal(await network({}), "n1");
  assert.equal(await network({ ISTIO_META_AUTO_REGISTER_GROUP: "vms" }), "n2");
});

Deno.test("planMesh() keeps what krun's environment says of hosts that need no proxy, in either spelling", async () => {
  const before = async (env: Env) => plainEnv((await joined({ env })).planned, "web").NO_PROXY?.split(",").at(-1);
  assert.equal(await before({ NO_PROXY: "corp.example" }), "corp.example");
  assert.equal(await before({ no_proxy: "corp.example" }), "corp.example");
  assert.equal(await before({}), ".googleapis.com");
});

Deno.test("planMesh() lets peers in by HBONE, unless HBONE_ALLOW says otherwise", async () => {
  const { mesh: { hbone } } = await joined({});
  assert.ok("ports" in hbone && hbone.allow === undefined, JSON.stringify(hbone));
  assert.ok(hbone.workload.hosts.includes("127.0.0.1"));
  const chosen = await joined({ env: { HBONE_ALLOW: "spiffe://other.test/ns/a/sa/b" } });
  const { hbone: { allow } } = chosen.mesh as { hbone: { allow?: unknown } };
  assert.deepEqual(allow, [{ trustDomain: "other.test", namespace: "a", serviceAccount: "b" }]);
  assert.deepEqual((await joined({ env: { HBONE_ALLOW: "-" } })).mesh.hbone, { because: "HBONE_ALLOW is -" });
});
