import assert from "node:assert/strict";
import fc from "fast-check";
import { certificateBlob, type CertificateContent, type SigningOptions, softwareKey } from "../../tests/ssh_keys.ts";
import { SSH_ALGORITHMS } from "./ssh_algorithm.ts";
import { parseAuthorizedKeys } from "./ssh_authorized_keys.ts";
import { judgeLogin, judgeOffer, type LoginQuestion } from "./ssh_login.ts";
import type { SignedSshOffer } from "./ssh_offer.ts";
import { sshFingerprint } from "./ssh_public_key.ts";
import { parseRevokedKeys } from "./ssh_revocation.ts";
import { concatBytes, sshString } from "./ssh_wire.ts";

const key = softwareKey("ssh-ed25519");
const ca = softwareKey("ecdsa-sha2-nistp256", "ca");
const other = softwareKey("ssh-ed25519", "other");
const [KEY, CA] = [key, ca].map(({ publicKey }) => `${publicKey.type} ${publicKey.base64} a comment`);
const [ofKey, ofCa] = [key, ca].map(({ publicKey }) => sshFingerprint(publicKey.blob));
const data = new TextEncoder().encode("the session and the request");
const NOW = Date.UTC(2030, 5, 1);

/** By what is judged, with these lines of authorized_keys. */
function question(lines: string, more: Partial<LoginQuestion> = {}): LoginQuestion {
  const { keys, refused } = parseAuthorizedKeys(lines);
  assert.deepEqual(refused, []);
  return { authorized: keys, revocations: [], principals: ["shop"], peerAddress: "10.0.0.1", nowMs: NOW, ...more };
}

const ofPlainKey = (by = key, options: SigningOptions = {}): SignedSshOffer => ({
  algorithm: by.publicKey.type,
  blob: by.publicKey.blob,
  signature: by.sign(data, options),
  data,
});
const ofCertificate = (content: Partial<CertificateContent> = {}): SignedSshOffer => ({
  algorithm: "ssh-ed25519-cert-v01@openssh.com",
  blob: certificateBlob({ key, ca, ...content }),
  signature: (content.key ?? key).sign(data),
  data,
});

/** Why an offer is refused, which a query of the same has to say as well unless it is the signature's fault. */
function reason(offer: SignedSshOffer, asked: LoginQuestion): string | undefined {
  const [login, query] = [judgeLogin(offer, asked), judgeOffer(offer, asked)];
  if (!query.allowed) assert.deepEqual(login, query);
  return login.allowed ? undefined : login.reason;
}

Deno.test("judgeLogin() lets the owner of a key in, and says who it is", () => {
  assert.deepEqual(judgeLogin(ofPlainKey(), question(`no-pty ${KEY}`)), {
    allowed: true,
    who: { kind: "key", algorithm: "ssh-ed25519", fingerprint: ofKey, comment: "a comment" },
    rights: {
      pty: false,
      portForwarding: true,
      touchRequired: true,
      verifyRequired: false,
      permitOpen: "any",
      permitListen: "any",
    },
  });
});

Deno.test("judgeLogin() lets the owner of a certificate in, and says who it is", () => {
  const offer = ofCertificate({ validBefore: BigInt(NOW / 1000 + 60) });
  assert.deepEqual(judgeLogin(offer, question(`cert-authority,no-pty ${CA}`)), {
    allowed: true,
    who: {
      kind: "certificate",
      algorithm: "ssh-ed25519-cert-v01@openssh.com",
      fingerprint: ofKey,
      keyId: "somebody",
      serial: "7",
      caFingerprint: ofCa,
      principal: "shop",
      comment: "a comment",
    },
    rights: {
      pty: false,
      portForwarding: true,
      touchRequired: true,
      verifyRequired: false,
      permitOpen: "any",
      permitListen: "any",
      expiresAtMs: NOW + 60_000,
    },
  });
});

Deno.test("judgeLogin() takes every algorithm", () => {
  for (const { name, keyType, isCertificate, signature } of SSH_ALGORITHMS) {
    const key = softwareKey(keyType);
    const blob = isCertificate ? certificateBlob({ key, ca }) : key.publicKey.blob;
    const offer = { algorithm: name, blob, signature: key.sign(data, { algorithm: signature }), data };
    const asked = question(`${keyType} ${key.publicKey.base64}\ncert-authority ${CA}`);
    assert.equal(reason(offer, asked), undefined, name);
    assert.match(reason({ ...offer, signature: other.sign(data) }, asked)!, /^its signature is not valid: /, name);
  }
});

Deno.test("judgeOffer() gives no rights: nothing was signed", () => {
  const { algorithm, blob } = ofPlainKey();
  const verdict = judgeOffer({ algorithm, blob }, question(KEY!));
  assert.equal(verdict.allowed, true);
  assert.equal("rights" in verdict, false);
});

Deno.test("judgeLogin() refuses who has no line, and a line that is of the other kind", () => {
  const unknown = "the key is not authorized";
  assert.equal(reason(ofPlainKey(), question("")), unknown);
  assert.equal(reason(ofPlainKey(other), question(KEY!)), unknown);
  assert.equal(reason(ofPlainKey(ca), question(`cert-authority ${CA}`)), unknown);
  const untrusted = `the certificate's CA ${ofCa} is not trusted`;
  assert.equal(reason(ofCertificate(), question("")), untrusted);
  assert.equal(reason(ofCertificate(), question(CA!)), untrusted);
  // The certificate's own key has a line: that is for who comes without the certificate.
  assert.equal(reason(ofCertificate(), question(KEY!)), untrusted);
});

Deno.test("judgeLogin() refuses a signature of other data, of another key, of another algorithm, or none", () => {
  const asked = question(`${KEY}\nssh-rsa ${softwareKey("ssh-rsa").publicKey.base64}`);
  const forged = "its signature is not valid: the key has not signed this";
  assert.equal(reason({ ...ofPlainKey(), data: new Uint8Array(0) }, asked), forged);
  assert.equal(reason({ ...ofPlainKey(), signature: other.sign(data) }, asked), forged);
  assert.match(
    reason({ ...ofPlainKey(), signature: new Uint8Array(0) }, asked)!,
    /^its signature is not valid: it ends/,
  );
  const rsa = { ...ofPlainKey(softwareKey("ssh-rsa"), { algorithm: "rsa-sha2-256" }), algorithm: "rsa-sha2-512" };
  assert.match(reason(rsa, asked)!, /it is of rsa-sha2-256, and rsa-sha2-512 was asked for$/);
  const sha1 = ofPlainKey(softwareKey("ssh-rsa"), { algorithm: "ssh-rsa" });
  assert.equal(reason(sha1, asked), 'the algorithm "ssh-rsa" is not taken');
  assert.match(reason({ ...sha1, algorithm: "rsa-sha2-256" }, asked)!, /it is of "ssh-rsa"/);
});

Deno.test("judgeLogin() refuses a certificate whose owner has not signed", () => {
  const asked = question(`cert-authority ${CA}`);
  assert.match(reason({ ...ofCertificate(), signature: ca.sign(data) }, asked)!, /^its signature is not valid/);
  assert.match(reason({ ...ofCertificate(), signature: other.sign(data) }, asked)!, /the key has not signed this$/);
});

Deno.test("judgeLogin() refuses a blob that is not what the algorithm names", () => {
  const asked = question(`${KEY}\ncert-authority ${CA}`);
  const named = (offer: SignedSshOffer, algorithm: string) => reason({ ...offer, algorithm }, asked);
  assert.equal(
    named(ofPlainKey(), "ecdsa-sha2-nistp256"),
    "the algorithm ecdsa-sha2-nistp256 was named, and the key is of ssh-ed25519",
  );
  assert.equal(named(ofCertificate(), "ssh-ed25519"), "it is a certificate, and no key");
  assert.equal(named(ofPlainKey(), "ssh-ed25519-cert-v01@openssh.com"), "it is no certificate of a type that is taken");
  assert.equal(
    named(ofCertificate(), "rsa-sha2-512-cert-v01@openssh.com"),
    "the algorithm rsa-sha2-512-cert-v01@openssh.com was named, and the key is of ssh-ed25519-cert-v01@openssh.com",
  );
  assert.equal(
    named(ofCertificate(), "ssh-rsa-cert-v01@openssh.com"),
    'the algorithm "ssh-rsa-cert-v01@openssh.com" is not taken',
  );
});

Deno.test("judgeLogin() holds the line of a key: from=, expiry-time=", () => {
  assert.equal(reason(ofPlainKey(), question(`from="10.0.0.0/8" ${KEY}`)), undefined);
  assert.equal(
    reason(ofPlainKey(), question(`from="10.0.0.0/8,!10.0.0.1" ${KEY}`)),
    'the line of the key is for "10.0.0.0/8,!10.0.0.1", not from 10.0.0.1',
  );
  const until = (nowMs: number) => reason(ofPlainKey(), question(`expiry-time="20300601" ${KEY}`, { nowMs }));
  assert.equal(until(NOW), undefined);
  assert.equal(until(NOW + 1), "the line of the key has expired at 2030-06-01T00:00:00.000Z");
});

Deno.test("judgeLogin() holds the line of a CA: from=, expiry-time=, principals=, command=", () => {
  const withLine = (options: string, content = {}) =>
    reason(ofCertificate(content), question(`cert-authority,${options} ${CA}`));
  assert.equal(withLine('from="10.0.0.1"'), undefined);
  assert.match(withLine('from="10.0.0.2"')!, /^the line of the certificate's CA is for "10.0.0.2"/);
  assert.match(withLine('expiry-time="20300101"')!, /^the line of the certificate's CA has expired/);
  assert.equal(withLine('principals="ops"', { principals: ["ops"] }), undefined);
  assert.equal(
    withLine('principals="ops"', { principals: ["shop"] }),
    'none of the certificate\'s principals ["shop"] is among ["ops"]',
  );
  const forced = { criticalOptions: [["force-command", sshString("a")]] };
  assert.equal(withLine('command="a"', forced), undefined);
  assert.equal(withLine('command="b"', forced), "the certificate and its CA's line force two different commands");
});

Deno.test("judgeLogin() holds the certificate: window, principals, source-address, kind, critical options", () => {
  const asked = question(`cert-authority ${CA}`);
  const now = BigInt(NOW / 1000);
  const cases: readonly (readonly [Partial<CertificateContent>, RegExp])[] = [
    [{ validBefore: now }, /^the certificate has expired at/],
    [{ validAfter: now + 1n }, /^the certificate is not valid before/],
    [{ principals: [] }, /^the certificate has no principals$/],
    [{ principals: ["web"] }, /^none of the certificate's principals/],
    [{ type: 2 }, /^the certificate is a host's/],
    [{ criticalOptions: [["source-address", sshString("10.0.0.2")]] }, /^the certificate is for "10.0.0.2"/],
    [{ criticalOptions: [["zoo", sshString("")]] }, /^the certificate's critical option "zoo" is unknown$/],
    [{ ca: other, caBlob: ca.publicKey.blob }, /^the certificate is forged: /],
    [{ ca: other }, /^the certificate's CA \S+ is not trusted$/],
    [{ criticalOptions: [["verify-required", new Uint8Array(0)]] }, /did not verify the user, which is required$/],
  ];
  assert.equal(reason(ofCertificate(), asked), undefined);
  for (const [content, expected] of cases) assert.match(reason(ofCertificate(content), asked)!, expected);
});

Deno.test("judgeLogin() refuses who is revoked before all else, in any of the lists", () => {
  const lists = (...texts: string[]) => ({
    revocations: texts.map((text) => parseRevokedKeys(new TextEncoder().encode(text))),
  });
  const asked = (more: Partial<LoginQuestion>) => question(`${KEY}\ncert-authority ${CA}`, more);
  assert.equal(reason(ofPlainKey(), asked(lists("", "serial: 7"))), undefined);
  assert.equal(reason(ofPlainKey(), asked(lists("", KEY!))), `the key ${ofKey} is revoked`);
  assert.equal(reason(ofCertificate(), asked(lists(KEY!))), `the key ${ofKey} is revoked`);
  assert.equal(reason(ofCertificate(), asked(lists(CA!))), `the certificate's CA ${ofCa} is revoked`);
  assert.equal(reason(ofCertificate(), asked(lists("", "serial: 7"))), "the certificate's serial 7 is revoked");
  assert.equal(reason(ofCertificate(), asked(lists("id: somebody"))), 'the certificate\'s id "somebody" is revoked');
  const unreadable = /^the list of revoked keys cannot be read: line 1: /;
  assert.match(reason(ofPlainKey(), asked(lists("nonsense")))!, unreadable);
  assert.match(reason(ofCertificate(), asked(lists("nonsense")))!, unreadable);
});

Deno.test("judgeLogin() wants what the line of a key in an authenticator wants", () => {
  for (const type of ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] as const) {
    const key = softwareKey(type);
    const line = (options: string) => question(`${options} ${type} ${key.publicKey.base64}`);
    const flags = (flags: number) => ofPlainKey(key, { flags });
    assert.equal(reason(flags(1), line("pty")), undefined);
    assert.equal(reason(flags(0), line("pty")), "its authenticator was not touched");
    assert.equal(reason(flags(0), line("no-touch-required")), undefined);
    assert.match(reason(flags(1), line("verify-required"))!, /did not verify the user/);
    assert.equal(reason(flags(5), line("verify-required")), undefined);
  }
});

Deno.test("judgeLogin() needs both to say that no touch is required: the CA's line and the certificate", () => {
  const key = softwareKey("sk-ssh-ed25519@openssh.com");
  const offer = (extensions: [string, Uint8Array][]) => ({
    algorithm: "sk-ssh-ed25519-cert-v01@openssh.com",
    blob: certificateBlob({ key, ca, extensions }),
    signature: key.sign(data, { flags: 0 }),
    data,
  });
  const [with_, without] = [offer([["no-touch-required", new Uint8Array(0)]]), offer([])];
  const untouched = "its authenticator was not touched";
  assert.equal(reason(with_, question(`cert-authority ${CA}`)), untouched);
  assert.equal(reason(without, question(`cert-authority,no-touch-required ${CA}`)), untouched);
  assert.equal(reason(with_, question(`cert-authority,no-touch-required ${CA}`)), undefined);
});

Deno.test("judgeLogin() goes on to the next line where one refuses, and gives the first reason", () => {
  const lines = `from="10.9.9.9" ${KEY}\nno-pty ${KEY}\n${KEY}`;
  const login = judgeLogin(ofPlainKey(), question(lines));
  assert.equal(login.allowed && login.rights.pty, false);
  assert.match(reason(ofPlainKey(), question(`from="10.9.9.9" ${KEY}\nfrom="10.8.8.8" ${KEY}`))!, /10\.9\.9\.9/);
});

Deno.test("judgeLogin() says who was refused, as far as it could be read", () => {
  const [plain, certificate] = [ofPlainKey(), ofCertificate()].map((offer) => judgeLogin(offer, question("")).who);
  assert.deepEqual(plain, { kind: "key", algorithm: "ssh-ed25519", fingerprint: ofKey });
  const { algorithm } = ofCertificate();
  const ids = { keyId: "somebody", serial: "7", caFingerprint: ofCa };
  assert.deepEqual(certificate, { kind: "certificate", algorithm, fingerprint: ofKey, ...ids });
  const bytes = new Uint8Array(3);
  const { who } = judgeLogin({ ...ofPlainKey(), algorithm: "a".repeat(100), blob: bytes }, question(""));
  assert.deepEqual(who, { kind: "key", algorithm: "a".repeat(64), fingerprint: sshFingerprint(bytes) });
});

Deno.test("judgeLogin(), judgeOffer() never throw, and let nobody in by chance", () => {
  const asked = question(`${KEY}\ncert-authority ${CA}`);
  const good = [ofPlainKey(), ofCertificate()];
  const algorithm = fc.oneof(fc.string(), fc.constantFrom(...SSH_ALGORITHMS.map(({ name }) => name)));
  const blob = fc.oneof(
    fc.uint8Array(),
    fc.tuple(algorithm, fc.uint8Array()).map(([name, rest]) => concatBytes(sshString(name), rest)),
  );
  fc.assert(fc.property(algorithm, blob, fc.uint8Array(), (algorithm, blob, signature) => {
    assert.equal(judgeLogin({ algorithm, blob, signature, data }, asked).allowed, false);
  }));
  fc.assert(
    fc.property(
      fc.constantFrom(...good),
      fc.constantFrom("blob", "signature", "data"),
      fc.nat(),
      fc.nat(7),
      (offer, part, at, bit) => {
        const bytes = offer[part].slice();
        bytes[at % bytes.length]! ^= 1 << bit;
        assert.equal(judgeLogin({ ...offer, [part]: bytes }, asked).allowed, false);
      },
    ),
    { numRuns: 500 },
  );
});
