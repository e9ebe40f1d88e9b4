/** krun's Pod in the mesh beside the one that Istio's real injector makes of the same Pod, by Istio's own templates. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { V1Pod } from "@kubernetes/client-node";
import { envoyBootstrapTemplate } from "../../src/core/envoy_bootstrap.ts";
import { KrunError } from "../../src/core/errors.ts";
import { withoutInjected } from "../../src/core/injected.ts";
import type { MeshMachine } from "../../src/core/mesh_mode.ts";
import { meshedPod } from "../../src/core/mesh_pod.ts";
import type { MeshMode } from "../../src/core/mesh_settings.ts";
import { defaultPod } from "../../src/core/pod_defaults.ts";
import { parseSettings } from "../../src/core/settings.ts";
import { type Plan, planStart } from "../../src/launch/plan.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { inject, injectorConfigMap } from "./injector.ts";
import { type Difference, DIFFERENCES } from "./injector_differences.ts";
import { type Istiod, startIstiod } from "./istiod.ts";
import { podLeaves } from "./pod_leaves.ts";

const ROOT = { uid: 0, gid: 0, groups: [] };

/** What the mesh gives every proxy, of which a mode is not to be made. */
const MESH_CONFIG = {
  trustDomain: "corp.example",
  defaultConfig: {
    drainDuration: "30s",
    holdApplicationUntilProxyStarts: true,
    proxyMetadata: { ISTIO_META_DNS_CAPTURE: "true", EXTRA: "1" },
  },
};

/** A Pod with something of everything that the injector looks at. */
function webPod(annotations: Readonly<Record<string, string>>): V1Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "web-0",
      namespace: "shop",
      labels: { app: "web", version: "v2" },
      annotations: { "sidecar.istio.io/agentLogLevel": "dns:debug", ...annotations },
    },
    spec: {
      serviceAccountName: "web",
      initContainers: [{ name: "setup", command: ["true"] }],
      containers: [
        {
          name: "web",
          command: ["sleep", "1"],
          ports: [{ name: "http", containerPort: 8080 }, { containerPort: 9090, protocol: "UDP" }],
          readinessProbe: { httpGet: { port: "http", path: "/ok" } },
        },
        { name: "log", command: ["sleep", "1"], ports: [{ containerPort: 5140 }] },
      ],
    },
  };
}

/** A rig of servers, and both ways from a manifest to a Pod in the mesh. */
class Comparison implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #used = new Set<Difference>();
  server!: ApiServer;
  istiod!: Istiod;

  static async create(): Promise<Comparison> {
    const comparison = new Comparison();
    try {
      comparison.server = comparison.#stack.use(await startApiServer({ seed: "istio" }));
      const options = { meshConfig: MESH_CONFIG, objects: [await injectorConfigMap()] };
      comparison.istiod = comparison.#stack.use(await startIstiod(comparison.server, options));
      await comparison.server.namespace("shop");
      const metadata = { namespace: "shop", name: "web" };
      await comparison.server.create({ apiVersion: "v1", kind: "ServiceAccount", metadata });
    } catch (error) {
      await comparison[Symbol.asyncDispose]();
      throw error;
    }
    return comparison;
  }

  /** What krun would run where there are neither agent nor Envoy. */
  async planWithoutMesh(manifest: V1Pod): Promise<V1Pod> {
    return (await this.#plan(manifest, {})).planned.pod;
  }

  /** What krun would run where agent and Envoy are where they usually are. */
  async plan(manifest: V1Pod, mode: MeshMode): Promise<V1Pod> {
    // So that this machine's network is not looked at: what is captured is no part of the Pod.
    const interceptionFault = new KrunError("InterceptionUnavailable", "Cannot intercept traffic: a test", "none");
    const machine = { agent: "/usr/local/bin/pilot-agent", envoy: "/usr/local/bin/envoy", interceptionFault };
    const env = mode === "intercept" ? {} : { MESH_MODE: mode };
    const { planned, mesh, identity } = await this.#plan(manifest, { machine, env });
    if (mode !== "intercept") return planned.pod;
    const without = await this.#plan(manifest, {});
    return meshedPod(without.planned, {
      ...{ ...mesh!, mode, settings: parseSettings({}).mesh, self: ROOT, cloudPlatform: "none", noProxy: "" },
      ...{ workloadName: identity.name.value, ownBootstrap: envoyBootstrapTemplate() },
    }).pod;
  }

  async #plan(
    manifest: V1Pod,
    { machine, env = {} }: { readonly machine?: MeshMachine; readonly env?: Readonly<Record<string, string>> },
  ): Promise<Plan> {
    const path = join(this.server.folder, `${crypto.randomUUID()}.json`);
    await Deno.writeTextFile(path, JSON.stringify(manifest));
    const all = {
      KUBECONFIG: this.server.adminKubeconfig,
      KRUN_POD: path,
      XDS_ADDR: this.istiod.discoveryAddress,
      ...env,
    };
    const outer = { args: [], env: all, cwd: "/", pid: 1, self: ROOT, writeError: () => {}, writeOutput: () => {} };
    const plan = await planStart(outer, { settings: parseSettings(all), argv: [], log: new RecordingLog(), machine });
    await plan.cluster?.[Symbol.asyncDispose]();
    return plan;
  }

  /** What the injector makes of the Pod that krun would run without a mesh, with the API server's defaults. */
  async injected(manifest: V1Pod): Promise<V1Pod> {
    return defaultPod(await inject(this.istiod, await this.planWithoutMesh(manifest)), ROOT);
  }

  /** @throws {AssertionError} with every difference that has no row in the table. */
  async compare(manifest: V1Pod, mode: MeshMode): Promise<void> {
    const [injector, krun] = await Promise.all([this.injected(manifest), this.plan(manifest, mode)]);
    const [theirs, ours] = [podLeaves(injector), podLeaves(krun)];
    const different = [...new Set([...theirs.keys(), ...ours.keys()])].filter((at) => theirs.get(at) !== ours.get(at));
    assert.deepEqual(
      different.flatMap((at) => this.#unexplained(at, { injector: theirs.get(at), krun: ours.get(at) })),
      [],
    );
  }

  /** Rows that explained nothing: the difference is gone. */
  get stale(): string[] {
    return DIFFERENCES.filter((row) => !this.#used.has(row)).map(({ at, reason }) => `${at}: ${reason}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #unexplained(at: string, { injector, krun }: Pick<Side, "injector" | "krun">): Side[] {
    const row = DIFFERENCES.find((row) => fits(row.at, at) && fits(row.injector, injector) && fits(row.krun, krun));
    if (row === undefined) return [{ at, injector, krun }];
    this.#used.add(row);
    return [];
  }
}

interface Side {
  readonly at: string;
  readonly injector: string | undefined;
  readonly krun: string | undefined;
}

function fits(pattern: string | RegExp | undefined, text: string | undefined): boolean {
  if (pattern === undefined || text === undefined) return pattern === text;
  return typeof pattern === "string" ? pattern === text : pattern.test(text);
}

const NONE = { "sidecar.istio.io/interceptionMode": "NONE" };
const SCRAPED = { "prometheus.io/port": "9090", "prometheus.io/scrape": "true" };
const GRPC_AGENT = { "inject.istio.io/templates": "grpc-agent" };

Deno.test("meshedPod() gives what Istio's own injector gives the same Pod, but for what is a row of the table", async (t) => {
  await using comparison = await Comparison.create();
  const compare = (annotations: Readonly<Record<string, string>>, mode: MeshMode) =>
    comparison.compare(webPod(annotations), mode);

  await t.step("template sidecar, and mode intercept", () => compare({}, "intercept"));
  await t.step("metrics that are scraped", () => compare(SCRAPED, "intercept"));
  await t.step("interceptionMode NONE, and mode proxy", () => compare({ ...NONE, ...SCRAPED }, "proxy"));
  await t.step("template grpc-agent, and mode proxyless", () => compare(GRPC_AGENT, "proxyless"));

  await t.step("the workload's own ProxyConfig and levels", async () => {
    const proxyMetadata = { ISTIO_META_ENABLE_HBONE: "true", ISTIO_META_DNS_CAPTURE: "false", EXTRA: "2" };
    const config = { concurrency: 4, proxyMetadata };
    await compare({
      "proxy.istio.io/config": JSON.stringify(config),
      "sidecar.istio.io/logLevel": "debug",
      "sidecar.istio.io/componentLogLevel": "upstream:debug",
      "prometheus.istio.io/merge-metrics": "false",
    }, "intercept");
  });

  await t.step("names of the workload that its labels do not say, and a network that they do", async () => {
    const pod = webPod({ "prometheus.io/scrape": "false" });
    const labels = { "app.kubernetes.io/name": "shop-web", "topology.istio.io/network": "edge", app: "web" };
    await comparison.compare({ ...pod, metadata: { ...pod.metadata, labels } }, "intercept");
    await comparison.compare({ ...pod, metadata: { ...pod.metadata, labels: {} } }, "intercept");
  });

  await t.step("annotations by which a Pod changes its proxy", () =>
    compare({
      "sidecar.istio.io/bootstrapOverride": "mine",
      "sidecar.istio.io/proxyCPULimit": "500m",
      "sidecar.istio.io/userVolume": '{"more": {"emptyDir": {}}}',
      "sidecar.istio.io/userVolumeMount": '{"more": {"mountPath": "/more"}}',
      "readiness.status.sidecar.istio.io/periodSeconds": "5",
      "sidecar.istio.io/capNetBindService": "true",
    }, "intercept"));

  await t.step("a Pod that was read from a cluster is what it was before the injector had it", async () => {
    for (const annotations of [{}, SCRAPED, NONE, GRPC_AGENT]) {
      const manifest = webPod(annotations);
      const before = podLeaves(await comparison.planWithoutMesh(manifest));
      const after = podLeaves(withoutInjected(await comparison.injected(manifest)));
      const added = [...after].filter(([at, text]) => before.get(at) !== text).map(([at]) => at);
      const lost = [...before.keys()].filter((at) => !after.has(at));
      assert.deepEqual(added.filter((at) => !HARMLESS.test(at)), []);
      assert.deepEqual(lost, []);
    }
  });

  await t.step("values of the chart", async () => {
    const map = await injectorConfigMap({
      global: {
        multiCluster: { clusterName: "edge-1" },
        meshID: "mesh-1",
        network: "cluster-net",
        logging: { level: "default:warn" },
        proxy: { clusterDomain: "corp.local", logLevel: "info", componentLogLevel: "misc:info" },
      },
    });
    await comparison.server.replace(map);
    await waitFor("the injector to have them", async () => {
      const leaves = podLeaves(await comparison.injected(webPod(NONE)));
      return leaves.get("proxy/env/ISTIO_META_MESH_ID") === "mesh-1";
    });
    const pod = webPod({});
    // Said, since this istiod knows no nodes of a cluster of that name.
    const annotations = { ...NONE, "sidecar.istio.io/nativeSidecar": "true" };
    await comparison.compare({ ...pod, metadata: { ...pod.metadata, annotations } }, "proxy");
  });

  assert.deepEqual(comparison.stale, []);
});

/** What a Pod from a cluster keeps: krun gives it the same, or nobody reads it. A named port stays a number. */
const HARMLESS =
  /^(labels\/(security|service)\.istio\.io:|annotations\/(kubectl\.kubernetes\.io:|sidecar\.istio\.io:rewrite)|containers\/web\/readinessProbe\/httpGet\/port$)/;

Deno.test("podLeaves() tells a Pod apart from one that differs in anything, as the negative control", () => {
  const leaves = podLeaves(webPod({}));
  assert.ok(leaves.size > 15);
  const other = structuredClone(webPod({}));
  other.spec!.containers[1]!.ports![0]!.containerPort = 5141;
  const changed = [...podLeaves(other)].filter(([at, text]) => leaves.get(at) !== text);
  assert.deepEqual(changed, [["containers/log/ports/0/containerPort", "5141"]]);
});
