import assert from "node:assert/strict";
import { FakeCluster, fakeError, type FakeRequest } from "../../tests/fake_cluster.ts";
import { failure } from "../../tests/planned_pod.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { type MeshFound, meshOf, meshRevision } from "../core/mesh.ts";
import type { Env } from "../core/pod_inputs.ts";
import { parseSettings } from "../core/settings.ts";
import { findMesh, type FindMeshOptions } from "./find_mesh.ts";

const ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n";

/** A cluster to look in, and what was seen of it. */
class Trial {
  readonly cluster = new FakeCluster();
  readonly log = new RecordingLog();

  put(name: string, data: Record<string, string>): void {
    this.cluster.put({ kind: "ConfigMap", metadata: { namespace: "istio-system", name }, data });
  }

  /** The requests that `isRefused` names are answered 403. */
  refuse(isRefused: (request: FakeRequest) => boolean): void {
    this.cluster.fails((request) =>
      isRefused(request) ? fakeError("Forbidden", { what: request.what, details: ROLE }) : undefined
    );
  }

  async find(env: Env = {}, options: Partial<FindMeshOptions> = {}): Promise<MeshFound | undefined> {
    return await findMesh(this.cluster, {
      settings: parseSettings(env).mesh,
      namespace: "shop",
      groupName: "web",
      revision: "default",
      log: this.log,
      retry: (_, call) => call(new AbortController().signal),
      ...options,
    });
  }

  /** What a workload without settings of its own would make of it. */
  async mesh(env: Env = {}) {
    const { mesh: settings } = parseSettings(env);
    const found = await this.find(env);
    return meshOf({ settings, found: found!, revision: meshRevision(settings, {}), proxyConfig: {}, labels: {} });
  }
}

Deno.test("findMesh() finds none when the cluster has neither mesh-env nor a MeshConfig", async () => {
  const trial = new Trial();
  trial.put("istio-sidecar-injector", { values: "{}" });
  assert.equal(await trial.find(), undefined);
  assert.deepEqual(trial.cluster.requests.map(({ what }) => what).sort(), [
    "configmaps/istio-system/istio",
    "configmaps/istio-system/istio-sidecar-injector",
    "configmaps/istio-system/mesh-env",
    "services/istio-system/istio-eastwestgateway",
    "sidecars/shop/",
    "workloadgroups/shop/web",
  ]);
});

Deno.test("findMesh() finds one by either of the two, or when XDS_ADDR says that there is one", async () => {
  const byEnv = new Trial();
  byEnv.put("mesh-env", { XDS_ADDR: "10.0.0.1:15012" });
  const described = await byEnv.find();
  assert.deepEqual([...described!.description!.values], [["XDS_ADDR", "10.0.0.1:15012"]]);
  assert.equal(described?.description?.where, "ConfigMap istio-system/mesh-env");
  assert.equal(described?.meshConfig, undefined);
  const byConfig = new Trial();
  byConfig.put("istio", { mesh: "trustDomain: corp.example\ndefaultConfig:\n  concurrency: 2\n" });
  assert.deepEqual((await byConfig.find())?.meshConfig?.defaultConfig, { concurrency: 2 });
  const found = await new Trial().find({ XDS_ADDR: "34.1.2.3:15012" });
  assert.deepEqual([found?.description, found?.meshConfig], [undefined, undefined]);
});

Deno.test("findMesh() does not start in plain text when it may not see whether there is a mesh", async () => {
  for (const name of ["mesh-env", "istio"]) {
    const trial = new Trial();
    trial.put("mesh-env", { XDS_ADDR: "10.0.0.1:15012" });
    trial.refuse(({ what }) => what === `configmaps/istio-system/${name}`);
    const error = await failure(trial.find({ XDS_ADDR: "34.1.2.3:15012" }), "Forbidden");
    assert.match(error.message, new RegExp(`configmaps/istio-system/${name}.*asked for by the mesh`));
    assert.equal(error.details, ROLE);
  }
});

Deno.test("findMesh() tells of both refusals at once, with one Role for both", async () => {
  const trial = new Trial();
  trial.cluster.fails(({ what }) => {
    if (!what.startsWith("configmaps/")) return undefined;
    const right = { identity: "ann", namespace: "istio-system", verbs: ["get"], apiGroup: "", resource: "configmaps" };
    return fakeError("Forbidden", { what, details: ROLE, missing: { ...right, name: what.split("/").at(-1) } });
  });
  const error = await failure(trial.find(), "Forbidden");
  assert.match(error.message, /and 1 more failure/);
  assert.equal(error.details?.match(/^kind: Role$/gm)?.length, 1);
  assert.match(error.details, /resourceNames: \["istio", "mesh-env"\]/);
});

Deno.test("findMesh() does without the objects that only refine it, and says so in the debug log", async () => {
  const trial = new Trial();
  trial.put("mesh-env", { XDS_ADDR: "10.0.0.1:15012" });
  trial.refuse(({ what }) => !/mesh-env$|\/istio$/.test(what));
  const found = await trial.find();
  assert.deepEqual([found?.injector, found?.gatewayAddress, found?.group, found?.sidecars], [
    { clusterName: undefined, meshId: undefined, clusterDomain: undefined },
    ...[undefined, undefined, undefined],
  ]);
  assert.deepEqual(found?.unreadable?.toSorted(), ["configmaps", "services", "sidecars", "workloadgroups"]);
  assert.deepEqual(trial.log.lines.map(({ level, fields }) => `${level} ${fields.object}`).sort(), [
    "debug istio-system/istio-eastwestgateway",
    "debug istio-system/istio-sidecar-injector",
    "debug shop/*",
    "debug shop/web",
  ]);
});

Deno.test("findMesh() fails when an object that only refines it cannot be had for another reason", async () => {
  const trial = new Trial();
  trial.put("mesh-env", { XDS_ADDR: "10.0.0.1:15012" });
  trial.cluster.fails(({ what }) => what.startsWith("services/") ? fakeError("ClusterUnreachable") : undefined);
  await failure(trial.find(), "ClusterUnreachable");
});

Deno.test("findMesh() looks for the objects of a revision, and for the group that it is told", async () => {
  const trial = new Trial();
  trial.put("istio-1-31", { mesh: '{"trustDomain":"corp.example"}' });
  trial.put("istio-sidecar-injector-1-31", { values: '{"global":{"meshID":"mesh-1"}}' });
  trial.cluster.putResource("workloadgroups", {
    metadata: { namespace: "shop", name: "vms" },
    ...{ spec: { template: { network: "n1" } } },
  });
  const found = await trial.find({}, { revision: "1-31", groupName: "vms" });
  assert.deepEqual([found?.meshConfig?.trustDomain, found?.injector?.meshId, found?.group?.network], [
    "corp.example",
    "mesh-1",
    "n1",
  ]);
  assert.equal(await trial.find(), undefined, "the default revision has none");
});

Deno.test("findMesh() takes what MESH names instead of mesh-env, which it then does not ask for", async () => {
  const trial = new Trial();
  trial.put("mesh-env", { XDS_ADDR: "10.0.0.1:15012" });
  trial.refuse(({ what }) => what.endsWith("mesh-env"));
  const description = { values: new Map([["XDS_ADDR", "10.9.9.9:15012"]]), where: "MESH=file:///m" };
  assert.deepEqual((await trial.find({}, { description }))?.description, description);
});

Deno.test("findMesh() says which key of which ConfigMap cannot be read, and nothing of what is in it", async () => {
  const trial = new Trial();
  trial.put("istio-1-31", { mesh: "trustDomain: [secret-text\n" });
  const error = await failure(trial.find({}, { revision: "1-31" }), "MeshUnknown");
  assert.match(error.message, /^Cannot read key "mesh" of ConfigMap "istio-system\/istio-1-31": /);
  assert.doesNotMatch(`${error.message}${error.hint}${error.details ?? ""}`, /secret-text/);
});

Deno.test("findMesh() gives each value of a mesh by the first that says it: a variable, mesh-env, the cluster's objects", async () => {
  const trial = new Trial();
  const ingress = [{ ip: "34.9.9.9" }];
  trial.put("istio", { mesh: '{"trustDomain":"config.example"}' });
  trial.put("istio-sidecar-injector", { values: '{"global":{"multiCluster":{"clusterName":"theirs"}}}' });
  trial.cluster.putService({
    metadata: { namespace: "istio-system", name: "istio-eastwestgateway" },
    spec: {},
    status: { loadBalancer: { ingress } },
  });
  const seen = async (env: Env = {}) => {
    const { address, trustDomain, san, caAddress, root, clusterId } = await trial.mesh(env);
    return [address.value, trustDomain.value, san?.value, caAddress?.value, root.kind, clusterId.value];
  };
  const own = "istiod.istio-system.svc";
  assert.deepEqual(await seen(), ["34.9.9.9:15012", "config.example", own, undefined, "config-map", "theirs"]);
  trial.put("mesh-env", {
    ...{ XDS_ADDR: "env.example:15012", TRUST_DOMAIN: "env.example", ISTIOD_SAN: "san.env.example" },
    ...{ CA_ADDR: "ca.env.example:443", CAROOT_ISTIOD: "PEM", ISTIO_META_CLUSTER_ID: "not a name that it shares" },
  });
  assert.deepEqual(await seen(), [
    ...["env.example:15012", "env.example", "san.env.example", "ca.env.example:443", "pem", "theirs"],
  ]);
  const variables = {
    ...{ XDS_ADDR: "var.example:15012", TRUST_DOMAIN: "var.example", ISTIOD_SAN: "san.var.example" },
    ...{ CA_ADDR: "ca.var.example:443", ISTIO_META_CLUSTER_ID: "mine" },
  };
  assert.deepEqual(await seen(variables), [
    ...["var.example:15012", "var.example", "san.var.example", "ca.var.example:443", "pem", "mine"],
  ]);
});
