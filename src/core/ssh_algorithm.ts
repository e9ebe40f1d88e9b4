/**
 * The public key algorithms of SSH that krun knows. In: the name that a client writes. Out: the type of its key, and of its signature.
 *
 * Rules: RFC 4253, 5656, 8332 and 8709; OpenSSH's PROTOCOL.u2f, and draft-miller-ssh-cert for certificates. RSA with SHA-1 and DSA
 * are not among them.
 *
 * @module
 */

/** Every type of key, as its blob names it. */
export const SSH_KEY_TYPES = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "ssh-rsa",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
] as const;

/** The type of a key, as its blob names it. */
export type SshKeyType = typeof SSH_KEY_TYPES[number];

/** What a client means by the name of an algorithm. */
export interface SshAlgorithm {
  /** As it stands in SSH_MSG_USERAUTH_REQUEST. */
  readonly name: string;
  /** Of the key; with a certificate: of the key in it. */
  readonly keyType: SshKeyType;
  /** The name that the signature bears: never a certificate's. */
  readonly signature: string;
  /** Whether the blob is a certificate. */
  readonly isCertificate: boolean;
}

/** The type that a certificate's blob names, as `ssh-rsa-cert-v01@openssh.com`. */
export function certificateType(name: string): string {
  const [plain = "", domain = "openssh.com"] = name.split("@");
  return `${plain}-cert-v01@${domain}`;
}

const signaturesOf = (type: SshKeyType) => type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];

/** Every algorithm, certificates first, in the order in which a server may name them. */
export const SSH_ALGORITHMS: readonly SshAlgorithm[] = [true, false].flatMap((isCertificate) =>
  SSH_KEY_TYPES.flatMap((keyType) =>
    signaturesOf(keyType).map((signature) => ({
      name: isCertificate ? certificateType(signature) : signature,
      keyType,
      signature,
      isCertificate,
    }))
  )
);

/** What the name of an algorithm means; `undefined` when krun does not take it. */
export function sshAlgorithm(name: string): SshAlgorithm | undefined {
  return SSH_ALGORITHMS.find((algorithm) => algorithm.name === name);
}

/** Whether a key of this type lies in an authenticator, which says with each signature whether its user was there. */
export function isSecurityKey(type: SshKeyType): boolean {
  return type.startsWith("sk-");
}
