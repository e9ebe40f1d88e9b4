import assert from "node:assert/strict";
import fc from "fast-check";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { SSH_KEY_TYPES, type SshKeyType } from "./ssh_algorithm.ts";
import { parsePublicKeyLine } from "./ssh_public_key.ts";
import { type SignatureQuestion, verifySignature } from "./ssh_signature.ts";
import { concatBytes, SshReader, sshString } from "./ssh_wire.ts";

const data = new TextEncoder().encode("what is signed");
const SK_TYPES = ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] as const;

/** Everything that the types differ in. */
const signatures = SSH_KEY_TYPES.flatMap((type) =>
  (type === "ssh-rsa" ? ["rsa-sha2-256", "rsa-sha2-512"] : [type]).map((algorithm) => ({ type, algorithm }))
);

const question = (type: SshKeyType, options = {}): SignatureQuestion => {
  const { publicKey: key, sign } = softwareKey(type);
  return { key, signature: sign(data, options), data };
};
const reason = (question: SignatureQuestion) => {
  const verdict = verifySignature(question);
  return verdict.valid ? undefined : verdict.reason;
};
const NOT_SIGNED = "its signature is not valid: the key has not signed this";

type Input = { line: string; signature: string; data: string };
for (const { id, why, input } of loadVectors<Input, { valid: true }>("ssh_signature")) {
  Deno.test(`verifySignature() ${id}: ${why}`, () => {
    const { key } = parsePublicKeyLine(input.line);
    const [signature, data] = [Uint8Array.fromBase64(input.signature), Uint8Array.fromBase64(input.data)];
    assert.deepEqual(verifySignature({ key, signature, data }), { valid: true });
    assert.equal(reason({ key, signature, data: concatBytes(data, Uint8Array.of(0)) }), NOT_SIGNED);
  });
}

Deno.test("verifySignature() takes a signature of every algorithm, and no other", () => {
  for (const { type, algorithm } of signatures) {
    const asked = question(type, { algorithm });
    const counter = type.startsWith("sk-") ? { counter: 7 } : {};
    assert.deepEqual(verifySignature({ ...asked, algorithm }), { valid: true, ...counter }, algorithm);
    assert.equal(reason({ ...asked, data: data.subarray(1) }), NOT_SIGNED);
    assert.equal(reason({ ...asked, key: softwareKey(type, "somebody else").publicKey }), NOT_SIGNED);
    for (const other of SSH_KEY_TYPES.filter((other) => other !== type)) {
      const expected = `which a key of ${other} does not make`;
      // The other half of a signature in an authenticator is missing, or one too many.
      const verdict = reason({ ...asked, key: softwareKey(other).publicKey })!;
      assert.ok(
        verdict.endsWith(expected) || /bytes follow it|it ends before/.test(verdict),
        `${algorithm} ${verdict}`,
      );
    }
  }
});

Deno.test("verifySignature() takes no signature in which a bit was changed, and never throws", () => {
  const signed = signatures.map(({ type, algorithm }) => question(type, { algorithm }));
  fc.assert(
    fc.property(fc.constantFrom(...signed), fc.nat(), fc.nat(7), (asked, at, bit) => {
      const signature = asked.signature.slice();
      signature[at % signature.length]! ^= 1 << bit;
      assert.notEqual(reason({ ...asked, signature }), undefined);
    }),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.constantFrom(...signed), fc.uint8Array(), (asked, signature) => {
    assert.notEqual(reason({ ...asked, signature }), undefined);
  }));
  fc.assert(fc.property(fc.constantFrom(...signed), fc.uint8Array(), fc.uint8Array(), (asked, value, rest) => {
    const signature = concatBytes(sshString(asked.key.type), sshString(value), rest);
    assert.notEqual(reason({ ...asked, signature }), undefined);
  }));
});

Deno.test("verifySignature() refuses what follows a signature or its numbers, and what is cut off", () => {
  for (const { type } of signatures) {
    const asked = question(type);
    const { signature } = asked;
    assert.match(reason({ ...asked, signature: concatBytes(signature, Uint8Array.of(0)) })!, /bytes follow it$/);
    assert.match(reason({ ...asked, signature: signature.subarray(0, -1) })!, /it ends before its/);
    const reader = new SshReader(signature);
    const [name, value, rest] = [reader.string(), reader.string(), reader.rest()];
    const longer = concatBytes(sshString(name), sshString(concatBytes(value, Uint8Array.of(0))), rest);
    assert.notEqual(reason({ ...asked, signature: longer }), undefined, type);
  }
});

Deno.test("verifySignature() refuses SHA-1, and the hash of RSA that was not asked for", () => {
  assert.equal(
    reason(question("ssh-rsa", { algorithm: "ssh-rsa" })),
    'its signature is not valid: it is of "ssh-rsa", which a key of ssh-rsa does not make',
  );
  assert.equal(
    reason({ ...question("ssh-rsa", { algorithm: "rsa-sha2-256" }), algorithm: "rsa-sha2-512" }),
    "its signature is not valid: it is of rsa-sha2-256, and rsa-sha2-512 was asked for",
  );
});

Deno.test("verifySignature() takes RSA without the zeros at its front, and no empty or too large number", () => {
  const { publicKey: key, sign } = softwareKey("ssh-rsa");
  for (let number = 0;; number++) {
    const message = Uint8Array.of(number >> 8, number);
    const reader = new SshReader(sign(message));
    const [name, value] = [reader.string(), reader.string()];
    const rest = (value: Uint8Array) => concatBytes(sshString(name), sshString(value));
    assert.equal(reason({ key, data: message, signature: rest(new Uint8Array(0)) }), NOT_SIGNED);
    assert.match(reason({ key, data: message, signature: rest(concatBytes(Uint8Array.of(0), value)) })!, /too large/);
    if (value[0] !== 0) continue;
    assert.equal(reason({ key, data: message, signature: rest(value.subarray(1)) }), undefined);
    break;
  }
});

Deno.test("verifySignature() refuses the zeros of a broken ECDSA", () => {
  for (const type of ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"] as const) {
    const zeros = concatBytes(sshString(""), sshString(""));
    assert.equal(reason({ ...question(type), signature: concatBytes(sshString(type), sshString(zeros)) }), NOT_SIGNED);
  }
});

Deno.test("verifySignature() wants a touch unless told otherwise, and a verification when told", () => {
  for (const type of SK_TYPES) {
    const untouched = question(type, { flags: 0 });
    assert.equal(reason(untouched), "its authenticator was not touched");
    assert.equal(reason({ ...untouched, touchRequired: false }), undefined);
    const missing = "its authenticator did not verify the user, which is required";
    assert.equal(reason({ ...question(type, { flags: 1 }), verifyRequired: true }), missing);
    assert.equal(reason({ ...question(type, { flags: 5 }), verifyRequired: true }), undefined);
    assert.equal(
      reason({ ...question(type, { flags: 4 }), verifyRequired: true }),
      "its authenticator was not touched",
    );
  }
  const plain = { ...question("ssh-ed25519"), verifyRequired: true };
  assert.equal(reason(plain), "its authenticator did not verify the user, which is required");
});

Deno.test("verifySignature() takes no signature for another application or other flags", () => {
  for (const type of SK_TYPES) {
    const asked = question(type, { flags: 0 });
    const application = new TextEncoder().encode("ssh:other");
    assert.equal(reason({ ...asked, key: { ...asked.key, application }, touchRequired: false }), NOT_SIGNED);
    const claimed = asked.signature.slice();
    claimed[claimed.length - 5] = 1;
    assert.equal(reason({ ...asked, signature: claimed }), NOT_SIGNED);
  }
});
