import assert from "node:assert/strict";
import { FakeAccount } from "../../tests/fake_account.ts";
import { FakeCluster } from "../../tests/fake_cluster.ts";
import { FakeGoogle } from "../../tests/fakes/google_cloud.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { ClusterSource } from "../core/cluster.ts";
import { parseReference, type ReferenceCluster } from "../core/reference.ts";
import { parseSettings } from "../core/settings.ts";
import { OpenClusters, type ReferenceGoogle } from "./reference_clusters.ts";

/** The workload's cluster, of that source; to ask Google or a kubeconfig for another one fails. */
function clustersOf(source: ClusterSource, google?: Partial<ReferenceGoogle>) {
  const own = Object.assign(new FakeCluster(), { source });
  const clusters = new OpenClusters({
    own,
    google: () => google ? Promise.resolve(google as ReferenceGoogle) : Promise.reject(new Error("another one")),
    settings: parseSettings({}).google,
    kubeconfig: ["/nonexistent"],
    log: new RecordingLog(),
  });
  return { own, clusters };
}

const gke = (name: string, project = "p"): ReferenceCluster => ({
  kind: "gke",
  name: { project, location: "z", cluster: name },
});
const context = (name: string): ReferenceCluster => ({ kind: "context", context: name });

const OWN: readonly { source: ClusterSource; same: readonly ReferenceCluster[]; other: readonly ReferenceCluster[] }[] =
  [
    {
      source: { kind: "google", where: "projects/p/locations/z/clusters/c" },
      same: [gke("c")],
      other: [gke("d"), gke("c", "q"), context("c")],
    },
    {
      source: { kind: "kubeconfig", where: "/k", context: "gke_p_z_c" },
      same: [gke("c"), context("gke_p_z_c")],
      other: [gke("d"), context("gke_p_z_d")],
    },
    { source: { kind: "in-cluster", where: "/var" }, same: [], other: [gke("c"), context("c")] },
  ];

for (const { source, same, other } of OWN) {
  Deno.test(`OpenClusters takes the workload's own cluster (${source.kind}) for what names it, and for nothing else`, async () => {
    await using stack = new AsyncDisposableStack();
    const { own, clusters } = clustersOf(source);
    stack.use(clusters);
    for (const one of [{ kind: "own" } as const, ...same]) assert.equal(await clusters.open(one, undefined), own);
    for (const one of other) await assert.rejects(clusters.open(one, undefined));
  });
}

Deno.test("OpenClusters.canonical() has one form for an object of the workload's own cluster, and leaves others as they are", async () => {
  const { clusters } = clustersOf({ kind: "kubeconfig", where: "/k", context: "gke_p_z_c" });
  await using _ = clusters;
  const form = (value: string) => JSON.stringify(clusters.canonical(parseReference("V", value).object, "shop"));
  const short = form("$SecretKeyRef:/secrets/db/keys/k");
  for (
    const same of [
      "$SecretKeyRef:/namespaces/shop/secrets/db/keys/k",
      "$SecretKeyRef:/projects/p/zones/z/clusters/c/namespaces/shop/secrets/db/keys/k",
      "$SecretKeyRef:/contexts/gke_p_z_c/namespaces/shop/secrets/db/keys/k",
    ]
  ) assert.deepEqual(JSON.parse(form(same)), JSON.parse(short));
  for (
    const other of [
      "$SecretKeyRef:/namespaces/other/secrets/db/keys/k",
      "$SecretKeyRef:/contexts/x/namespaces/shop/secrets/db/keys/k",
      "sm://p/k",
    ]
  ) assert.notEqual(form(other), short);
  assert.equal(form("sm://p/k"), JSON.stringify(parseReference("V", "sm://p/k").object));
});

Deno.test("OpenClusters takes the workload's own cluster also where its project is called by its number, and leaves it open", async () => {
  const google = await FakeGoogle.create();
  const { id, number } = google.project;
  const where = `projects/${id}/locations/us-central1/clusters/prod`;
  google.clusters = ["prod", "dev"].map((name) => ({
    ...{ name, location: "us-central1", status: "RUNNING", endpoint: "34.118.224.1" },
    masterAuth: { clusterCaCertificate: btoa("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----") },
    selfLink: `https://container.googleapis.com/v1/projects/${id}/locations/us-central1/clusters/${name}`,
  }));
  google.grant(google.account!, "container.clusters.get");
  const account = new FakeAccount(google) as unknown as ReferenceGoogle["account"];
  const { own, clusters } = clustersOf({ kind: "google", where }, { account });
  const named = (cluster: string): ReferenceCluster => ({
    kind: "gke",
    name: { project: number, location: "us-central1", cluster },
  });
  assert.equal(await clusters.open(named("prod"), undefined), own);
  const other = await clusters.open(named("dev"), undefined);
  assert.notEqual(other, own);
  let closed = false;
  own[Symbol.asyncDispose] = () => Promise.resolve(void (closed = true));
  await clusters[Symbol.asyncDispose]();
  assert.equal(closed, false);
});
