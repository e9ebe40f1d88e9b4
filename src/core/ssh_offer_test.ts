import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
// What ssh2 does with a signature before its server hands it out.
import { sigSSHToASN1 } from "ssh2/lib/protocol/utils.js";
import { certificateBlob, type SigningOptions, softwareKey } from "../../tests/ssh_keys.ts";
import { SSH_ALGORITHMS, sshAlgorithm, type SshKeyType } from "./ssh_algorithm.ts";
import { isSigned, type Ssh2PublicKeyContext, sshOffer } from "./ssh_offer.ts";
import { verifySignature } from "./ssh_signature.ts";
import { concatBytes, sshString } from "./ssh_wire.ts";

const data = new TextEncoder().encode("what is signed");

/** USERAUTH_REQUEST of lib/protocol/handlers.misc.js, from where it has read the packet. */
function asSsh2HandsItOut(keyAlgo: string, key: Uint8Array, signature?: Uint8Array): Ssh2PublicKeyContext {
  const hashAlgo = ({ "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" } as Record<string, string>)[keyAlgo];
  const algo = hashAlgo ? "ssh-rsa" : keyAlgo;
  if (signature === undefined) return { key: { algo, data: key }, hashAlgo };
  const whole = Buffer.from(signature);
  const isNamed = whole.length > 4 + keyAlgo.length + 4 &&
    whole.subarray(4, 4 + keyAlgo.length).toString() === keyAlgo;
  const rest = isNamed ? whole.subarray(4 + keyAlgo.length + 4) : whole;
  return { key: { algo, data: key }, hashAlgo, signature: sigSSHToASN1(rest, algo), blob: data };
}

function offer(name: string, options: SigningOptions = {}) {
  const { keyType, isCertificate, signature: algorithm } = sshAlgorithm(name)!;
  const key = softwareKey(keyType);
  const blob = isCertificate ? certificateBlob({ key, ca: key }) : key.publicKey.blob;
  const signature = key.sign(data, { algorithm, ...options });
  return { blob, signature, key: key.publicKey, context: asSsh2HandsItOut(name, blob, signature) };
}

Deno.test("sshOffer() gives back what was on the wire, for every algorithm", () => {
  for (const { name } of SSH_ALGORITHMS) {
    // Numbers of ECDSA differ in length from one to the next.
    for (let times = 0; times < 20; times++) {
      const { blob, signature, context } = offer(name);
      const made = sshOffer(context);
      assert.ok(isSigned(made));
      assert.equal(made.algorithm, name);
      assert.equal(made.blob.toHex(), blob.toHex());
      assert.equal(made.data.toHex(), data.toHex());
      assert.equal(made.signature.toHex(), signature.toHex(), name);
    }
  }
});

Deno.test("sshOffer() copies what ssh2 will use again", () => {
  const { context } = offer("sk-ssh-ed25519@openssh.com");
  const made = sshOffer(context);
  assert.ok(isSigned(made));
  const before = made.signature.toHex() + made.blob.toHex() + made.data.toHex();
  for (const bytes of [context.signature!, context.key.data, context.blob!]) bytes.fill(0);
  assert.equal(made.signature.toHex() + made.blob.toHex() + made.data.toHex(), before);
});

Deno.test("sshOffer() of a query has no signature, and RSA its whole name", () => {
  for (const { name } of SSH_ALGORITHMS) {
    const { blob } = offer(name);
    const query = sshOffer(asSsh2HandsItOut(name, blob));
    assert.deepEqual([query.algorithm, isSigned(query)], [name, false]);
  }
  // Asked for by that name: SHA-1.
  assert.equal(sshOffer(asSsh2HandsItOut("ssh-rsa", data)).algorithm, "ssh-rsa");
});

Deno.test("sshOffer() makes no good signature of one whose name was another", () => {
  const names: readonly (readonly [SshKeyType, string])[] = [
    ["ssh-ed25519", "ssh-ed25519"],
    ["ssh-rsa", "rsa-sha2-512"],
    ["sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com"],
    ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"],
  ];
  for (const [type, name] of names) {
    const { publicKey: key, sign } = softwareKey(type);
    const signature = sign(data);
    for (const written of ["ssh-rsa", "rsa-sha2-256", "", `${name}x`]) {
      const renamed = concatBytes(sshString(written), signature.subarray(4 + name.length));
      // Where ssh2 finds no numbers of ECDSA it drops the connection.
      if (name.startsWith("ecdsa-") && written.length < 4) continue;
      const context = asSsh2HandsItOut(name, key.blob, renamed);
      if (context.signature === undefined) continue;
      const made = sshOffer(context);
      assert.ok(isSigned(made));
      assert.equal(verifySignature({ key, ...made }).valid, false, `${name} as ${written}`);
    }
  }
});

Deno.test("sshOffer() never throws, and what it makes of chance is no good signature", () => {
  const name = fc.oneof(fc.constantFrom("ssh-rsa", ...SSH_ALGORITHMS.map(({ name }) => name)), fc.string());
  const hash = fc.constantFrom("sha256", "sha512", "sha1", undefined);
  fc.assert(fc.property(name, hash, fc.uint8Array(), fc.uint8Array(), (algo, hashAlgo, bytes, signature) => {
    const made = sshOffer({ key: { algo, data: bytes }, hashAlgo, signature, blob: bytes });
    assert.ok(isSigned(made));
    const { publicKey: key } = softwareKey(sshAlgorithm(made.algorithm)?.keyType ?? "ssh-ed25519");
    assert.equal(verifySignature({ key, ...made }).valid, false);
  }));
});
