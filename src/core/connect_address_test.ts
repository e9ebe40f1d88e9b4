import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type FrontEndAddress, type MeshAddress, readConnectAddress } from "./connect_address.ts";
import { KrunError } from "./errors.ts";

type Address = MeshAddress | FrontEndAddress;

function read(text: string): Address | undefined {
  try {
    return readConnectAddress(text);
  } catch (error) {
    assert.ok(error instanceof KrunError && error.code === "ArgumentInvalid");
    return undefined;
  }
}

for (const { id, why, input, expect } of loadVectors<string, Address | null>("connect_address")) {
  Deno.test(`readConnectAddress() ${id}: ${why}`, () => assert.deepEqual(read(input) ?? null, expect));
}

Deno.test("readConnectAddress() shows no password of an address that it refuses", () => {
  assert.throws(() => readConnectAddress("https://me:s3cr3t@web.example.com"), (error) => {
    assert.ok(error instanceof KrunError);
    return !error.message.includes("s3cr3t") && error.message.includes("web.example.com");
  });
});

const port = fc.integer({ min: 1, max: 65535 });

Deno.test("readConnectAddress() reads every host and port", () => {
  fc.assert(fc.property(fc.oneof(fc.domain(), fc.ipV4()), port, (host, number) => {
    assert.deepEqual(read(`${host}:${number}`), { kind: "mesh", host, port: number });
  }));
  fc.assert(fc.property(fc.ipV6(), port, (host, number) => {
    assert.deepEqual(read(`[${host}]:${number}`), { kind: "mesh", host, port: number });
  }));
});

Deno.test("readConnectAddress() gives an ID token to hosts of run.app alone", () => {
  const text = fc.oneof(fc.string(), fc.webUrl(), fc.domain(), fc.domain().map((name) => `https://x.run.app.${name}`));
  fc.assert(fc.property(text, (address) => {
    const found = read(address);
    if (found?.kind !== "front end") return;
    assert.equal(found.takesIdToken, new URL(found.origin).hostname.endsWith(".run.app"));
    assert.equal(new URL(found.origin).origin, found.origin);
  }));
});
