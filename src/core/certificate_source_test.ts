import assert from "node:assert/strict";
import { assertGoldenJson } from "../../tests/golden.ts";
import { workloadIdentity } from "./identity.ts";
import { istioProxy, type IstioProxyParts, MESH_PORTS } from "./istio_proxy.ts";
import { meshOf } from "./mesh.ts";
import { meshConfigOf } from "./mesh_objects.ts";
import type { Env } from "./pod_inputs.ts";
import { podFromSettings } from "./pod_from_settings.ts";
import { parseSettings } from "./settings.ts";

interface Case {
  readonly env: Env;
  readonly base?: string;
}

/** What the mesh adds to the Pod of these variables. */
function proxyOf({ env, base = "/" }: Case): IstioProxyParts {
  const settings = parseSettings({
    ...{ WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web", XDS_ADDR: "34.1.2.3:15012" },
    ...env,
  });
  const source = { kind: "kubeconfig", where: "/k", namespace: "shop" } as const;
  const identity = workloadIdentity(settings.workload, { source });
  const cluster = { source, endpoint: undefined };
  const self = { uid: 1500, gid: 1500 };
  const { pod } = podFromSettings({ settings, identity, argv: ["x"], cluster, self, base, podUid: "u-1" });
  const proxyConfig = JSON.parse(settings.mesh.proxyConfig ?? "{}");
  const revision = { value: "default", rule: "the default" };
  const found = { meshConfig: meshConfigOf({}) };
  return istioProxy({
    ...{ pod, program: pod.spec!.containers[0]!, settings: settings.mesh, workloadName: "web", noProxy: "" },
    mesh: meshOf({ settings: settings.mesh, found, revision, proxyConfig }),
    places: {
      ...{ agent: "/usr/local/bin/pilot-agent", envoy: "/usr/local/bin/envoy", root: base, config: "/etc/istio/proxy" },
      ...{ bootstrap: "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", certificates: "/var/lib/istio/data" },
      grpcBootstrap: "/etc/istio/proxy/grpc-bootstrap.json",
    },
    ...{ mode: "proxy", ports: MESH_PORTS, cloudPlatform: "none", agentUser: {} },
  });
}

const CASES: Readonly<Record<string, Case>> = {
  "istiod": { env: {} },
  "istiod-root-text": { env: { CAROOT_ISTIOD: "-----BEGIN CERTIFICATE-----" } },
  "istiod-root-file": { env: { XDS_ROOT_CA: "/etc/mesh/root.pem", K8S_CM_root: "/etc/mesh" }, base: "/srv/app" },
  "istiod-root-system": { env: { XDS_ROOT_CA: "SYSTEM", XDS_ADDR: "istiod.example:15012" } },
  "other-authority": {
    env: { CA_ADDR: "ca.example:8932", CA_ROOT_CA: "/etc/ca/root.pem", CA_HEADER_tenant: "blue" },
    base: "/srv/app",
  },
  "other-authority-system": { env: { CA_ADDR: "ca.example:443", CA_ROOT_CA: "SYSTEM" } },
  "signer": { env: { ISTIO_META_CERT_SIGNER: "clusterissuers.cert-manager.io/mesh" } },
  "gke-files": {
    env: { CA_PROVIDER: "GkeWorkloadCertificate", K8S_SECRET_web: "/var/run/secrets/workload-spiffe-credentials" },
  },
  "gke-files-of-the-machine": { env: { CA_PROVIDER: "GkeWorkloadCertificate", CA_ADDR: "meshca.googleapis.com:443" } },
  "mounted-files": { env: { FILE_MOUNTED_CERTS: "true", K8S_SECRET_web: "/etc/certs" }, base: "/srv/app" },
  "provisioned": { env: { PROV_CERT: "/etc/certs", K8S_SECRET_web: "/etc/certs" }, base: "/srv/app" },
  "provisioned-by-the-machine": { env: { PROV_CERT: "/var/lib/certs" }, base: "/srv/app" },
};

for (const [name, input] of Object.entries(CASES)) {
  Deno.test(`certificateEnv() gives the agent what golden/agent_env/${name}.json holds`, () => {
    const { container, volumes, privateVolumes } = proxyOf(input);
    const env = container.env!.map(({ name, value, valueFrom }) => [name, value ?? valueFrom!.fieldRef!.fieldPath]);
    const certificates = volumes.filter(({ name }) => /cert|root/.test(name)).map(({ name }) => name);
    assertGoldenJson(`agent_env/${name}.json`, { env: Object.fromEntries(env), certificates, privateVolumes });
  });
}

Deno.test("certificateEnv() leaves istiod's root to the mesh's own metadata where that names one", () => {
  const proxyMetadata = { ISTIO_META_TLS_CLIENT_ROOT_CERT: "/etc/istio/root.pem" };
  const env = { CA_PROVIDER: "GkeWorkloadCertificate", PROXY_CONFIG: JSON.stringify({ proxyMetadata }) };
  const { container } = proxyOf({ env });
  assert.equal(container.env!.find(({ name }) => name === "XDS_ROOT_CA"), undefined);
});

Deno.test("keyVolumes() finds the volumes at the folder, around it and inside it, however it is written, and no other", () => {
  const isFound = (path: string) => {
    const env = { PROV_CERT: "/etc/certs/mesh", K8S_SECRET_keys: path };
    return proxyOf({ env, base: "/srv/app" }).privateVolumes.includes("secret-keys");
  };
  const one = "/etc/certs/mesh/key.pem?key=tls.key";
  for (const path of ["/etc/certs/mesh", "./etc//certs/mesh/", "/srv/app/etc/certs", one]) {
    assert.ok(isFound(path), path);
  }
  for (const path of ["/etc/certs/mesh2", "/etc/certs/other", "/other"]) assert.ok(!isFound(path), path);
});

Deno.test("istioProxy() makes no folder of its own where single files of the workload's certificate are mounted", () => {
  const env = { K8S_SECRET_web: "/var/run/secrets/workload-spiffe-credentials/private_key.pem?key=tls.key" };
  const { volumes, privateVolumes } = proxyOf({ env });
  assert.ok(!volumes.some(({ name }) => name === "workload-certs"));
  assert.ok(privateVolumes.includes("secret-web"));
});

Deno.test("requireKnownAuthority() throws MeshUnavailable for an authority of Google's, unless files take its place", () => {
  const env = { CA_ADDR: "meshca.googleapis.com:443" };
  const refusal = { code: "MeshUnavailable", message: /meshca\.googleapis\.com:443 \(CA_ADDR\)/ };
  assert.throws(() => proxyOf({ env }), refusal);
  assert.throws(() => proxyOf({ env: { XDS_ADDR: "mesh.googleapis.com:443" } }), { code: "MeshUnavailable" });
  proxyOf({ env: { ...env, FILE_MOUNTED_CERTS: "true" } });
});
