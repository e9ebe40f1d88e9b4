import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { parsePublicKey } from "../core/ssh_public_key.ts";
import { makeHostKey, readHostKey } from "./host_key.ts";
import { loadSsh2 } from "./ssh2.ts";

const ssh2 = await loadSsh2();
const { key: hostKey, text: hostKeyText } = makeHostKey(ssh2);

Deno.test("readHostKey() takes private keys alone", () => {
  assert.equal(hostKey.type, "ssh-ed25519");
  assert.match(readHostKey(ssh2, "no key") as string, /no private key/);
  assert.match(
    readHostKey(ssh2, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1cGkHMoq2ZMOCyW9bAPGHrKuxTL7kvZjVSK3B6vXTe") as string,
    /no private key/,
  );
});

/** RFC 5656, section 6.2.1. */
const HASHES: Readonly<Record<string, string>> = {
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "ecdsa-sha2-nistp521": "sha512",
};

/** Of ssh-keygen, with a passphrase. */
const ENCRYPTED = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAjWaHBsJ
LKfSPUs+L4obQAAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIFcl4t+b1diZ6vmg
CPjNhWZBUVd+eL/zKDy8jPeLnjpvAAAAkLGLA2tyI7hmogL1tsXnDS44jmru9Zu8cWCnwq
3XSMWGE5PGUZS2tObZezd5gP4PRsOCjU07PQMPgFK+YXMbcPQ7qqicBZ2YLMm5vLbhsLSZ
TESxxlM8FB+epoX0uvXqDciw+Hf4XzCM7CT3rEzbyfFyCl+AUOv0crZ430GwNzYmfXsCKQ
dIEPNV14tMyOb+DA==
-----END OPENSSH PRIVATE KEY-----
`;

/** As OpenSSL 3 writes a key: PKCS#8. */
const pkcs8 = (key: KeyObject, passphrase?: string) =>
  key.export({
    type: "pkcs8",
    format: "pem",
    ...passphrase === undefined ? {} : { cipher: "aes-256-cbc", passphrase },
  }) as string;

Deno.test("readHostKey() takes keys in the form of PKCS#8, and signs with them", () => {
  const made = [
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ...["prime256v1", "P-384", "P-521"].map((namedCurve) => generateKeyPairSync("ec", { namedCurve })),
    ...Array.from({ length: 5 }, () => generateKeyPairSync("ed25519")),
  ];
  for (const { privateKey, publicKey } of made) {
    const key = readHostKey(ssh2, pkcs8(privateKey));
    assert.ok(typeof key !== "string", key as string);
    const { keyObject } = parsePublicKey(key.publicBlob);
    assert.deepEqual(keyObject!.export({ format: "jwk" }), publicKey.export({ format: "jwk" }));
    const data = Buffer.from("what is signed");
    const isRsa = key.type === "ssh-rsa";
    const signed = key.parsed.sign(data, isRsa ? "sha512" : undefined) as Uint8Array;
    const hash = isRsa ? "sha512" : HASHES[key.type] ?? null;
    assert.ok(verify(hash, data, publicKey, signed), key.type);
  }
});

Deno.test("readHostKey() says what it does not take", () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const passphrase = /^it has a passphrase, which ssh-keygen -p -N '' -f FILE takes away$/;
  assert.match(readHostKey(ssh2, ENCRYPTED) as string, passphrase);
  assert.match(
    readHostKey(ssh2, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----") as string,
    passphrase,
  );
  assert.match(
    readHostKey(
      ssh2,
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    ) as string,
    passphrase,
  );
  assert.match(
    readHostKey(ssh2, pkcs8(privateKey).slice(0, 500)) as string,
    /^it is a private key that cannot be read/,
  );
  const spki = publicKey.export({ type: "spki", format: "pem" }) as string;
  assert.equal(readHostKey(ssh2, spki), "it is no private key");
  assert.equal(readHostKey(ssh2, ""), "it is no private key");
});

Deno.test("makeHostKey() makes another key where ssh2 has made one that it cannot read", () => {
  const unreadable = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMgAAAAtz
c2gtZWQyNTUxOQAAAB8qnuhaJHQV/9OjxcnqwilouxzyO28yzw6f7FlggxxkAAAA
iI+pzgGPqc4BAAAAC3NzaC1lZDI1NTE5AAAAHyqe6FokdBX/06PFyerCKWi7HPI7
bzLPDp/sWWCDHGQAAAA/dcDaEmupmjSpNRZiKhvEMHs7ifCHhGiy+nrKLvBuVCwq
nuhaJHQV/9OjxcnqwilouxzyO28yzw6f7FlggxxkAAAAAAECAwQFBgc=
-----END OPENSSH PRIVATE KEY-----
`;
  const made = [unreadable, hostKeyText];
  const generateKeyPairSync = () => ({ private: made.shift()! });
  assert.equal(typeof readHostKey(ssh2, unreadable), "string", "ssh2 has been mended: makeHostKey() can go");
  assert.equal(makeHostKey({ parseKey: ssh2.parseKey, generateKeyPairSync }).text, hostKeyText);
});
