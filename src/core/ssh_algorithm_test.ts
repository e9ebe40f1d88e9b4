import assert from "node:assert/strict";
import { certificateType, isSecurityKey, SSH_ALGORITHMS, sshAlgorithm } from "./ssh_algorithm.ts";

Deno.test("SSH_ALGORITHMS are those of OpenSSH but for SHA-1, DSA and browsers", () => {
  assert.deepEqual(SSH_ALGORITHMS.map(({ name }) => name), [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
  ]);
});

Deno.test("sshAlgorithm() knows key and signature of an algorithm", () => {
  const rsa = { keyType: "ssh-rsa", signature: "rsa-sha2-256" };
  assert.deepEqual(sshAlgorithm("rsa-sha2-256"), { ...rsa, name: "rsa-sha2-256", isCertificate: false });
  const name = "rsa-sha2-256-cert-v01@openssh.com";
  assert.deepEqual(sshAlgorithm(name), { ...rsa, name, isCertificate: true });
  for (const unknown of ["ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-dss", "", "SSH-ED25519", "constructor"]) {
    assert.equal(sshAlgorithm(unknown), undefined, unknown);
  }
});

Deno.test("certificateType() puts its word before the domain, isSecurityKey() tells keys in an authenticator", () => {
  assert.equal(certificateType("ssh-rsa"), "ssh-rsa-cert-v01@openssh.com");
  assert.equal(certificateType("sk-ssh-ed25519@openssh.com"), "sk-ssh-ed25519-cert-v01@openssh.com");
  assert.equal(isSecurityKey("sk-ssh-ed25519@openssh.com"), true);
  assert.equal(isSecurityKey("ssh-ed25519"), false);
});
