import fc from "fast-check";
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { der, TestAuthority } from "../../tests/certificates.ts";
import { certificateNames, certificateUris } from "./certificate_names.ts";

const authority = new TestAuthority();
const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const ADMIN = "spiffe://cluster.local/ns/ops/sa/admin";

const ascii = fc.string({ unit: fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)) });

Deno.test("certificateUris() gives the URIs as they stand in the certificate, whatever other names there are", () => {
  fc.assert(
    fc.property(fc.array(ascii), fc.array(ascii), fc.array(ascii), (uris, dnsNames, emails) => {
      const certificate = authority.issue({ uris, dnsNames, emails, addresses: ["10.0.0.5"] });
      assert.deepEqual(certificateUris(certificate.der), uris);
    }),
    { numRuns: 50 },
  );
});

Deno.test("certificateUris() is not taken in by a name that looks like two", () => {
  const forged = authority.issue({ uris: [WEB], dnsNames: [`x, URI:${ADMIN}`] });
  // The control: the runtime's own text shows the forged name as a name of its own.
  assert.ok(new X509Certificate(forged.certPem).subjectAltName?.split(", ").includes(`URI:${ADMIN}`));
  assert.deepEqual(certificateUris(forged.der), [WEB]);
  const inUri = authority.issue({ uris: [`${WEB}, URI:${ADMIN}`] });
  assert.deepEqual(certificateUris(inUri.der), [`${WEB}, URI:${ADMIN}`]);
});

Deno.test("certificateUris() finds none in a certificate without the extension", () => {
  const root = new X509Certificate(authority.pem);
  assert.deepEqual(certificateUris(new Uint8Array(root.raw)), []);
});

/** A certificate as far as the reader looks, with these extensions. */
function certificate(...extensions: Uint8Array[]): Uint8Array {
  return der(0x30, der(0x30, der(0xa3, der(0x30, ...extensions))));
}

const ALT_NAME = [0x55, 0x1d, 0x11];
const altName = (value: Uint8Array, id = ALT_NAME) => der(0x30, der(0x06, id), der(0x04, value));
const uris = (...texts: string[]) => der(0x30, ...texts.map((text) => der(0x86, Buffer.from(text))));

Deno.test("certificateUris() refuses what another reader may read otherwise", () => {
  assert.deepEqual(certificateUris(certificate(altName(uris(WEB)))), [WEB], "the twin that is fine");
  for (
    const [name, bytes] of Object.entries({
      "the extension twice": certificate(altName(uris(WEB)), altName(uris(ADMIN))),
      "extensions twice": der(0x30, der(0x30, ...[WEB, ADMIN].map((id) => der(0xa3, der(0x30, altName(uris(id))))))),
      "bytes that are no ASCII": certificate(altName(uris("spiffe://é"))),
      "no octets": certificate(der(0x30, der(0x06, ALT_NAME))),
      "no names": certificate(altName(der(0x04))),
      "bytes behind": Uint8Array.from([...certificate(altName(uris(WEB))), 0]),
      "a length that is not given": Uint8Array.from([0x30, 0x80, 0x30, 0x00, 0x00, 0x00]),
      "nothing": new Uint8Array(),
    })
  ) assert.equal(certificateUris(bytes), undefined, name);
  assert.deepEqual(certificateUris(certificate(altName(uris(WEB), [...ALT_NAME, 1]))), [], "another extension");
});

Deno.test("certificateUris() never throws, and reads no cut certificate", () => {
  const { der: whole } = authority.issue({ uris: [WEB] });
  for (let length = 0; length < whole.length; length++) {
    assert.equal(certificateUris(whole.subarray(0, length)), undefined, `${length} bytes`);
  }
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void certificateUris(bytes)));
  fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
    void certificateUris(whole.with(at, byte));
  }));
});

Deno.test("certificateNames() gives DNS names, addresses and URIs, and nothing of what cannot be read", () => {
  const { der } = authority.issue({
    uris: [WEB],
    dnsNames: ["istiod.istio-system.svc"],
    emails: ["a@b"],
    addresses: ["10.0.0.5"],
  });
  assert.deepEqual(certificateNames(der).toSorted(), ["10.0.0.5", "istiod.istio-system.svc", WEB]);
  assert.deepEqual(certificateNames(new Uint8Array(new X509Certificate(authority.pem).raw)), []);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void certificateNames(bytes)));
});
