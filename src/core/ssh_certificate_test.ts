import assert from "node:assert/strict";
import fc from "fast-check";
import { certificateBlob, type CertificateContent, NO_DATA, softwareKey } from "../../tests/ssh_keys.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { SSH_KEY_TYPES } from "./ssh_algorithm.ts";
import { type CertificateQuestion, isCertificateBlob, judgeCertificate, parseCertificate } from "./ssh_certificate.ts";
import type { CertificateOptions } from "./ssh_certificate_options.ts";
import { parsePublicKeyLine, splitKeyLine } from "./ssh_public_key.ts";
import { concatBytes, SshFormatError, sshString } from "./ssh_wire.ts";

interface Input {
  readonly certificate: string;
  readonly ca: string;
  readonly now: string;
  readonly principals: readonly string[];
  readonly peer: string;
}
type Expected = { principal: string; expiresAt?: string; options: CertificateOptions } | { reason: string };

function judge(blob: Uint8Array, question: CertificateQuestion) {
  return judgeCertificate(parseCertificate(blob), question);
}

const vectors = loadVectors<Input, Expected>("ssh_certificate");
const questionOf = ({ ca, now, principals, peer }: Input): CertificateQuestion => ({
  ca: parsePublicKeyLine(ca).key,
  principals,
  nowMs: Date.parse(now),
  peerAddress: peer,
});

for (const { id, why, input, expect } of vectors) {
  Deno.test(`judgeCertificate() ${id}: ${why}`, () => {
    const verdict = judge(splitKeyLine(input.certificate).blob, questionOf(input));
    if ("reason" in expect) {
      assert.ok(!verdict.accepted && verdict.reason.includes(expect.reason), JSON.stringify(verdict));
    } else {
      const { expiresAt, ...rest } = expect;
      const expiresAtMs = expiresAt === undefined ? {} : { expiresAtMs: Date.parse(expiresAt) };
      assert.deepEqual(verdict, { accepted: true, ...rest, ...expiresAtMs });
    }
  });
}

const key = softwareKey("ssh-ed25519");
const ca = softwareKey("ssh-ed25519", "ca");
const QUESTION = { ca: ca.publicKey, principals: ["shop"], nowMs: 1_900_000_000_000, peerAddress: "10.0.0.1" };

/** The reason why such a certificate is refused, by its reader or its judge; `undefined`: it is accepted. */
function reason(content: Partial<CertificateContent>, question: Partial<CertificateQuestion> = {}) {
  try {
    const verdict = judge(certificateBlob({ key, ca, ...content }), { ...QUESTION, ...question });
    return verdict.accepted ? undefined : verdict.reason;
  } catch (error) {
    if (error instanceof SshFormatError) return error.message;
    throw error;
  }
}

Deno.test("parseCertificate() reads every field", () => {
  const content = {
    key,
    ca,
    serial: 2n ** 64n - 1n,
    keyId: "Zoë",
    principals: ["a", "b"],
    validAfter: 1n,
    validBefore: 2n,
  };
  const { type, serial, keyId, principals, validAfter, validBefore, isFor, ...read } = parseCertificate(
    certificateBlob(content),
  );
  assert.deepEqual({ serial, keyId, principals, validAfter, validBefore, key, ca }, content);
  assert.deepEqual([type, isFor], ["ssh-ed25519-cert-v01@openssh.com", "user"]);
  assert.deepEqual([read.key.base64, read.caKey.base64], [key.publicKey.base64, ca.publicKey.base64]);
});

Deno.test("judgeCertificate() takes every type of key of every type of CA, in an authenticator too", () => {
  for (const userType of SSH_KEY_TYPES) {
    for (const caType of SSH_KEY_TYPES) {
      const ca = softwareKey(caType, "ca");
      assert.equal(
        reason({ key: softwareKey(userType), ca }, { ca: ca.publicKey }),
        undefined,
        `${userType} ${caType}`,
      );
    }
  }
});

Deno.test("judgeCertificate() takes a CA's authenticator that was not touched, as OpenSSH does", () => {
  const ca = softwareKey("sk-ssh-ed25519@openssh.com", "ca");
  assert.equal(reason({ ca, signing: { flags: 0 } }, { ca: ca.publicKey }), undefined);
});

Deno.test("parseCertificate(), judgeCertificate() accept nothing in which a bit was changed", () => {
  const accepted = vectors.filter(({ expect }) => !("reason" in expect));
  assert.ok(accepted.length > 15);
  fc.assert(
    fc.property(fc.constantFrom(...accepted), fc.nat(), fc.nat(7), ({ input }, at, bit) => {
      const { blob } = splitKeyLine(input.certificate);
      blob[at % blob.length]! ^= 1 << bit;
      try {
        assert.equal(judge(blob, questionOf(input)).accepted, false);
      } catch (error) {
        assert.ok(error instanceof SshFormatError);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("judgeCertificate() refuses every single changed bit of one certificate", () => {
  const blob = certificateBlob({ key, ca });
  for (let bit = 0; bit < 8 * blob.length; bit++) {
    const changed = blob.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    try {
      assert.equal(judge(changed, QUESTION).accepted, false, `bit ${bit}`);
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }
});

Deno.test("judgeCertificate() says that a certificate is forged where its CA has not signed it", () => {
  const forged = parseCertificate(
    certificateBlob({ key, ca: softwareKey("ssh-ed25519", "forger"), caBlob: ca.publicKey.blob }),
  );
  assert.deepEqual(judgeCertificate(forged, QUESTION), {
    accepted: false,
    reason: "the certificate is forged: its signature is not valid: the key has not signed this",
  });
  // What is not proven is not looked at: neither its end nor its principals.
  const more = parseCertificate(
    certificateBlob({ key, ca: softwareKey("ssh-ed25519", "forger"), caBlob: ca.publicKey.blob, validBefore: 0n }),
  );
  assert.deepEqual(judgeCertificate(more, QUESTION), judgeCertificate(forged, QUESTION));
});

Deno.test("parseCertificate() refuses a CA whose key is a certificate, or no key", () => {
  const chained = certificateBlob({ key: ca, ca: softwareKey("ssh-ed25519", "root") });
  assert.equal(reason({ caBlob: chained }), "the key of the certificate's CA: it is a certificate, and no key");
  assert.match(reason({ caBlob: NO_DATA })!, /^the key of the certificate's CA: it ends before/);
});

Deno.test("parseCertificate() refuses what follows, another type, NULs and too many principals", () => {
  assert.equal(reason({ trailing: Uint8Array.of(0) }), "bytes follow the certificate");
  assert.equal(reason({ type: 0 }), "the certificate is neither a user's nor a host's");
  assert.equal(reason({ type: 3 }), "the certificate is neither a user's nor a host's");
  assert.equal(reason({ type: 2 }), "the certificate is a host's, and no user's");
  // Where names end at a NUL it would be "shop".
  assert.equal(reason({ principals: ["shop\0"] }), "a name in the certificate has a NUL");
  assert.equal(reason({ keyId: "a\0b" }), "a name in the certificate has a NUL");
  const principals = (count: number) => ["shop", ...Array(count - 1).fill("x")];
  assert.equal(reason({ principals: principals(256) }), undefined);
  assert.equal(reason({ principals: principals(257) }), "the certificate has more than 256 principals");
});

Deno.test("judgeCertificate() takes no principal for another", () => {
  const none = (has: string, wanted: string) =>
    assert.match(reason({ principals: [has] }, { principals: [wanted] })!, /^none of the certificate's principals/);
  none("shop,web", "shop");
  none("*", "shop");
  none("", "shop");
  none("shop", "*");
  assert.equal(reason({ principals: [] }, { principals: [] }), "the certificate has no principals");
  assert.match(reason({ principals: ["shop"] }, { principals: [] })!, /^none of/);
});

Deno.test("judgeCertificate() never accepts where the window is empty or turned around", () => {
  const now = BigInt(QUESTION.nowMs / 1000);
  assert.equal(reason({ validAfter: now, validBefore: now + 1n }), undefined);
  assert.match(reason({ validAfter: now, validBefore: now })!, /has expired/);
  assert.match(reason({ validAfter: now + 1n, validBefore: now })!, /is not valid before/);
  assert.match(reason({ validAfter: 2n ** 64n - 1n })!, /is not valid before second 18446744073709551615$/);
  assert.match(reason({}, { nowMs: -1 })!, /is not valid before 1970/);
});

Deno.test("parseCertificate(), judgeCertificate() refuse options that are unknown, twice, out of order, or hold what they must not", () => {
  const text = (value: string) => sshString(value);
  const critical = (...criticalOptions: (readonly [string, Uint8Array])[]) => reason({ criticalOptions });
  const extensions = (...extensions: (readonly [string, Uint8Array])[]) => reason({ extensions });
  assert.equal(critical(["verify-required", NO_DATA]), undefined);
  assert.equal(critical(["x", NO_DATA]), 'the certificate\'s critical option "x" is unknown');
  assert.equal(critical(["permit-pty", NO_DATA]), 'the certificate\'s critical option "permit-pty" is unknown');
  assert.equal(critical(["Force-Command", text("a")]), 'the certificate\'s critical option "Force-Command" is unknown');
  const twice = 'the certificate\'s option "force-command" is there twice';
  assert.equal(critical(["force-command", text("a")], ["force-command", text("a")]), twice);
  const order = 'the certificate\'s option "force-command" is out of order';
  assert.equal(critical(["source-address", text("10.0.0.1")], ["force-command", text("a")]), order);
  assert.equal(
    extensions(["permit-pty", NO_DATA], ["permit-pty", NO_DATA]),
    'the certificate\'s option "permit-pty" is there twice',
  );
  assert.equal(
    extensions(["permit-pty", text("a")]),
    'the certificate\'s option "permit-pty" has data, which it must not',
  );
  assert.equal(extensions(["zoo", text("a")]), undefined);
  assert.equal(
    critical(["verify-required", text("")]),
    'the certificate\'s option "verify-required" has data, which it must not',
  );
  const trailing = concatBytes(text("a"), Uint8Array.of(0));
  assert.equal(critical(["force-command", trailing]), 'bytes follow the certificate\'s option "force-command"');
  assert.equal(critical(["force-command", text("a\0b")]), 'the certificate\'s option "force-command" has a NUL');
  assert.match(critical(["force-command", NO_DATA])!, /^it ends before/);
});

Deno.test("parseCertificate() reads no certificate whose options cannot be read, whoever has signed it", () => {
  const twice = [["permit-pty", NO_DATA], ["permit-pty", NO_DATA]] as const;
  for (const options of [{ criticalOptions: twice }, { extensions: twice }]) {
    assert.throws(() => parseCertificate(certificateBlob({ key, ca, ...options })), SshFormatError);
  }
});

Deno.test("judgeCertificate() refuses a source-address that is more than addresses", () => {
  for (const list of ["*", "10.0.0.*", "!10.0.0.5", "10.0.0.1/8", "", "10.0.0.1,", "localhost", "10.0.0.0/33"]) {
    const criticalOptions = [["source-address", sshString(list)]] as const;
    assert.match(reason({ criticalOptions })!, /^the certificate's source-address: /, list);
  }
});

Deno.test("parseCertificate() throws SshFormatError and nothing else, whatever it is given", () => {
  const good = certificateBlob({ key, ca });
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.uint8Array().map((rest) => concatBytes(sshString("ssh-ed25519-cert-v01@openssh.com"), rest)),
    fc.tuple(fc.nat(good.length), fc.uint8Array()).map(([at, rest]) => concatBytes(good.subarray(0, at), rest)),
  );
  fc.assert(fc.property(bytes, (bytes) => {
    try {
      judge(bytes, QUESTION);
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }));
});

Deno.test("isCertificateBlob() tells certificates from keys and from anything else", () => {
  assert.equal(isCertificateBlob(certificateBlob({ key, ca })), true);
  assert.equal(isCertificateBlob(key.publicKey.blob), false);
  assert.equal(isCertificateBlob(NO_DATA), false);
  assert.equal(isCertificateBlob(sshString("ssh-dss-cert-v01@openssh.com")), false);
});
