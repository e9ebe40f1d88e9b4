import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import {
  admitsPeer,
  certificateIdentity,
  formatPeerPattern,
  formatSpiffeId,
  parseSpiffeId,
  readPeerPatterns,
  sameTrustDomain,
  type SpiffeId,
} from "./spiffe_id.ts";

for (const { id, why, input, expect } of loadVectors<string, SpiffeId | null>("spiffe_id")) {
  Deno.test(`parseSpiffeId() ${id}: ${why}`, () => assert.deepEqual(parseSpiffeId(input) ?? null, expect));
}

interface PatternInput {
  readonly patterns: string;
  readonly id: string;
}

for (const { id, why, input, expect } of loadVectors<PatternInput, boolean | string>("peer_pattern")) {
  Deno.test(`admitsPeer() ${id}: ${why}`, () => {
    const peer = parseSpiffeId(input.id);
    assert.ok(peer);
    const admits = () => admitsPeer(readPeerPatterns({ env: "HBONE_ALLOW", text: input.patterns }), peer);
    if (typeof expect === "boolean") return assert.equal(admits(), expect);
    assert.throws(admits, (error) => error instanceof KrunError && error.code === expect);
  });
}

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
const parts = { trustDomain: fc.stringMatching(/^[a-z0-9._-]{1,20}$/), namespace: name, serviceAccount: name };
const identity = fc.record(parts, { noNullPrototype: true });

Deno.test("parseSpiffeId() reads what formatSpiffeId() writes, and never gives one id for two texts", () => {
  fc.assert(fc.property(identity, (id) => assert.deepEqual(parseSpiffeId(formatSpiffeId(id)), id)));
  fc.assert(fc.property(fc.oneof(fc.string(), fc.webUrl(), identity.map(formatSpiffeId)), (text) => {
    const id = parseSpiffeId(text);
    if (id) assert.equal(formatSpiffeId(id), text);
  }));
});

Deno.test("parseSpiffeId() refuses an id that is longer than SPIFFE allows", () => {
  const long = (length: number) => `spiffe://td/ns/a/sa/${"b".repeat(length - "spiffe://td/ns/a/sa/".length)}`;
  assert.ok(parseSpiffeId(long(2048)));
  assert.equal(parseSpiffeId(long(2049)), undefined);
});

Deno.test("certificateIdentity() wants exactly one URI", () => {
  const web = "spiffe://td/ns/shop/sa/web";
  assert.deepEqual(certificateIdentity([web]), parseSpiffeId(web));
  for (const uris of [undefined, [], [web, web], [web, "https://td/"], ["https://td/"]]) {
    assert.equal(certificateIdentity(uris), undefined);
  }
});

Deno.test("sameTrustDomain() admits everyone of one's own domain, and nobody else", () => {
  fc.assert(fc.property(identity, identity, (own, peer) => {
    assert.equal(admitsPeer(sameTrustDomain(own), peer), own.trustDomain === peer.trustDomain);
  }));
});

Deno.test("admitsPeer() admits for an id as a pattern that identity alone", () => {
  fc.assert(fc.property(identity, identity, (pattern, peer) => {
    const patterns = readPeerPatterns({ env: "HBONE_ALLOW", text: formatSpiffeId(pattern) });
    assert.equal(admitsPeer(patterns, peer), formatSpiffeId(pattern) === formatSpiffeId(peer));
    assert.ok(admitsPeer(patterns, pattern));
  }));
});

Deno.test("formatPeerPattern() writes what readPeerPatterns() reads", () => {
  const any = fc.option(name, { nil: undefined });
  const domain = parts.trustDomain;
  fc.assert(fc.property(domain, any, any, (trustDomain, namespace, serviceAccount) => {
    const pattern = {
      trustDomain,
      ...(namespace !== undefined && { namespace }),
      ...(serviceAccount !== undefined && { serviceAccount }),
    };
    assert.deepEqual(readPeerPatterns({ env: "HBONE_ALLOW", text: formatPeerPattern(pattern) }), [pattern]);
  }));
});
