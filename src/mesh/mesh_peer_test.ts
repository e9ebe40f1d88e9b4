import { X509Certificate } from "node:crypto";
import assert from "node:assert/strict";
import type { DetailedPeerCertificate } from "node:tls";
import { type MadeCertificate, TestAuthority } from "../../tests/certificates.ts";
import { workloadId } from "../../tests/mesh_rig.ts";
import { judgePeer, leadsToRoot, type PeerSocket } from "./mesh_peer.ts";

const root = new TestAuthority();
const intermediate = new TestAuthority(root);
const direct = root.issue({ uris: [workloadId("client")] });
const issued = intermediate.issue({ uris: [workloadId("client")] });
const NOW = Date.now();

function certificates(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN[^]*?END CERTIFICATE-----/g) ?? []).map((block) => new X509Certificate(block));
}

const rootsOf = (authority: TestAuthority) => certificates(authority.pem);

Deno.test("leadsToRoot() follows a chain to one of the roots", () => {
  const others = rootsOf(new TestAuthority());
  assert.ok(leadsToRoot(certificates(direct.certPem), rootsOf(root), NOW));
  assert.ok(leadsToRoot(certificates(issued.certPem), rootsOf(root), NOW));
  assert.ok(leadsToRoot(certificates(issued.certPem + root.pem), [...others, ...rootsOf(root)], NOW), "root sent, too");
  assert.equal(leadsToRoot(certificates(direct.certPem), others, NOW), false, "another root");
  assert.equal(leadsToRoot(certificates(direct.certPem + root.pem), others, NOW), false, "a root that nobody trusts");
  assert.equal(leadsToRoot(certificates(issued.certPem).slice(0, 1), rootsOf(root), NOW), false, "a gap");
  assert.equal(leadsToRoot([], rootsOf(root), NOW), false, "nothing");
});

Deno.test("leadsToRoot() wants authorities for issuers, and every certificate in its time", () => {
  const [leaf] = certificates(direct.certPem);
  const [other] = certificates(root.issue({ uris: [workloadId("other")] }).certPem);
  assert.equal(leadsToRoot([other!, leaf!], [leaf!], NOW), false, "a workload is no authority");
  const hour = 3_600_000;
  assert.equal(leadsToRoot(certificates(issued.certPem), rootsOf(root), NOW + 2 * hour), false, "the leaf is over");
  assert.equal(leadsToRoot(certificates(issued.certPem), rootsOf(root), NOW - 2 * hour), false, "not yet");
});

interface Shown {
  readonly certificate?: MadeCertificate;
  readonly authorized?: boolean;
  readonly resumed?: boolean;
}

/** A connection after its handshake. */
function socket({ certificate = direct, authorized = true, resumed = false }: Shown): PeerSocket {
  const shown = certificates(certificate.certPem).toReversed().reduce(
    (issuerCertificate, { raw }) => ({ raw, issuerCertificate }) as DetailedPeerCertificate,
    {} as DetailedPeerCertificate,
  );
  const getPeerCertificate = (() => shown) as unknown as PeerSocket["getPeerCertificate"];
  return { authorized, getPeerCertificate, isSessionReused: () => resumed };
}

const RULE = { allow: [{ trustDomain: "cluster.local" }], roots: rootsOf(root), nowMs: NOW };

Deno.test("judgePeer() admits a resumed session only while its certificate verifies", () => {
  const admitted = { identity: workloadId("client") };
  const roots = rootsOf(new TestAuthority());
  assert.deepEqual(judgePeer(socket({ resumed: true }), RULE), admitted);
  assert.deepEqual(judgePeer(socket({ resumed: true, certificate: issued }), RULE), admitted);
  assert.ok("refusal" in judgePeer(socket({ resumed: true }), { ...RULE, roots }), "the root was taken away");
  assert.ok("refusal" in judgePeer(socket({ resumed: true }), { ...RULE, nowMs: NOW + 7_200_000 }), "it is over");
  // The control: where there was a handshake, that has verified it.
  assert.deepEqual(judgePeer(socket({}), { ...RULE, roots }), admitted);
});

Deno.test("judgePeer() refuses who was not verified", () => {
  assert.ok("refusal" in judgePeer(socket({ authorized: false }), RULE));
  const nobody = { authorized: true, getPeerCertificate: () => ({}), isSessionReused: () => false };
  assert.ok("refusal" in judgePeer(nobody as unknown as PeerSocket, RULE));
});

Deno.test("judgePeer() refuses a certificate that only TLS could read", () => {
  const shown = { raw: new Uint8Array(direct.der).fill(0, 0, 2) };
  const odd = { authorized: true, getPeerCertificate: () => shown, isSessionReused: () => false };
  assert.deepEqual(judgePeer(odd as unknown as PeerSocket, RULE), { refusal: "a certificate that cannot be read" });
});
