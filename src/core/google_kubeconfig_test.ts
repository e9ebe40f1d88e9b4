import assert from "node:assert/strict";
import { mergeKubeconfigs, selectContext } from "./kubeconfig.ts";
import { execCredential, googleKubeconfig, wholeKubeconfig } from "./google_kubeconfig.ts";

const GKE = {
  source: { kind: "google" as const, where: "projects/p/locations/us-central1/clusters/prod" },
  server: "https://34.1.2.3",
  ca: { pem: "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n" },
  user: {},
};

Deno.test("googleKubeconfig() is a kubeconfig whose user is krun, without a credential in it", () => {
  const entry = googleKubeconfig(GKE, {
    command: ["/usr/bin/krun", "-x"],
    env: { GOOGLE_APPLICATION_CREDENTIALS: "/k.json" },
    namespace: "shop",
  });
  const { server, source, user, ca } = selectContext(
    mergeKubeconfigs([{ file: "/f", document: wholeKubeconfig(entry) }]),
  );
  assert.equal(server, GKE.server);
  assert.deepEqual(ca, GKE.ca);
  assert.equal(source.context, "gke_p_us-central1_prod");
  assert.equal(source.namespace, "shop");
  assert.deepEqual(user.exec?.args, ["-x", "--exec-credential"]);
  assert.deepEqual(user.exec?.env, { GOOGLE_APPLICATION_CREDENTIALS: "/k.json" });
  assert.deepEqual(Object.keys(user), ["exec"]);
});

Deno.test("googleKubeconfig() calls a member of a fleet as gcloud does, and gives no CA where the public ones count", () => {
  const source = { kind: "google" as const, where: "projects/p/locations/global/memberships/m" };
  const entry = googleKubeconfig({ ...GKE, source, ca: undefined }, { command: ["krun"], env: {} });
  assert.equal(entry.name, "connectgateway_p_global_m");
  assert.deepEqual(entry.cluster, { server: GKE.server });
});

Deno.test("execCredential() is what kubectl reads of a plugin", () => {
  assert.deepEqual(JSON.parse(execCredential("t", Date.UTC(2031, 4, 6, 7, 8, 9, 10))), {
    kind: "ExecCredential",
    apiVersion: "client.authentication.k8s.io/v1",
    status: { token: "t", expirationTimestamp: "2031-05-06T07:08:09Z" },
  });
});
