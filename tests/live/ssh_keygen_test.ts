// What krun reads of keys, certificates and lists of revoked keys, against ssh-keygen. Needs openssh-client.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { certificateType, SSH_KEY_TYPES } from "../../src/core/ssh_algorithm.ts";
import { parseCertificate } from "../../src/core/ssh_certificate.ts";
import { parsePublicKeyLine, sshFingerprint } from "../../src/core/ssh_public_key.ts";
import { parseRevokedKeys, revocationReason } from "../../src/core/ssh_revocation.ts";
import { concatBytes, sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { runProgram } from "../ssh_keygen.ts";
import { certificateBlob, softwareKey } from "../ssh_keys.ts";
import { makeVectors } from "../ssh_vectors.ts";
import { loadVectors } from "../vectors.ts";

class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "krun-ssh-keygen-" });
  write(name: string, content: string): void {
    Deno.writeTextFileSync(join(this.path, name), content);
  }
  keygen(args: readonly string[], input?: string): Promise<string> {
    return runProgram(["ssh-keygen", ...args], { cwd: this.path, ...input === undefined ? {} : { input } });
  }
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

Deno.test("makeVectors() makes the cases that are kept, with this machine's ssh-keygen too", async () => {
  for (const [unit, cases] of Object.entries(await makeVectors())) {
    const kept = loadVectors<unknown, unknown>(unit);
    assert.deepEqual(
      cases.map(({ id, expect }) => [id, Object.keys(expect!)]),
      kept.map(({ id, expect }) => [id, Object.keys(expect!)]),
    );
  }
});

Deno.test("ssh-keygen reads the keys and certificates that are made in software, and sees in them what krun sees", async () => {
  using folder = new Folder();
  for (const type of SSH_KEY_TYPES) {
    const key = softwareKey(type), ca = softwareKey(type, "ca");
    folder.write("key.pub", `${type} ${key.publicKey.base64}\n`);
    const [bits, fingerprint] = (await folder.keygen(["-l", "-f", "key.pub"])).split(" ");
    assert.deepEqual([Number(bits), fingerprint], [key.publicKey.bits, sshFingerprint(key.publicKey.blob)]);
    const blob = certificateBlob({
      key,
      ca,
      keyId: "Zoë",
      principals: ["shop", "web"],
      validAfter: 1_900_000_000n,
      validBefore: 1_900_000_060n,
      criticalOptions: [["force-command", sshString("a b")], ["source-address", sshString("10.0.0.0/8")]],
    });
    const { keyId, serial, principals } = parseCertificate(blob);
    folder.write("cert.pub", `${certificateType(type)} ${blob.toBase64()}\n`);
    // Signature and form are checked before anything is printed.
    const shown = await folder.keygen(["-L", "-f", "cert.pub"]);
    for (
      const line of [
        `Type: ${certificateType(type)} user certificate`,
        `CERT ${fingerprint}`,
        sshFingerprint(ca.publicKey.blob),
        `Key ID: "${keyId}"`,
        `Serial: ${serial}`,
        "from 2030-03-17T17:46:40 to 2030-03-17T17:47:40",
        ...principals,
        "force-command a b",
        "source-address 10.0.0.0/8",
        "permit-pty",
      ]
    ) assert.ok(shown.includes(line), `${type}: ${line} in ${shown}`);
  }
});

Deno.test("ssh-keygen takes the signatures that are made in software, those of an authenticator too", async () => {
  using folder = new Folder();
  const utf8 = new TextEncoder();
  for (const type of SSH_KEY_TYPES) {
    const key = softwareKey(type);
    const hash = createHash("sha512").update("a message").digest();
    const head = concatBytes(sshString("krun"), sshString(""), sshString("sha512"));
    const signature = key.sign(concatBytes(utf8.encode("SSHSIG"), head, sshString(hash)));
    const blob = sshString(key.publicKey.blob);
    const whole = concatBytes(utf8.encode("SSHSIG"), sshUint32(1), blob, head, sshString(signature));
    folder.write("sig", `-----BEGIN SSH SIGNATURE-----\n${whole.toBase64()}\n-----END SSH SIGNATURE-----\n`);
    folder.write("allowed", `me ${type} ${key.publicKey.base64}\n`);
    const verify = ["-Y", "verify", "-f", "allowed", "-I", "me", "-n", "krun", "-s", "sig"];
    assert.match(await folder.keygen(verify, "a message"), /^Good "krun" signature/, type);
    await assert.rejects(folder.keygen(verify, "another message"), /incorrect signature|Could not verify/);
  }
});

Deno.test("ssh-keygen -Q and krun call the same certificates revoked, whatever the list", async () => {
  using folder = new Folder();
  const [key, ca, other] = ["user", "ca", "other"].map((name) => softwareKey("ssh-ed25519", name));
  const serials = [1n, 2n, 3n, 63n, 64n, 65n, 200n, 1000n, 2n ** 64n - 1n];
  const offers = serials.map((serial) => certificateBlob({ key: key!, ca: ca!, serial, keyId: `id ${serial}` }));
  const line = (blob: Uint8Array) => `${certificateType("ssh-ed25519")} ${blob.toBase64()}\n`;
  offers.forEach((blob, index) => folder.write(`${index}.pub`, line(blob)));
  const plain = (of: typeof key) => `ssh-ed25519 ${of!.publicKey.base64}`;
  for (const [name, of] of [["ca.pub", ca], ["other.pub", other]] as const) folder.write(name, plain(of));
  const lists = [
    ...["serial: 2", "serial: 1-64", "serial: 64-1000", "serial: 0xffffffffffffffff", "id: id 65", "serial: 7"],
    // Near each other: a bitmap. Far from each other: a list.
    Array.from({ length: 100 }, (_, index) => `serial: ${2 * index + 1}`).join("\n"),
    Array.from({ length: 20 }, (_, index) => `serial: ${index * 2 ** 40 + 3}`).join("\n"),
    ...[`key: ${plain(key)}`, `sha1: ${plain(key)}`, `sha256: ${plain(ca)}`, plain(other), line(offers[3]!)],
    `hash: ${sshFingerprint(ca!.publicKey.blob)}`,
  ];
  for (const list of lists) {
    for (const issuer of ["none", "ca.pub", "other.pub"]) {
      folder.write("list", `${list}\n`);
      await folder.keygen(["-q", "-k", "-f", "krl", "-s", issuer, "list"]);
      const revocations = parseRevokedKeys(Deno.readFileSync(join(folder.path, "krl")));
      const seen = offers.map((blob) => {
        const certificate = parseCertificate(blob);
        return revocationReason(revocations, { key: certificate.key, certificate }) !== undefined;
      });
      const said = await folder.keygen(["-Q", "-f", "krl", ...offers.map((_, index) => `${index}.pub`)])
        .catch((error: Error) => error.message);
      const expected = offers.map((_, index) => new RegExp(`^${index}\\.pub.*: REVOKED$`, "m").test(said));
      assert.deepEqual(seen, expected, `${list} of ${issuer}: ${said}`);
      assert.match(said, /0\.pub.*: (ok|REVOKED)/);
    }
  }
});

Deno.test("ssh-keygen and krun refuse the same lists", async () => {
  using folder = new Folder();
  const lists = [
    "serial: 0",
    "serial: x",
    "serial: 9-8",
    "serial: 18446744073709551616",
    "hash: MD5:00",
    "nonsense",
    "serial: 08",
  ];
  for (const list of lists) {
    folder.write("list", `${list}\n`);
    await assert.rejects(folder.keygen(["-q", "-k", "-f", "krl", "-s", "none", "list"]), Error, list);
    assert.ok("everythingBecause" in parseRevokedKeys(new TextEncoder().encode(list)), list);
  }
});

Deno.test("ssh-keygen makes lines that krun reads, comments and all", async () => {
  using folder = new Folder();
  await folder.keygen(["-q", "-t", "ed25519", "-N", "", "-C", "me at home # 1", "-f", "key"]);
  const { key, comment } = parsePublicKeyLine(Deno.readTextFileSync(join(folder.path, "key.pub")));
  assert.equal(comment, "me at home # 1");
  assert.ok((await folder.keygen(["-l", "-f", "key"])).includes(sshFingerprint(key.blob)));
});
