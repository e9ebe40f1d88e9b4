/**
 * Where the workload's certificate comes from, with the real agent: each choice is seen in the files that the agent hands on, or in
 * what Envoy has, and has a twin that is refused.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { CertificateAuthority } from "./certificate_authority.ts";
import { startTlsRelay } from "./tls_relay.ts";
import { callsIn, MeshLab, ORDINARY, PEER_CALLS, type WorkloadOptions } from "./mesh_lab.ts";

const WORKLOAD_FILES = "/var/run/secrets/workload-spiffe-credentials";
const AGENT_FILES = ["key.pem", "cert-chain.pem", "root-cert.pem"] as const;

const CONFIG_MAP = { apiVersion: "v1", kind: "ConfigMap" };

/** Prints what the agent hands on, a program in mode proxyless being its user. */
const CAT: readonly string[] = ["cat", ...AGENT_FILES.map((name) => `var/lib/istio/data/${name}`)];

/** The name in the first certificate of a text. */
function nameIn(pem: string): string | undefined {
  const [, first] = /(-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----)/.exec(pem) ?? [];
  return first && new X509Certificate(first).subjectAltName;
}

/** What a workload printed, which was to succeed. */
async function printed(lab: MeshLab, options: Partial<WorkloadOptions>): Promise<string> {
  const { code, stdout, stderr } = await ended(lab, options);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function ended(lab: MeshLab, options: Partial<WorkloadOptions>) {
  const host = await lab.network.host(`h${crypto.randomUUID().slice(0, 4)}`);
  const usual: WorkloadOptions = { name: "web", args: CAT, uid: ORDINARY, without: ["envoy"] };
  await using workload = await lab.workload(host, { ...usual, ...options });
  return await workload.krun.end;
}

async function secret(lab: MeshLab, name: string, stringData: Record<string, string>): Promise<void> {
  await lab.apply("Secret", name, { stringData });
}

Deno.test("krun joins the mesh with a certificate from elsewhere", async (t) => {
  await using lab = await MeshLab.create();
  const folder = await Deno.makeTempDir({ prefix: "krun-ca-" });
  await using _folder = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
  const own = await CertificateAuthority.create(join(folder, "own"));
  const name = "spiffe://elsewhere.test/ns/shop/sa/web";
  const { certPem, keyPem } = await own.issue({ names: [`URI:${name}`] });
  const asGke = { "private_key.pem": keyPem, "certificates.pem": certPem, "ca_certificates.pem": own.pem };
  const asAgent = { "key.pem": keyPem, "cert-chain.pem": certPem, "root-cert.pem": own.pem };
  await secret(lab, "gke", asGke);
  await secret(lab, "files", asAgent);

  await t.step("without any of it istiod signs", async () => {
    assert.equal(nameIn(await printed(lab, {})), "URI:spiffe://cluster.local/ns/shop/sa/web");
  });

  await t.step("CA_PROVIDER=GkeWorkloadCertificate takes the files that the workload mounts", async () => {
    const env = { CA_PROVIDER: "GkeWorkloadCertificate", K8S_SECRET_gke: WORKLOAD_FILES };
    const text = await printed(lab, { env });
    assert.equal(nameIn(text), `URI:${name}`);
    assert.ok(text.includes(own.pem.trim()), "its root as well");
  });

  await t.step("CA_PROVIDER=GkeWorkloadCertificate without files ends the start", async () => {
    const env = { CA_PROVIDER: "GkeWorkloadCertificate", MESH_START_TIMEOUT: "5s" };
    const { code, stderr } = await ended(lab, { env });
    assert.equal(code, 125);
    assert.match(stderr, /GKE workload certificate files .* not present/);
  });

  await t.step("Envoy under its own user has those files, which are for it alone", async () => {
    await lab.apply("Service", "web", { spec: { selector: { app: "web" }, ports: [{ name: "http", port: 8080 }] } });
    await lab.apply("WorkloadGroup", "web", {
      spec: { metadata: { labels: { app: "web" } }, template: { serviceAccount: "web", ports: { http: 8080 } } },
    });
    await lab.apply("DestinationRule", "web", {
      spec: { host: "web.shop.svc.cluster.local", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } },
    });
    const env = { CA_PROVIDER: "GkeWorkloadCertificate", K8S_SECRET_gke: WORKLOAD_FILES, MESH_MODE: "proxy" };
    const script = `stat -Lc '%a %u' ".${WORKLOAD_FILES}/private_key.pem"; exec "$@"`;
    const args = ["sh", "-c", script, "sh", ...PEER_CALLS, "http://127.0.0.1:15000/certs"];
    const text = await printed(lab, { name: "web", args, env, uid: 0, without: [] });
    assert.match(text, /^400 1337$/m);
    const [{ body = "" } = {}] = callsIn(text);
    assert.ok(body.includes(name), body);
  });

  await t.step("FILE_MOUNTED_CERTS takes what the workload mounts at /etc/certs", async () => {
    const env = { FILE_MOUNTED_CERTS: "true", K8S_SECRET_files: "/etc/certs", XDS_ROOT_CA: "/etc/mesh/root-cert.pem" };
    const text = await printed(lab, { env: { ...env, K8S_CM_root: "istio-ca-root-cert:/etc/mesh" } });
    assert.equal(nameIn(text), `URI:${name}`);
  });

  await t.step("CA_ADDR and CA_ROOT_CA lead to another authority than istiod", async () => {
    const { address } = lab.network;
    const authority = await CertificateAuthority.create(join(folder, "authority"));
    const [hostname, port] = lab.istiod.discoveryAddress.split(":");
    const root = await lab.server.get({ ...CONFIG_MAP, metadata: { namespace: "shop", name: "istio-ca-root-cert" } });
    const caPem = (root.data as Record<string, string>)["root-cert.pem"]!;
    await using relay = startTlsRelay({
      ...{ hostname: address, certificate: await authority.issue({ names: [`IP:${address}`] }) },
      to: { hostname: hostname!, port: Number(port), name: "istiod.istio-system.svc", caPem },
    });
    await lab.apply("ConfigMap", "authority", { data: { "ca.pem": authority.pem } });
    const env = { CA_ADDR: `${address}:${relay.port}`, K8S_CM_authority: "/etc/ca" };
    const text = await printed(lab, { env: { ...env, CA_ROOT_CA: "/etc/ca/ca.pem" } });
    assert.equal(nameIn(text), "URI:spiffe://cluster.local/ns/shop/sa/web");
    assert.equal(relay.accepted, 1);
    const refused = await ended(lab, { env: { ...env, MESH_START_TIMEOUT: "5s" } });
    assert.equal(refused.code, 125, "its certificate is not istiod's");
    assert.match(refused.stderr, /certificate signed by unknown authority/);
  });

  await t.step("PROV_CERT is the identity that the authority believes, whatever the token says", async () => {
    const text = await printed(lab, { name: "other" });
    const [key = ""] = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----/.exec(text) ?? [];
    const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)!;
    const files = { "cert-chain.pem": certificates[0]!, "root-cert.pem": certificates.at(-1)! };
    await secret(lab, "prov", { "key.pem": key, ...files });
    const issued = await printed(lab, { name: "web", env: { PROV_CERT: "/etc/prov", K8S_SECRET_prov: "/etc/prov" } });
    assert.equal(nameIn(issued), "URI:spiffe://cluster.local/ns/shop/sa/other");
    assert.ok(!issued.includes(certificates[0]!), "a new one");
  });
});
