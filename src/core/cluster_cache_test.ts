import assert from "node:assert/strict";
import fc from "fast-check";
import { type CachedCluster, cacheKey, cacheText, isSamePlace, parseCache } from "./cluster_cache.ts";

const CLUSTER: CachedCluster = {
  key: cacheKey({ off: false, clusterName: "prod" }, true),
  whereabouts: { user: "krun@p.iam.gserviceaccount.com", ownProject: "p", region: undefined },
  server: "https://34.1.2.3",
  caPem: "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
  source: { kind: "google", where: "projects/p/locations/l/clusters/prod", cluster: "prod", chosenBy: "MESH names it" },
};

Deno.test("parseCache() gives back what was kept", () => {
  assert.deepEqual(parseCache(cacheText(CLUSTER)), CLUSTER);
  const { caPem: _ca, ...gateway } = {
    ...CLUSTER,
    refusesServiceAccounts: "Connect Gateway takes no service account tokens",
    server: "https://connectgateway.googleapis.com/v1/projects/1/locations/global/memberships/m",
  };
  assert.deepEqual(parseCache(cacheText({ ...gateway, caPem: undefined })), { ...gateway, caPem: undefined });
});

Deno.test("parseCache() refuses a server that nobody could be told from another", () => {
  for (
    const changed of [
      { server: "http://34.1.2.3" },
      { server: "https://a@34.1.2.3" },
      { server: "https://evil.example", caPem: undefined },
      { server: "https://34.1.2.3", caPem: undefined },
      { caPem: "no certificate" },
      { refusesServiceAccounts: 1 as unknown as string },
      { source: { ...CLUSTER.source, kind: "kubeconfig" as const } },
    ]
  ) assert.equal(parseCache(cacheText({ ...CLUSTER, ...changed })), undefined, JSON.stringify(changed));
});

Deno.test("parseCache() throws nothing when given any text", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.equal(parseCache(text), undefined)));
});

Deno.test("cacheKey() differs where another cluster may be meant", () => {
  const settings = [
    { off: false },
    { off: false, clusterName: "a" },
    { off: false, location: "a" },
    { off: false, projectId: "a" },
    { off: false, endpoint: "dns" as const },
    { off: false, credentialsFile: "a" },
    { off: false, metadataHost: "a" },
    { off: false, target: { kind: "project" as const, project: "a" } },
  ];
  const keys = settings.flatMap((one) => [cacheKey(one, true), cacheKey(one, false)]);
  assert.equal(new Set(keys).size, keys.length);
});

Deno.test("isSamePlace() differs where another account, project or region is", () => {
  const here = { user: "a@b", ownProject: "p", region: "r" };
  assert.ok(isSamePlace(here, { ...here }));
  for (const changed of [{ user: "c@b" }, { user: undefined }, { ownProject: "q" }, { region: undefined }]) {
    assert.equal(isSamePlace(here, { ...here, ...changed }), false);
  }
});
