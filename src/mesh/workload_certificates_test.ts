import assert from "node:assert/strict";
import { TestAuthority } from "../../tests/certificates.ts";
import { CertificateFolder, workloadId } from "../../tests/mesh_rig.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import { KrunError } from "../core/errors.ts";
import {
  followWorkloadCertificates,
  readWorkloadCertificates,
  type WorkloadCertificates,
} from "./workload_certificates.ts";

const authority = new TestAuthority();
const web = authority.issue({ uris: [workloadId("web")] });
const other = authority.issue({ uris: [workloadId("other")] });

Deno.test("readWorkloadCertificates() reads a set, also with an intermediate authority and several roots", async () => {
  const intermediate = new TestAuthority(authority);
  const issued = intermediate.issue({ uris: [workloadId("web")] });
  await using folder = await CertificateFolder.create(issued, authority.pem + new TestAuthority().pem);
  const { identity, roots, certPem } = await readWorkloadCertificates(folder.path);
  assert.deepEqual(identity, { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "web" });
  assert.equal(roots.length, 2);
  assert.equal(certPem, issued.certPem);
});

const FAULTS: Readonly<Record<string, readonly [file: string, text: string]>> = {
  "a key of another certificate": ["key.pem", other.keyPem],
  "a key that is cut": ["key.pem", web.keyPem.slice(0, 60)],
  "no key": ["key.pem", ""],
  "a certificate that is cut": ["cert-chain.pem", web.certPem.slice(0, 200)],
  "a chain whose second certificate is cut": ["cert-chain.pem", web.certPem + authority.pem.slice(0, 200)],
  "a certificate that is none": ["cert-chain.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
  "no certificate": ["cert-chain.pem", ""],
  "no roots": ["root-cert.pem", ""],
  "roots that are cut": ["root-cert.pem", authority.pem + authority.pem.slice(0, 100)],
  "roots that are none": ["root-cert.pem", "roots"],
};

for (const [name, [file, text]] of Object.entries(FAULTS)) {
  Deno.test(`readWorkloadCertificates() refuses ${name}, and names the file`, async () => {
    await using folder = await CertificateFolder.create(web, authority.pem);
    await folder.put(file, text);
    await assert.rejects(readWorkloadCertificates(folder.path), (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, "HboneUnavailable");
      assert.ok(error.message.includes(`${folder.path}/${file}`));
      // Not a word of any file: one of them is a key.
      assert.equal(/BEGIN|[A-Za-z0-9+/]{40}/.test(error.message + error.hint), false, error.message);
      return true;
    });
  });
}

Deno.test("readWorkloadCertificates() refuses a certificate that names no workload, or two", async () => {
  for (const uris of [[], ["https://shop/"], [workloadId("web"), workloadId("other")]]) {
    await using folder = await CertificateFolder.create(authority.issue({ uris, dnsNames: ["web"] }), authority.pem);
    await assert.rejects(readWorkloadCertificates(folder.path), { code: "HboneUnavailable" });
  }
});

Deno.test("readWorkloadCertificates() says which file is not there", async () => {
  await assert.rejects(readWorkloadCertificates("/nonexistent"), {
    code: "HboneUnavailable",
    message: /does not exist$/,
  });
});

Deno.test("followWorkloadCertificates() hands over each whole set once, in whatever order its files come", async () => {
  await using folder = await CertificateFolder.create(web, authority.pem);
  const log = new RecordingLog();
  const end = new AbortController();
  const seen: WorkloadCertificates[] = [];
  const following = followWorkloadCertificates(folder.path, {
    current: await readWorkloadCertificates(folder.path),
    signal: end.signal,
    log,
    onChange: (found) => seen.push(found),
  });
  await folder.put("key.pem", other.keyPem);
  await waitFor("the fault to be told", () => log.events.length === 1);
  await folder.put("cert-chain.pem", other.certPem);
  await waitFor("the new set", () => seen.length === 1);
  await folder.put("root-cert.pem", authority.pem);
  const next = new TestAuthority();
  await folder.put("root-cert.pem", next.pem);
  await waitFor("the new root", () => seen.length === 2);
  assert.deepEqual(seen.map(({ identity, rootPem }) => [identity.serviceAccount, rootPem]), [
    ["other", authority.pem],
    ["other", next.pem],
  ]);
  assert.deepEqual(log.events, [
    "warn the mesh certificate before stays in use",
    "info mesh certificate reloaded",
    "info mesh certificate reloaded",
  ]);
  end.abort();
  await following;
});
