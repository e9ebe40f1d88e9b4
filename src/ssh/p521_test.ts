import assert from "node:assert/strict";
import fc from "fast-check";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { verifySignature } from "../core/ssh_signature.ts";
import { concatBytes, SshReader, sshString } from "../core/ssh_wire.ts";
import { loadP521, P521 } from "./p521.ts";

const TYPE = "ecdsa-sha2-nistp521";
const data = new TextEncoder().encode("what is signed");

/** A key as a runtime has it that does not know its curve. */
function unknown({ publicKey }: ReturnType<typeof softwareKey>) {
  const reader = new SshReader(publicKey.blob);
  const [, , point] = [reader.string(), reader.string(), reader.string()];
  return { ...publicKey, keyObject: undefined, point };
}

Deno.test("loadP521() judges as the runtime does that has the curve", async () => {
  const p521 = await loadP521();
  const [ann, eve] = [softwareKey(TYPE, "ann"), softwareKey(TYPE, "eve")];
  const key = unknown(ann);
  for (let time = 0; time < 10; time++) {
    const asked = { key, signature: ann.sign(concatBytes(data, Uint8Array.of(time)), {}), p521 };
    assert.deepEqual(verifySignature({ ...asked, data: concatBytes(data, Uint8Array.of(time)) }), { valid: true });
    assert.equal(verifySignature({ ...asked, data }).valid, false, "other data");
    assert.equal(verifySignature({ ...asked, key: unknown(eve), data }).valid, false, "another key");
  }
});

Deno.test("loadP521() takes no signature in which a bit was changed, nor one of a point off the curve, and never throws", async () => {
  const p521 = await loadP521();
  const signer = softwareKey(TYPE);
  const key = unknown(signer);
  const signature = signer.sign(data, {});
  fc.assert(
    fc.property(fc.nat(), fc.nat(7), fc.boolean(), (at, bit, ofPoint) => {
      const [changed, point] = [signature.slice(), key.point.slice()];
      const bytes = ofPoint ? point : changed;
      bytes[at % bytes.length]! ^= 1 << bit;
      assert.equal(verifySignature({ key: { ...key, point }, signature: changed, data, p521 }).valid, false);
    }),
    { numRuns: 50 },
  );
  const ofNumbers = (...numbers: Uint8Array[]) => {
    const value = concatBytes(...numbers.map((number) => sshString(number)));
    return verifySignature({ key, signature: concatBytes(sshString(TYPE), sshString(value)), data, p521 }).valid;
  };
  for (const number of [new Uint8Array(), Uint8Array.of(0), Uint8Array.of(1), new Uint8Array(66).fill(0x7f)]) {
    assert.equal(ofNumbers(number, number), false);
  }
});

Deno.test("without a verifier a key whose curve the runtime does not know has signed nothing", () => {
  const signer = softwareKey(TYPE);
  assert.deepEqual(verifySignature({ key: unknown(signer), signature: signer.sign(data, {}), data }), {
    valid: false,
    reason: "its signature is not valid: the runtime that krun has does not know its curve",
  });
});

Deno.test("P521 loads nothing where the runtime has the curve", async () => {
  const p521 = new P521();
  await p521.prepare(softwareKey(TYPE).publicKey.blob);
  assert.equal(p521.verifier, undefined);
});
