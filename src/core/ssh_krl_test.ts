import assert from "node:assert/strict";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { certificateBlob, mpint, softwareKey, uint64 } from "../../tests/ssh_keys.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { parseCertificate } from "./ssh_certificate.ts";
import { parseKrl } from "./ssh_krl.ts";
import { parseRevokedKeys, revocationReason } from "./ssh_revocation.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "./ssh_wire.ts";

const key = softwareKey("ssh-ed25519");
const ca = softwareKey("ssh-ed25519", "ca");
const utf8 = new TextEncoder();

/** A list of these sections, each a type and its content. */
function krl(...sections: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const header = [
    utf8.encode("SSHKRL\n\0"),
    sshUint32(1),
    uint64(3n),
    uint64(0n),
    uint64(0n),
    sshString(""),
    sshString("x"),
  ];
  return concatBytes(...header, ...sections.map(([type, content]) => section(type, content)));
}
const section = (type: number, content: Uint8Array) => concatBytes(Uint8Array.of(type), sshString(content));
const certificates = (caBlob: Uint8Array, ...sections: readonly (readonly [number, Uint8Array])[]) =>
  [
    1,
    concatBytes(sshString(caBlob), sshString("reserved"), ...sections.map(([type, content]) => section(type, content))),
  ] as const;
const EVERY_CA = new Uint8Array(0);
const serials = (...sections: readonly (readonly [number, Uint8Array])[]) => krl(certificates(EVERY_CA, ...sections));

const isRevoked = (bytes: Uint8Array, serial: bigint) => {
  const certificate = parseCertificate(certificateBlob({ key, ca, serial }));
  return revocationReason(parseRevokedKeys(bytes), { key: certificate.key, certificate }) !== undefined;
};

Deno.test("parseKrl(): a bitmap revokes the numbers whose bit is set, and no others", () => {
  const start = fc.bigInt(1n, 2n ** 64n - 300n);
  fc.assert(
    fc.property(start, fc.uniqueArray(fc.nat(255), { minLength: 1 }), fc.nat(255), (offset, set, asked) => {
      const number = set.reduce((sum, bit) => sum | 1n << BigInt(bit), 0n).toString(16);
      const bytes = serials([0x22, concatBytes(uint64(offset), mpint(Uint8Array.fromHex(number.padStart(64, "0"))))]);
      assert.equal(isRevoked(bytes, offset + BigInt(asked)), set.includes(asked));
      assert.equal(isRevoked(bytes, offset + 256n), false);
      assert.equal(isRevoked(bytes, offset - 1n || 1n), offset === 1n && set.includes(0));
    }),
    { numRuns: 50 },
  );
});

Deno.test("parseKrl(): a list and a range revoke their numbers", () => {
  const bytes = serials([0x20, concatBytes(uint64(5n), uint64(9n))], [0x21, concatBytes(uint64(20n), uint64(22n))]);
  const revoked = Array.from({ length: 30 }, (_, serial) => BigInt(serial)).filter((serial) =>
    isRevoked(bytes, serial)
  );
  assert.deepEqual(revoked, [5n, 9n, 20n, 21n, 22n]);
});

Deno.test("parseKrl() reads hashes of keys, and passes over extensions that are not critical", () => {
  const { blob } = key.publicKey;
  const extension = (critical: number) => concatBytes(sshString("zoo"), Uint8Array.of(critical), sshString("x"));
  for (const [type, hash] of [[3, "sha1"], [5, "sha256"]] as const) {
    const bytes = krl([255, extension(0)], [type, sshString(createHash(hash).update(blob).digest())]);
    const revocations = parseRevokedKeys(bytes);
    assert.match(revocationReason(revocations, { key: key.publicKey })!, /^the key SHA256:\S+ is revoked$/);
    assert.equal(revocationReason(revocations, { key: ca.publicKey }), undefined);
  }
  assert.equal(isRevoked(serials([0x39, extension(0)], [0x20, uint64(7n)]), 7n), true);
});

Deno.test("parseKrl() refuses what it does not understand, and then everything is revoked", () => {
  const critical = concatBytes(sshString("zoo"), Uint8Array.of(1), sshString(""));
  const header = krl();
  const two = (a: bigint, b: bigint) => concatBytes(uint64(a), uint64(b));
  const cases: readonly (readonly [Uint8Array, string])[] = [
    [krl([255, critical]), 'its critical extension "zoo" is unknown'],
    [serials([0x39, critical]), 'its critical extension "zoo" is unknown'],
    [krl([6, new Uint8Array(0)]), "its section 6 is unknown"],
    [serials([0x24, new Uint8Array(0)]), "its section 36 about certificates is unknown"],
    [krl([4, new Uint8Array(0)]), "it is signed, which OpenSSH does not take either"],
    [header.with(11, 2), "its format is of version 2"],
    [header.with(7, 1), "it is no list of revoked keys"],
    [header.subarray(0, 20), "it ends before its 24 bytes"],
    [concatBytes(header, Uint8Array.of(1)), "it ends before its 4 bytes"],
    [serials([0x20, new Uint8Array(7)]), "it ends before its 8 bytes"],
    [serials([0x20, uint64(0n)]), "0 to 0 is no range of serial numbers"],
    [serials([0x21, two(2n, 1n)]), "2 to 1 is no range of serial numbers"],
    [serials([0x21, concatBytes(two(1n, 2n), Uint8Array.of(0))]), "bytes follow a section"],
    [serials([0x22, concatBytes(uint64(2n ** 64n - 2n), mpint(Uint8Array.of(4)))]), "its serial numbers go too far"],
    [krl([255, concatBytes(critical.with(7, 0), Uint8Array.of(0))]), "bytes follow an extension"],
    [krl([3, sshString(new Uint8Array(19))]), "a hash has 19 bytes in place of 20"],
    [krl([5, sshString(new Uint8Array(31))]), "a hash has 31 bytes in place of 32"],
    [krl([2, sshString("x")]), "it ends before its 4 bytes"],
    [krl(certificates(utf8.encode("x"))), "it ends before its 4 bytes"],
    [krl(certificates(sshString("ssh-ed25518"))), 'keys of type "ssh-ed25518" are not taken'],
    [krl(certificates(ca.publicKey.blob.subarray(0, 40))), "it ends before its 32 bytes"],
  ];
  for (const [bytes, reason] of cases) {
    assert.throws(() => parseKrl(bytes), new SshFormatError(reason));
    assert.deepEqual(parseRevokedKeys(bytes), { everythingBecause: reason });
    assert.equal(isRevoked(bytes, 1n), true);
  }
  assert.equal(isRevoked(header, 1n), false);
  assert.equal(isRevoked(krl(certificates(sshString("ssh-dss"), [0x20, uint64(1n)])), 1n), false);
  const last = serials([0x22, concatBytes(uint64(2n ** 64n - 2n), mpint(Uint8Array.of(2)))]);
  assert.equal(isRevoked(last, 2n ** 64n - 1n), true);
});

Deno.test("parseKrl() throws SshFormatError and nothing else, whatever is changed in a list", () => {
  const lists = loadVectors<{ krl: string }, unknown>("ssh_revocation").map(({ input }) =>
    Uint8Array.fromBase64(input.krl)
  );
  fc.assert(
    fc.property(fc.constantFrom(...lists), fc.nat(), fc.nat(255), fc.nat(), (list, at, byte, length) => {
      const changed = list.with(at % list.length, byte).subarray(0, 1 + length % list.length);
      try {
        parseKrl(changed);
      } catch (error) {
        assert.ok(error instanceof SshFormatError);
      }
    }),
    { numRuns: 500 },
  );
});
