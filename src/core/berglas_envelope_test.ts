import assert from "node:assert/strict";
import fc from "fast-check";
import { isKmsKeyName, parseBerglasEnvelope } from "./berglas_envelope.ts";

const base64 = (bytes: Uint8Array) => bytes.toBase64();
const bytes = (minLength: number) => fc.uint8Array({ minLength, maxLength: 200 });

Deno.test("parseBerglasEnvelope() divides at the first colon, and after the nonce", () => {
  fc.assert(fc.property(bytes(1), bytes(12), bytes(16), (key, head, tail) => {
    const nonce = head.slice(0, 12);
    const envelope = parseBerglasEnvelope(`${base64(key)}:${base64(new Uint8Array([...nonce, ...tail]))}`);
    assert.ok(typeof envelope !== "string", String(envelope));
    assert.deepEqual(envelope.wrappedKey, key);
    assert.deepEqual(envelope.nonce, nonce);
    assert.deepEqual(envelope.ciphertext, tail);
  }));
});

Deno.test("parseBerglasEnvelope() says what is wrong, and quotes nothing of it", () => {
  const key = btoa("key");
  for (
    const [text, says] of [
      ["", "has not the two parts"],
      [key, "has not the two parts"],
      [`${key}:*`, "not base64"],
      [`k*:${btoa("x".repeat(30))}`, "not base64"],
      [`${key}:${btoa("x".repeat(28)).replace("=", "")}`, "not base64"],
      [`:${btoa("x".repeat(30))}`, "key is empty"],
      [`${key}:${btoa("x".repeat(27))}`, "too short"],
    ] as const
  ) {
    const fault = parseBerglasEnvelope(text);
    assert.ok(typeof fault === "string" && fault.includes(says), `${text}: ${fault}`);
  }
  fc.assert(fc.property(fc.string({ unit: "binary-ascii" }).map((text) => `hunter2${text}`), (text) => {
    const fault = parseBerglasEnvelope(text);
    assert.ok(typeof fault !== "string" || !fault.includes(text));
  }));
});

Deno.test("isKmsKeyName() takes a key's name, and no version of it, nor what could be more of a URL", () => {
  assert.ok(isKmsKeyName("projects/p-1/locations/global/keyRings/berglas/cryptoKeys/berglas-key"));
  assert.ok(isKmsKeyName("projects/example.com:p/locations/europe-west3/keyRings/A_b/cryptoKeys/C"));
  for (
    const none of [
      "",
      "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
      "projects/p/locations/global/keyRings/r/cryptoKeys/k:encrypt?x=",
      "projects/p/locations/global/keyRings/../cryptoKeys/k",
      "/projects/p/locations/global/keyRings/r/cryptoKeys/k",
    ]
  ) assert.ok(!isKmsKeyName(none), none);
});
