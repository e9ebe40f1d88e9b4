import assert from "node:assert/strict";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { sshAuthorities } from "./ssh_authorities.ts";
import { judgeOffer } from "./ssh_login.ts";
import { sshProspects } from "./ssh_prospects.ts";

const NOW_MS = Date.UTC(2031, 0, 2);

const [ann, bob] = ["ann", "bob"].map((name) => softwareKey("ssh-ed25519", name).publicKey);
const [annLine, bobLine] = [ann, bob].map((key, at) => `ssh-ed25519 ${key!.base64} ${["ann", "bob"][at]}`);

/** Who may come, and what is warned of, with a list of revoked keys. */
function found(text: string, revoked?: string) {
  const revoked_keys = revoked === undefined ? {} : { revoked_keys: btoa(revoked) };
  const authorities = sshAuthorities(text, revoked_keys);
  const { logins, warnings } = sshProspects(authorities, NOW_MS);
  // Whom it calls barred, a login is refused for.
  for (const { key } of authorities.authorized) {
    if (logins.some((login) => login.key === key)) continue;
    const question = { ...authorities, principals: [], peerAddress: "10.0.0.1", nowMs: NOW_MS };
    const offer = { algorithm: key.type, blob: key.blob };
    const isOfSignature = warnings.some((warning) => warning.includes("verify-required"));
    assert.equal(judgeOffer(offer, question).allowed, isOfSignature);
  }
  return { logins: logins.map(({ comment }) => comment), warnings };
}

Deno.test("sshProspects() has everybody whom nothing bars", () => {
  const text = `${annLine}\nfrom="10.0.0.0/8",expiry-time="20310102" ${bobLine}`;
  assert.deepEqual(found(text), { logins: ["ann", "bob"], warnings: [] });
  assert.deepEqual(found(""), { logins: [], warnings: [] });
});

Deno.test("sshProspects() says which line lets nobody in, and why", () => {
  const of = (options: string, revoked?: string) => found(`${options} ${annLine}\n${bobLine}`, revoked);
  const barred = (reason: string) => ({ logins: ["bob"], warnings: [`line 1 of SSH_AUTH lets nobody in: ${reason}`] });
  assert.deepEqual(of('expiry-time="20310101"'), barred("it expired at 2031-01-01T00:00:00.000Z"));
  assert.deepEqual(
    of('from="*.example.com"'),
    barred('no address matches its from="*.example.com", for krun looks up no names'),
  );
  assert.deepEqual(
    of('from="!10.0.0.1"'),
    barred('no address matches its from="!10.0.0.1", where every entry begins with !'),
  );
  assert.deepEqual(
    of("verify-required"),
    barred('its option "verify-required" asks for a security key (sk-), and it is none'),
  );
  assert.deepEqual(of("pty", annLine), barred("it is revoked"));
  assert.deepEqual(of("cert-authority", annLine), barred("it is revoked"));
});

Deno.test("sshProspects() says what of a line has no effect, and lets it in", () => {
  assert.deepEqual(found(`from="10.0.0.0/8,*.example.com,!bad.example.com" ${annLine}`), {
    logins: ["ann"],
    warnings: [
      'line 1 of SSH_AUTH: no address matches "*.example.com,!bad.example.com" of its from=, for krun looks up no names',
    ],
  });
});

Deno.test("sshProspects() leaves verify-required to a security key, and to the keys in an authority's certificates", () => {
  const type = "sk-ssh-ed25519@openssh.com";
  assert.deepEqual(found(`verify-required ${type} ${softwareKey(type).publicKey.base64} token`).logins, ["token"]);
  assert.deepEqual(found(`cert-authority,verify-required ${annLine}`).logins, ["ann"]);
});

Deno.test("sshProspects() has nobody where the list of revoked keys cannot be read, and leaves the words to the list", () => {
  assert.deepEqual(found(`${annLine}\n${bobLine}`, "serial: seven"), { logins: [], warnings: [] });
});
