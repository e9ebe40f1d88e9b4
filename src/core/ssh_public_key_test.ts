import assert from "node:assert/strict";
import fc from "fast-check";
import { certificateBlob, mpint, NO_DATA, softwareKey } from "../../tests/ssh_keys.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { SSH_KEY_TYPES } from "./ssh_algorithm.ts";
import { parsePublicKey, parsePublicKeyLine, sshFingerprint } from "./ssh_public_key.ts";
import { concatBytes, SshFormatError, SshReader, sshString } from "./ssh_wire.ts";

type Expected = { type: string; bits: number; fingerprint: string; comment: string } | { reason: string };

for (const { id, why, input, expect } of loadVectors<{ line: string }, Expected>("ssh_public_key")) {
  Deno.test(`parsePublicKeyLine() ${id}: ${why}`, () => {
    if ("reason" in expect) {
      assert.throws(() => parsePublicKeyLine(input.line), new SshFormatError(expect.reason));
    } else {
      const { key: { type, bits, blob }, comment } = parsePublicKeyLine(input.line);
      assert.deepEqual({ type, bits, comment, fingerprint: sshFingerprint(blob) }, expect);
    }
  });
}

const refusal = (blob: Uint8Array) => {
  try {
    parsePublicKey(blob);
  } catch (error) {
    if (error instanceof SshFormatError) return error.message;
    throw error;
  }
  return undefined;
};

Deno.test("parsePublicKey() gives back the blob of every type, and what it was made for", () => {
  for (const type of SSH_KEY_TYPES) {
    const { publicKey } = softwareKey(type);
    const read = parsePublicKey(publicKey.blob);
    assert.equal(read.base64, publicKey.blob.toBase64());
    assert.equal(read.type, type);
    const application = type.startsWith("sk-") ? "ssh:" : undefined;
    assert.equal(read.application && new TextDecoder().decode(read.application), application);
  }
});

Deno.test("parsePublicKey() copies what it is given", () => {
  const bytes = softwareKey("sk-ssh-ed25519@openssh.com").publicKey.blob.slice();
  const key = parsePublicKey(bytes);
  const before = [key.blob.toHex(), key.application?.toHex()];
  bytes.fill(0);
  assert.deepEqual([key.blob.toHex(), key.application?.toHex()], before);
});

Deno.test("parsePublicKey() refuses what follows, what is cut off, and other types", () => {
  for (const type of SSH_KEY_TYPES) {
    const { blob } = softwareKey(type).publicKey;
    assert.equal(refusal(concatBytes(blob, Uint8Array.of(0))), "bytes follow the key");
    assert.match(refusal(blob.subarray(0, -1))!, /^it ends before/);
  }
  assert.equal(refusal(sshString("ssh-dss")), 'keys of type "ssh-dss" are not taken');
  const key = softwareKey("ssh-ed25519");
  assert.equal(refusal(certificateBlob({ key, ca: key })), "it is a certificate, and no key");
});

Deno.test("parsePublicKey() refuses numbers that are no key", () => {
  const point = (type: string, curve: string, point: Uint8Array) =>
    refusal(concatBytes(sshString(type), sshString(curve), sshString(point)));
  for (const [bits, size] of [[256, 32], [384, 48], [521, 66]] as const) {
    const [type, curve] = [`ecdsa-sha2-nistp${bits}`, `nistp${bits}`];
    const reader = new SshReader(softwareKey(type as "ecdsa-sha2-nistp256").publicKey.blob);
    reader.string();
    reader.string();
    const good = reader.string();
    assert.equal(point(type, curve, good), undefined);
    const flipped = good.slice();
    flipped[flipped.length - 1]! ^= 1;
    assert.match(point(type, curve, flipped)!, /^its numbers are no key/, "off its curve");
    assert.match(point(type, curve, concatBytes(Uint8Array.of(4), new Uint8Array(2 * size)))!, /no key/);
    assert.match(point(type, curve, new Uint8Array(1))!, /both of its coordinates/, "the point at infinity");
    assert.match(point(type, curve, concatBytes(Uint8Array.of(2), good.subarray(1, 1 + size)))!, /both/, "compressed");
    assert.match(point(type, curve, concatBytes(good, Uint8Array.of(0)))!, /both of its coordinates/);
    assert.match(point(type, curve, good.with(0, 6))!, /both of its coordinates/, "hybrid");
    assert.equal(point(type, "nistp224", good), `its curve is not ${curve}`);
  }
  const ed25519 = (length: number) =>
    refusal(concatBytes(sshString("ssh-ed25519"), sshString(new Uint8Array(length).fill(2))));
  assert.equal(ed25519(31), "an Ed25519 key has 32 bytes");
  assert.equal(ed25519(33), "an Ed25519 key has 32 bytes");
  assert.match(ed25519(32)!, /^its numbers are no key/, "no such point");
});

Deno.test("parsePublicKey() refuses RSA that is small, huge, senseless, or not in its one form", () => {
  const rsa = (e: Uint8Array, n: Uint8Array) => refusal(concatBytes(sshString("ssh-rsa"), e, n));
  const e = mpint(Uint8Array.of(1, 0, 1));
  const modulus = (bits: number) => {
    const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
    bytes[0] = 0xff >> (8 * bytes.length - bits);
    return mpint(bytes);
  };
  assert.equal(rsa(e, modulus(2047)), "an RSA key has at least 2048 bits, this one 2047");
  assert.equal(rsa(e, modulus(2048)), undefined);
  assert.equal(rsa(e, modulus(4096)), undefined);
  assert.equal(rsa(e, modulus(4097)), "an RSA key has at most 4096 bits, this one 4097");
  assert.equal(rsa(e, mpint(NO_DATA)), "an RSA key has at least 2048 bits, this one 0");
  for (const exponent of [[0], [1], [2], [4], Array(16).fill(0x7f)]) {
    assert.match(rsa(mpint(Uint8Array.from(exponent)), modulus(2048))!, /^its numbers are no key/, String(exponent));
  }
  // The same key, its fingerprint another: who is revoked would be somebody else.
  const zeros = (mpint: Uint8Array, count: number) =>
    sshString(concatBytes(new Uint8Array(count), new SshReader(mpint).string()));
  for (const count of [1, 2, 300]) {
    const reason = "a number of the key is not in its one form";
    assert.equal(rsa(zeros(e, count), modulus(2048)), reason);
    assert.equal(rsa(e, zeros(modulus(2048), count)), reason);
  }
  assert.equal(rsa(sshString(Uint8Array.of(0x81)), modulus(2048)), "a number is negative");
  assert.equal(parsePublicKey(concatBytes(sshString("ssh-rsa"), e, modulus(1024)), { isOnlyNamed: true }).bits, 1024);
});

Deno.test("parsePublicKey() throws SshFormatError and nothing else, whatever it is given", () => {
  const type = fc.constantFrom(...SSH_KEY_TYPES);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void refusal(bytes)));
  fc.assert(fc.property(type, fc.uint8Array(), (type, rest) => void refusal(concatBytes(sshString(type), rest))));
  fc.assert(fc.property(type, fc.nat(), fc.nat(255), (type, at, byte) => {
    const { blob } = softwareKey(type).publicKey;
    const changed = blob.slice();
    changed[at % changed.length] = byte;
    // What is read all the same is another key, or this one.
    if (refusal(changed) === undefined) assert.equal(parsePublicKey(changed).base64, changed.toBase64());
  }));
});

Deno.test("parsePublicKeyLine() takes spaces and any comment, and refuses what is no line of a key", () => {
  const { base64 } = softwareKey("ssh-ed25519").publicKey;
  const comment = (line: string) => parsePublicKeyLine(line).comment;
  assert.equal(comment(`ssh-ed25519 \t ${base64}`), "");
  assert.equal(comment(`ssh-ed25519 ${base64} \t me at home # 1 \r`), "me at home # 1");
  const refuses = (line: string, reason: RegExp) =>
    assert.throws(
      () => parsePublicKeyLine(line),
      (error) => error instanceof SshFormatError && reason.test(error.message),
    );
  for (const line of ["", "ssh-ed25519", base64, ` ssh-ed25519 ${base64}`, `ssh-ed25519 ${base64}*`]) {
    refuses(line, /^it is no line of a key/);
  }
  refuses(`ssh-rsa ${base64}`, /^the line says "ssh-rsa", its key ssh-ed25519$/);
  for (const length of [60, 41, 20, 19, base64.length - 1]) {
    refuses(`ssh-ed25519 ${base64.slice(0, length)}`, /^the key is cut off: paste the whole line$/);
  }
  refuses(`ssh-ed25519 ${base64}=`, /^the key is no base64$/);
  fc.assert(fc.property(fc.string(), (line) => {
    try {
      parsePublicKeyLine(line);
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }));
});
