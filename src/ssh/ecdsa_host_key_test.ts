import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import { concatBytes, sshString, sshUint32 } from "../core/ssh_wire.ts";
import { mpint } from "../../tests/ssh_keys.ts";
import { loadSsh2 } from "./ssh2.ts";
import { readHostKey } from "./host_key.ts";

const CURVES = { 256: "sha256", 384: "sha384", 521: "sha512" } as const;

function number(key: KeyObject, field: "d" | "x" | "y"): Uint8Array {
  return Uint8Array.fromBase64(key.export({ format: "jwk" })[field]!, { alphabet: "base64url" });
}

/** A private key as ssh-keygen writes it (OpenSSH's PROTOCOL.key), whose number is what `d` makes of it. */
function opensshKey(bits: number, privateKey: KeyObject, d: Uint8Array): string {
  const type = `ecdsa-sha2-nistp${bits}`;
  const point = concatBytes(Uint8Array.of(4), number(privateKey, "x"), number(privateKey, "y"));
  const fields = concatBytes(sshString(type), sshString(`nistp${bits}`), sshString(point));
  const secret = concatBytes(sshUint32(7), sshUint32(7), fields, d, sshString("a comment"));
  const padding = Uint8Array.from({ length: (8 - secret.length % 8) % 8 }, (_, index) => index + 1);
  const none = concatBytes(sshString("none"), sshString("none"), sshString(""));
  const magic = new TextEncoder().encode("openssh-key-v1\0");
  const all = concatBytes(magic, none, sshUint32(1), sshString(fields), sshString(concatBytes(secret, padding)));
  const lines = all.toBase64().replace(/.{70}/g, "$&\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

Deno.test("readHostKey() gives ECDSA keys that sign, however long their number is", async () => {
  const ssh2 = await loadSsh2();
  for (const [bits, hash] of Object.entries(CURVES)) {
    const lengths = new Set<number>();
    // Half of them have a leading one, of P-521 a leading zero byte.
    for (let count = 0; count < 40 && lengths.size < 2; count++) {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: `P-${bits}` });
      const d = mpint(number(privateKey, "d"));
      lengths.add(d.length);
      const key = readHostKey(ssh2, opensshKey(Number(bits), privateKey, d));
      assert.ok(typeof key !== "string", key as string);
      assert.equal(key.type, `ecdsa-sha2-nistp${bits}`);
      const data = Buffer.from("what is exchanged");
      const signature = key.parsed.sign(data);
      assert.ok(!(signature instanceof Error) && verify(hash, data, publicKey, signature));
    }
    assert.equal(lengths.size, 2, bits);
  }
});

Deno.test("readHostKey() says why a key is of no use, and never throws", async () => {
  const ssh2 = await loadSsh2();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const other = number(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey, "d");
  const whole = opensshKey(256, privateKey, mpint(number(privateKey, "d")));
  const torn = whole.split("\n").toSpliced(3, 1).join("\n");
  const odd = opensshKey(256, privateKey, sshString(new Uint8Array(200).fill(1)));
  for (const text of ["", "no key", torn, odd, opensshKey(256, privateKey, sshString(""))]) {
    assert.equal(typeof readHostKey(ssh2, text), "string", text);
  }
  assert.equal(typeof readHostKey(ssh2, opensshKey(256, privateKey, mpint(other))), "string", "of two keys");
  // Whose curve Deno does not have for what ssh2 does here.
  const sec1 = generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey.export({ type: "sec1", format: "pem" });
  assert.ok(["string", "object"].includes(typeof readHostKey(ssh2, `${sec1}`)));
});
