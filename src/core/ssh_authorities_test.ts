import fc from "fast-check";
import assert from "node:assert/strict";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { sshAuthorities } from "./ssh_authorities.ts";

const [ann, bob, ca] = ["ann", "bob", "ca"].map((name) => {
  const { publicKey } = softwareKey("ssh-ed25519", name);
  return { name, line: `${publicKey.type} ${publicKey.base64} ${name}`, base64: publicKey.base64 };
}) as [Known, Known, Known];

interface Known {
  readonly name: string;
  readonly line: string;
  readonly base64: string;
}

/** Data of a Secret. */
function data(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, text]) => [name, new TextEncoder().encode(text).toBase64()]),
  );
}

/** Whose keys are authorized, `CA` before those that sign. */
function names({ authorized }: ReturnType<typeof sshAuthorities>): string[] {
  return authorized.map(({ comment, options }) => `${options.certAuthority ? "CA " : ""}${comment}`);
}

Deno.test("sshAuthorities() has nobody where neither says anything", () => {
  const nobody = { authorized: [], revocations: [], hostKeys: [], warnings: [] };
  assert.deepEqual(sshAuthorities(undefined, undefined), nobody);
  assert.deepEqual(sshAuthorities("", {}), nobody);
  const { warnings, ...rest } = sshAuthorities("# nobody\n\n", data({ other: ann.line, "ssh-rsa": "x", ID_RSA: "x" }));
  assert.deepEqual({ ...rest, warnings: [] }, nobody);
  assert.deepEqual(
    warnings.map((line) =>
      /^key "(\S+)" of .* is none that krun knows: authorized_keys, authorized_key_\*, ca_\*, SSHCA_PUB, revoked_keys, id_\*$/
        .exec(line)?.[1]
    ),
    [
      "ID_RSA",
      "other",
      "ssh-rsa",
    ],
  );
});

Deno.test("sshAuthorities() says once that a private key was given, and nothing of it", () => {
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\nbW9yZQ==\n-----END OPENSSH PRIVATE KEY-----\n";
  const { authorized, warnings } = sshAuthorities(key, data({ ca_team: key }));
  assert.deepEqual([authorized.length, warnings.length], [0, 2]);
  for (const warning of warnings) assert.match(warning, /is a private key, which nobody else should have/);
  assert.doesNotMatch(warnings.join(), /c2Vj/);
});

Deno.test("sshAuthorities() says that a second key on a line is not one, and lets in the first", () => {
  const found = sshAuthorities(`${ann.line} ${bob.line}`, data({ ca_team: `# us\n${ca.line}\\n${bob.line}` }));
  assert.deepEqual(found.authorized.map(({ where }) => where), [
    "line 1 of SSH_AUTH",
    'line 2 of key "ca_team" of Secret "sshdebug"',
  ]);
  assert.deepEqual(found.authorized.map(({ key }) => key.base64), [ann.base64, ca.base64]);
  assert.deepEqual(
    found.warnings,
    found.authorized.map(({ where }) => `${where} has a second key behind the first: put each on a line of its own`),
  );
});

Deno.test("sshAuthorities() takes keys of SSH_AUTH first, then those of the Secret by the names of its keys", () => {
  const secret = data({
    authorized_keys: bob.line,
    authorized_key_ann: ann.line,
    SSHCA_PUB: ca.line,
    ca_two: bob.line,
  });
  assert.deepEqual(names(sshAuthorities(undefined, secret)), ["CA ca", "ann", "bob", "CA bob"]);
  assert.deepEqual(names(sshAuthorities(`cert-authority ${ca.line}`, data({ authorized_keys: ann.line }))), [
    "CA ca",
    "ann",
  ]);
});

Deno.test("sshAuthorities() lets a CA be one in whatever key of the Secret its line says so, and nobody else's key", () => {
  const secret = data({
    authorized_keys: `cert-authority,principals="web" ${ca.line}`,
    authorized_key: bob.line,
    ca: bob.line,
  });
  assert.deepEqual(names(sshAuthorities(undefined, secret)), ["CA ca"]);
});

Deno.test("sshAuthorities() warns of a line that is of no use and says where it stands, without its content", () => {
  const { authorized, warnings } = sshAuthorities(
    `${ann.line}\nenvironment="TOKEN=hidden" ${bob.line}`,
    data({ authorized_keys: `not a key\n${bob.line}`, SSHCA_PUB: "ssh-ed25519 AAAA hidden" }),
  );
  assert.deepEqual(authorized.map(({ comment }) => comment), ["ann", "bob"]);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0]!, /^line 2 of SSH_AUTH lets nobody in: its option "environment"/);
  assert.match(warnings[1]!, /^line 1 of key "SSHCA_PUB" of Secret "sshdebug" lets nobody in: /);
  assert.match(warnings[2]!, /^line 1 of key "authorized_keys" of Secret "sshdebug" lets nobody in: /);
  for (const warning of warnings) assert.doesNotMatch(warning, /hidden/);
});

Deno.test("sshAuthorities() takes every text of a private key, and no public half, for the server's own", () => {
  const secret = data({ "id_rsa": "r", "id_ecdsa": "e", "id_ecdsa.pub": "p", "id_ecdsa-cert.pub": "c", "id_": "n" });
  assert.deepEqual(sshAuthorities(undefined, secret).hostKeys, [{ name: "id_ecdsa", text: "e" }, {
    name: "id_rsa",
    text: "r",
  }]);
});

Deno.test("sshAuthorities() revokes everything where the list cannot be read, and warns", () => {
  for (const revoked_keys of [data({ revoked_keys: "serial: seven" }).revoked_keys!, "%%%"]) {
    const { revocations, warnings } = sshAuthorities(ann.line, { revoked_keys });
    assert.ok("everythingBecause" in revocations[0]!);
    assert.ok(
      warnings.some((warning) => warning.startsWith('key "revoked_keys" of Secret "sshdebug"')),
      warnings.join(),
    );
  }
  const good = sshAuthorities(ann.line, data({ revoked_keys: bob.line }));
  assert.deepEqual([good.revocations.length, good.warnings], [1, []]);
});

Deno.test("sshAuthorities() goes without what is no base64, which only a folder of manifests can hold, and warns", () => {
  const secret = { authorized_keys: "%%%", authorized_key_ann: data({ x: ann.line }).x! };
  const found = sshAuthorities(undefined, secret);
  assert.deepEqual(names(found), ["ann"]);
  assert.deepEqual(found.warnings, ['key "authorized_keys" of Secret "sshdebug" is no base64']);
});

Deno.test("sshAuthorities() never throws, and lets in only keys that stand there", () => {
  const name = fc.oneof(fc.constantFrom("authorized_keys", "SSHCA_PUB", "ca_x", "revoked_keys", "id_rsa"), fc.string());
  const bytes = fc.uint8Array().map((all) => all.toBase64());
  const text = fc.array(fc.oneof(fc.constantFrom(ann.line, bob.line), fc.string())).map((lines) =>
    new TextEncoder().encode(lines.join("\n")).toBase64()
  );
  const secret = fc.dictionary(name, fc.oneof(bytes, text, fc.string()));
  fc.assert(fc.property(fc.option(fc.string(), { nil: undefined }), secret, (sshAuth, data) => {
    for (const { key } of sshAuthorities(sshAuth, data).authorized) {
      assert.ok([ann.base64, bob.base64].includes(key.base64));
    }
  }));
});
