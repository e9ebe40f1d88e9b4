/**
 * Who may log in. In: a public key or certificate that a client offers, and who is authorized. Out: who it is and what they may do, or why
 * they may not.
 *
 * Rules: sshd(8), AUTHORIZED_KEYS FILE FORMAT, and `userauth_pubkey` of OpenSSH (auth2-pubkey.c): a revoked key is refused before all else;
 * then the first line counts that fits and allows.
 *
 * @module
 */
import { certificateType, type SshAlgorithm, sshAlgorithm } from "./ssh_algorithm.ts";
import type { AuthorizedKey } from "./ssh_authorized_keys.ts";
import { matchesAddressPatterns } from "./ssh_address_pattern.ts";
import { judgeCertificate, parseCertificate, type SshCertificate, untrustedCa } from "./ssh_certificate.ts";
import { type LoginRights, rightsOfCertificate, rightsOfKey } from "./ssh_login_rights.ts";
import type { SignedSshOffer, SshOffer } from "./ssh_offer.ts";
import { parsePublicKey, sshFingerprint, type SshPublicKey } from "./ssh_public_key.ts";
import { revocationReason, type Revocations } from "./ssh_revocation.ts";
import { type P521Verifier, verifySignature } from "./ssh_signature.ts";
import { SshFormatError } from "./ssh_wire.ts";

/** Who is authorized, and by what an offer is judged. */
export interface LoginQuestion {
  /** Keys, and CAs whose certificates are believed. The first that fits and allows counts. */
  readonly authorized: readonly AuthorizedKey[];
  /** What is revoked; each list counts. */
  readonly revocations: readonly Revocations[];
  /** A certificate needs one of them, unless its CA's line has principals of its own. */
  readonly principals: readonly string[];
  readonly peerAddress: string;
  /** Ms since the epoch. */
  readonly nowMs: number;
  /** For keys whose curve the runtime does not have. @default {none: they have signed nothing} */
  readonly p521?: P521Verifier | undefined;
}

/** Who it is, for audit lines. Of one who is refused: as far as the offer could be read, and only claimed. */
export interface LoginIdentity {
  readonly kind: "key" | "certificate";
  /** What the client named, as `ssh-ed25519-cert-v01@openssh.com`. */
  readonly algorithm: string;
  /** `SHA256:...` of the key, with a certificate of the key in it; of the bytes where they are no key. */
  readonly fingerprint: string;
  /** Free text of the CA. */
  readonly keyId?: string;
  /** Decimal. */
  readonly serial?: string;
  readonly caFingerprint?: string;
  /** Which of the certificate's principals let it in. */
  readonly principal?: string;
  /** Of the line in authorized_keys; with a certificate: of its CA. */
  readonly comment?: string;
}

/** No, with one reason in words: for the log, never for the client. */
export interface LoginRefusal {
  readonly allowed: false;
  readonly reason: string;
  readonly who: LoginIdentity;
}

/** Who is in, and what they may do. */
export interface LoginGrant {
  readonly allowed: true;
  readonly who: LoginIdentity;
  readonly rights: LoginRights;
}

/** A key that would do. It gives no rights: that its owner is there has not been shown. */
export interface LoginPossible {
  readonly allowed: true;
  readonly who: LoginIdentity;
}

/** An offer that was read. */
interface ReadOffer {
  readonly algorithm: SshAlgorithm;
  readonly key: SshPublicKey;
  readonly certificate?: SshCertificate;
}

/** Whether a key would do whose owner has not signed yet (a query, RFC 4252, section 7). Never throws. */
export function judgeOffer(offer: SshOffer, question: LoginQuestion): LoginPossible | LoginRefusal {
  return judged(offer, (read) => {
    const { who } = grantOf(read, question);
    return { allowed: true, who };
  });
}

/**
 * What somebody may do now who was let in before, with this key, and has shown then that it is theirs: a session is to end that is refused.
 * Never throws.
 */
export function judgeProven(offer: SshOffer, question: LoginQuestion): LoginGrant | LoginRefusal {
  return judged(offer, (read) => grantOf(read, question));
}

/**
 * Whether a client is let in: the key is authorized, and the signature is its owner's, of the algorithm that was named, with the touch and
 * the verification that the key's line or certificate demands. Never throws.
 */
export function judgeLogin(offer: SignedSshOffer, question: LoginQuestion): LoginGrant | LoginRefusal {
  return judged(offer, (read) => {
    const grant = grantOf(read, question);
    const { touchRequired, verifyRequired } = grant.rights;
    const verdict = verifySignature({
      key: read.key,
      signature: offer.signature,
      data: offer.data,
      algorithm: read.algorithm.signature,
      touchRequired,
      verifyRequired,
      p521: question.p521,
    });
    if (!verdict.valid) throw new SshFormatError(verdict.reason);
    return grant;
  });
}

/** `verdict` throws its reason. */
function judged<Verdict>(offer: SshOffer, verdict: (read: ReadOffer) => Verdict): Verdict | LoginRefusal {
  let who = unreadIdentity(offer);
  try {
    const read = readOffer(offer);
    who = identityOf(read);
    return verdict(read);
  } catch (error) {
    if (!(error instanceof SshFormatError)) throw error;
    return { allowed: false, reason: error.message, who };
  }
}

/** @throws {SshFormatError} with the reason */
function readOffer({ algorithm: name, blob }: SshOffer): ReadOffer {
  const algorithm = sshAlgorithm(name);
  if (algorithm === undefined) {
    throw new SshFormatError(`the algorithm ${JSON.stringify(name.slice(0, 64))} is not taken`);
  }
  const certificate = algorithm.isCertificate ? parseCertificate(blob) : undefined;
  const key = certificate?.key ?? parsePublicKey(blob);
  const [type, named] = certificate
    ? [certificate.type, certificateType(algorithm.keyType)]
    : [key.type, algorithm.keyType];
  if (type !== named) throw new SshFormatError(`the algorithm ${name} was named, and the key is of ${type}`);
  return { algorithm, key, ...certificate ? { certificate } : {} };
}

/** @throws {SshFormatError} with the reason why there is none */
function grantOf(read: ReadOffer, question: LoginQuestion): LoginGrant {
  for (const revocations of question.revocations) {
    const reason = revocationReason(revocations, read);
    if (reason !== undefined) throw new SshFormatError(reason);
  }
  const { certificate } = read;
  const wanted = certificate?.caKey ?? read.key;
  const fitting = question.authorized.filter(({ key, options }) =>
    key.base64 === wanted.base64 && options.certAuthority === (certificate !== undefined)
  );
  const refusals: SshFormatError[] = [];
  for (const entry of fitting) {
    try {
      return entryGrant(entry, { read, question });
    } catch (error) {
      if (!(error instanceof SshFormatError)) throw error;
      refusals.push(error);
    }
  }
  if (refusals[0] !== undefined) throw refusals[0];
  throw certificate ? untrustedCa(certificate) : new SshFormatError("the key is not authorized");
}

/** What one line gives. @throws {SshFormatError} with the reason why it gives nothing */
function entryGrant(
  { options, comment, key: ca }: AuthorizedKey,
  { read, question }: { readonly read: ReadOffer; readonly question: LoginQuestion },
): LoginGrant {
  const { nowMs, peerAddress, p521 } = question;
  const whose = read.certificate ? "the line of the certificate's CA" : "the line of the key";
  if (options.expiresAtMs !== undefined && nowMs > options.expiresAtMs) {
    throw new SshFormatError(`${whose} has expired at ${new Date(options.expiresAtMs).toISOString()}`);
  }
  if (options.from !== undefined && !matchesAddressPatterns(options.from, peerAddress)) {
    throw new SshFormatError(`${whose} is for ${JSON.stringify(options.from)}, not from ${peerAddress}`);
  }
  const who = { ...identityOf(read), ...comment === "" ? {} : { comment } };
  if (read.certificate === undefined) return { allowed: true, who, rights: rightsOfKey(options) };
  const principals = options.principals ?? question.principals;
  const verdict = judgeCertificate(read.certificate, { ca, principals, nowMs, peerAddress, p521 });
  if (!verdict.accepted) throw new SshFormatError(verdict.reason);
  const { principal } = verdict;
  return { allowed: true, who: { ...who, principal }, rights: rightsOfCertificate(options, verdict) };
}

function unreadIdentity({ algorithm, blob }: SshOffer): LoginIdentity {
  const kind = sshAlgorithm(algorithm)?.isCertificate ? "certificate" : "key";
  return { kind, algorithm: algorithm.slice(0, 64), fingerprint: sshFingerprint(blob) };
}

function identityOf({ algorithm, key, certificate }: ReadOffer): LoginIdentity {
  const identity = { algorithm: algorithm.name, fingerprint: sshFingerprint(key.blob) };
  if (certificate === undefined) return { kind: "key", ...identity };
  const { keyId, serial, caKey } = certificate;
  const ofCa = { keyId, serial: `${serial}`, caFingerprint: sshFingerprint(caKey.blob) };
  return { kind: "certificate", ...identity, ...ofCa };
}
