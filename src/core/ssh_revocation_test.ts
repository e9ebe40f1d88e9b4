import assert from "node:assert/strict";
import fc from "fast-check";
import { certificateBlob, type CertificateContent, softwareKey } from "../../tests/ssh_keys.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { isCertificateBlob, parseCertificate } from "./ssh_certificate.ts";
import { parsePublicKey, splitKeyLine, sshFingerprint } from "./ssh_public_key.ts";
import { parseRevokedKeys, revocationReason, type Revocations } from "./ssh_revocation.ts";
import { concatBytes, sshString } from "./ssh_wire.ts";

type Offers = Record<"plain" | "seven" | "eight", string>;
type Input = Offers & { text?: string; krl: string };

const utf8 = new TextEncoder();
const list = (text: string) => parseRevokedKeys(utf8.encode(text));

function ofBlob(revocations: Revocations, blob: Uint8Array) {
  if (!isCertificateBlob(blob)) return revocationReason(revocations, { key: parsePublicKey(blob) });
  const certificate = parseCertificate(blob);
  return revocationReason(revocations, { key: certificate.key, certificate });
}

for (const { id, why, input, expect } of loadVectors<Input, Record<keyof Offers, boolean>>("ssh_revocation")) {
  const { krl, text, ...offers } = input;
  const check = (revocations: Revocations) => {
    const revoked = Object.entries(offers).map(([name, line]) =>
      [name, ofBlob(revocations, splitKeyLine(line).blob) !== undefined] as const
    );
    assert.deepEqual(Object.fromEntries(revoked), expect);
    assert.equal("everythingBecause" in revocations, false);
  };
  Deno.test(`parseRevokedKeys() ${id}, made by ssh-keygen -k: ${why}`, () => {
    check(parseRevokedKeys(Uint8Array.fromBase64(krl)));
  });
  if (text !== undefined) Deno.test(`parseRevokedKeys() ${id}, as a text: ${why}`, () => check(list(text)));
}

const key = softwareKey("ssh-ed25519");
const ca = softwareKey("ecdsa-sha2-nistp256", "ca");
const other = softwareKey("ssh-ed25519", "other");
const line = ({ publicKey }: typeof key) => `${publicKey.type} ${publicKey.base64}`;
const certificate = (content: Partial<CertificateContent> = {}) => certificateBlob({ key, ca, ...content });
const because = (text: string, blob: Uint8Array = certificate()) => ofBlob(list(text), blob);

Deno.test("revocationReason() says what is revoked", () => {
  const [ofKey, ofCa] = [key, ca].map(({ publicKey }) => sshFingerprint(publicKey.blob));
  assert.equal(because(line(key), key.publicKey.blob), `the key ${ofKey} is revoked`);
  assert.equal(because(line(key)), `the key ${ofKey} is revoked`);
  assert.equal(because(line(ca)), `the certificate's CA ${ofCa} is revoked`);
  assert.equal(because("serial: 7"), "the certificate's serial 7 is revoked");
  assert.equal(because("id: somebody"), 'the certificate\'s id "somebody" is revoked');
  assert.equal(because(`hash: ${ofKey}`), `the key ${ofKey} is revoked`);
  assert.equal(because(line(other)), undefined);
  assert.equal(because("serial: 7\nid: somebody", key.publicKey.blob), undefined);
});

Deno.test("parseRevokedKeys() reads a text as ssh-keygen does: spaces, remarks, any case, any base", () => {
  assert.notEqual(because(` \tSERIAL:\t7 # bad\r\n`), undefined);
  assert.notEqual(because(`id:somebody`), undefined);
  assert.equal(because(`id: somebod`), undefined);
  const keyId = sshFingerprint(key.publicKey.blob);
  assert.match(because(`id: ${keyId}`, certificate({ keyId })) ?? "", /^the certificate's id /);
  assert.notEqual(because("serial: 0x7"), undefined);
  assert.notEqual(because("serial: 07"), undefined);
  assert.notEqual(because("serial: 1-18446744073709551615"), undefined);
  assert.equal(because("serial: 010-0x10"), undefined);
  assert.notEqual(because("serial: 010-0x10", certificate({ serial: 8n })), undefined);
  assert.equal(because("serial: 010-0x10", certificate({ serial: 17n })), undefined);
  assert.equal(because("# serial: 7\n\n"), undefined);
  assert.notEqual(because(`${line(key)} with a comment # and a remark`), undefined);
  assert.notEqual(because(`\uFEFFserial: 7`), undefined);
});

Deno.test("parseRevokedKeys(): a certificate is revoked by its number of its CA, by its id where it has none, by its key with key:", () => {
  const of = (blob: Uint8Array) => `ssh-ed25519-cert-v01@openssh.com ${blob.toBase64()}`;
  const [seven, none] = [certificate(), certificate({ serial: 0n })];
  assert.notEqual(because(of(seven)), undefined);
  assert.equal(because(of(seven), certificate({ serial: 8n })), undefined);
  assert.equal(because(of(seven), certificate({ ca: other })), undefined);
  assert.notEqual(because(of(none), certificate({ serial: 9n })), undefined);
  assert.equal(because(of(none), certificate({ keyId: "else" })), undefined);
  assert.equal(because(of(seven), key.publicKey.blob), undefined);
  assert.notEqual(because(`key: ${of(seven)}`, key.publicKey.blob), undefined);
});

Deno.test("revocationReason() takes the number 0 for none", () => {
  const everything = list("serial: 1-18446744073709551615");
  assert.equal(ofBlob(everything, certificate({ serial: 0n })), undefined);
  assert.notEqual(ofBlob(everything, certificate({ serial: 2n ** 64n - 1n })), undefined);
});

Deno.test("parseRevokedKeys() takes keys of types that krun never takes, and small ones", () => {
  const dsa = concatBytes(sshString("ssh-dss"), sshString("x"));
  assert.equal(because(`ssh-dss ${dsa.toBase64()}`), undefined);
  const small = concatBytes(
    sshString("ssh-rsa"),
    sshString(Uint8Array.of(1, 0, 1)),
    sshString(new Uint8Array(64).fill(0x7f)),
  );
  assert.equal(because(`ssh-rsa ${small.toBase64()}`), undefined);
});

Deno.test("parseRevokedKeys() revokes everything where a line cannot be read", () => {
  const broken: readonly (readonly [string, string])[] = [
    ["serial: x", 'line 1: "x" is no serial number, nor a range of them'],
    ["serial: 0", 'line 1: "0" is no serial number, nor a range of them'],
    ["serial: 9-8", 'line 1: "9-8" is no serial number, nor a range of them'],
    ["serial: 18446744073709551616", 'line 1: "18446744073709551616" is no serial number, nor a range of them'],
    ["serial: 08", 'line 1: "08" is no serial number, nor a range of them'],
    ["serial: -7", 'line 1: "-7" is no serial number, nor a range of them'],
    ["\n\nhash: MD5:00", 'line 3: "MD5:00" is no SHA256:... of a key'],
    ["hash: SHA256:short", 'line 1: "SHA256:short" is no SHA256:... of a key'],
    [`restrict ${line(key)}`, "line 1: it is no line of a key, as: ssh-ed25519 AAAA... name"],
    [line(key).slice(0, -4), "line 1: it ends before its 32 bytes"],
    [`ssh-rsa ${key.publicKey.base64}`, 'line 1: the key is none of type "ssh-rsa"'],
    ["seriel: 7", 'line 1: "seriel" is none of serial, id, key, sha1, sha256, hash'],
    [
      `Fingerprint:${sshFingerprint(key.publicKey.blob)}`,
      'line 1: "Fingerprint" is none of serial, id, key, sha1, sha256, hash',
    ],
    ...["sha256: ", "key:", ""].map((word) =>
      [
        `${word}${sshFingerprint(key.publicKey.blob)}`,
        'line 1: a fingerprint is revoked by "hash: SHA256:..."; key, sha1 and sha256 want the public key',
      ] as const
    ),
    ["nonsense", "line 1: it is no line of a key, as: ssh-ed25519 AAAA... name"],
    ["SSHKRL\nserial: 7", "it is no list of revoked keys"],
  ];
  for (const [text, reason] of broken) {
    assert.deepEqual(list(text), { everythingBecause: reason });
    const refused = `the list of revoked keys cannot be read: ${reason}`;
    assert.equal(because(text, other.publicKey.blob), refused);
    assert.equal(because(text), refused);
  }
});

Deno.test("parseRevokedKeys() never throws", () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom("serial: ", "id: ", "hash: ", "key: ", "1", "-", "\n", line(key), "#"),
  );
  fc.assert(fc.property(fc.array(piece), (pieces) => void list(pieces.join(""))));
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseRevokedKeys(bytes)));
});
