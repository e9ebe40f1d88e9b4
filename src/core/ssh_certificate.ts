/**
 * Certificates of OpenSSH. In: a certificate as it travels, and a signature's CA. Out: what it says, and whether it is good for a login.
 *
 * Rules: draft-miller-ssh-cert (once PROTOCOL.certkeys of OpenSSH), PROTOCOL.u2f for keys in an authenticator, and `sshkey_cert_check_authority`
 * of OpenSSH.
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";
import { certificateType, SSH_KEY_TYPES } from "./ssh_algorithm.ts";
import { matchesAddressList } from "./ssh_address_pattern.ts";
import {
  type CertificateOptions,
  parseCriticalOptions,
  parseExtensions,
  readNamedValues,
} from "./ssh_certificate_options.ts";
import {
  parsePublicKey,
  type PublicKeyOptions,
  readPublicKeyFields,
  sshFingerprint,
  type SshPublicKey,
} from "./ssh_public_key.ts";
import { type P521Verifier, verifySignature } from "./ssh_signature.ts";
import { SshFormatError, SshReader } from "./ssh_wire.ts";

/** A certificate that was read. Nothing of it is proven yet. */
export interface SshCertificate {
  /** As its blob names it, `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: string;
  /** Whose certificate it is. */
  readonly key: SshPublicKey;
  /** 0: the CA gives no numbers. */
  readonly serial: bigint;
  readonly isFor: "user" | "host";
  /** Free text of the CA, for logs. */
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since the epoch, inclusive. */
  readonly validAfter: bigint;
  /** Seconds since the epoch, exclusive. */
  readonly validBefore: bigint;
  /** Not taken apart yet. */
  readonly criticalOptions: Uint8Array;
  readonly extensions: Uint8Array;
  readonly caKey: SshPublicKey;
  /** What the CA has signed, and its signature. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** What a certificate is judged by. */
export interface CertificateQuestion {
  /** The CA that is believed: the certificate must be of this one. */
  readonly ca: SshPublicKey;
  /** One of them must be among the certificate's. */
  readonly principals: readonly string[];
  /** Ms since the epoch. */
  readonly nowMs: number;
  readonly peerAddress: string;
  readonly p521?: P521Verifier | undefined;
}

/** The answer, with the reason in words where it is no. */
export type CertificateVerdict =
  | {
    readonly accepted: true;
    /** The first of the certificate's principals that is accepted. */
    readonly principal: string;
    readonly options: CertificateOptions;
    /** Its end, ms since the epoch; unset: it has none. */
    readonly expiresAtMs?: number;
  }
  | { readonly accepted: false; readonly reason: string };

/** SSHKEY_CERT_MAX_PRINCIPALS of OpenSSH. */
const MOST_PRINCIPALS = 256;

/** PROTOCOL.certkeys: SSH_CERT_TYPE_USER, SSH_CERT_TYPE_HOST. */
const TYPES: Readonly<Record<number, SshCertificate["isFor"]>> = { 1: "user", 2: "host" };

/** Whether a blob says that it is a certificate. Never throws. */
export function isCertificateBlob(blob: Uint8Array): boolean {
  return certificateKeyType(blob) !== undefined;
}

/** Reads a certificate; the bytes are copied. The options are for its key and its CA's. @throws {SshFormatError} with the reason */
export function parseCertificate(blob: Uint8Array, options: PublicKeyOptions = {}): SshCertificate {
  const keyType = certificateKeyType(blob);
  if (keyType === undefined) throw new SshFormatError("it is no certificate of a type that is taken");
  const own = blob.slice();
  const reader = new SshReader(own);
  const type = reader.text();
  reader.string(); // the nonce
  const key = readPublicKeyFields(keyType, reader, options);
  const serial = reader.uint64();
  const isFor = TYPES[reader.uint32()];
  if (isFor === undefined) throw new SshFormatError("the certificate is neither a user's nor a host's");
  const keyId = text(reader);
  const principals = parsePrincipals(reader.string());
  const [validAfter, validBefore] = [reader.uint64(), reader.uint64()];
  const [criticalOptions, extensions] = [reader.string(), reader.string()];
  // What cannot be read makes the certificate unreadable, whoever has signed it.
  for (const values of [criticalOptions, extensions]) readNamedValues(values);
  reader.string(); // reserved
  const caKey = parseCaKey(reader.string(), options);
  const signed = own.subarray(0, reader.position);
  const signature = reader.string();
  if (!reader.isAtEnd) throw new SshFormatError("bytes follow the certificate");
  const validity = { validAfter, validBefore };
  const rest = { criticalOptions, extensions, caKey, signed, signature };
  return { type, key, serial, isFor, keyId, principals, ...validity, ...rest };
}

/**
 * Judges a certificate for a login. An empty list of principals, which once meant every one, is refused, as OpenSSH does everywhere since 10.3.
 * Whether it or its CA is revoked is not looked at. Never throws.
 */
export function judgeCertificate(certificate: SshCertificate, question: CertificateQuestion): CertificateVerdict {
  try {
    return acceptedCertificate(certificate, question);
  } catch (error) {
    if (!(error instanceof SshFormatError)) throw error;
    return { accepted: false, reason: error.message };
  }
}

/** @throws {SshFormatError} with the reason, when it is not accepted */
function acceptedCertificate(certificate: SshCertificate, question: CertificateQuestion): CertificateVerdict {
  const { validAfter, validBefore, caKey: key, signed: data, signature } = certificate;
  if (key.base64 !== question.ca.base64) throw untrustedCa(certificate);
  // The CA's own authenticator need not have been touched: OpenSSH looks at its signature only.
  const verdict = verifySignature({ key, data, signature, touchRequired: false, p521: question.p521 });
  if (!verdict.valid) throw new SshFormatError(`the certificate is forged: ${verdict.reason}`);
  if (certificate.isFor !== "user") throw new SshFormatError("the certificate is a host's, and no user's");
  const now = BigInt(Math.floor(question.nowMs / 1000));
  if (now < validAfter) throw new SshFormatError(`the certificate is not valid before ${instant(validAfter)}`);
  if (now >= validBefore) throw new SshFormatError(`the certificate has expired at ${instant(validBefore)}`);
  const principal = acceptedPrincipal(certificate, question.principals);
  const options = {
    ...parseCriticalOptions(certificate.criticalOptions),
    ...parseExtensions(certificate.extensions),
  };
  if (options.sourceAddress !== undefined && !matchesAddressList(options.sourceAddress, question.peerAddress)) {
    throw new SshFormatError(
      `the certificate is for ${JSON.stringify(options.sourceAddress)}, not from ${question.peerAddress}`,
    );
  }
  const end = instantMs(validBefore);
  return { accepted: true, principal, options, ...end === undefined ? {} : { expiresAtMs: end } };
}

/** The refusal of a certificate whose CA nobody trusts. */
export function untrustedCa({ caKey }: SshCertificate): SshFormatError {
  return new SshFormatError(`the certificate's CA ${sshFingerprint(caKey.blob)} is not trusted`);
}

function acceptedPrincipal({ principals }: SshCertificate, accepted: readonly string[]): string {
  if (principals.length === 0) throw new SshFormatError("the certificate has no principals");
  const principal = principals.find((name) => accepted.includes(name));
  if (principal !== undefined) return principal;
  const [has, wanted] = [principals, accepted].map((names) => JSON.stringify(names.slice(0, 8)));
  throw new SshFormatError(`none of the certificate's principals ${has} is among ${wanted}`);
}

function certificateKeyType(blob: Uint8Array) {
  try {
    const name = new SshReader(blob).text();
    return SSH_KEY_TYPES.find((type) => certificateType(type) === name);
  } catch (error) {
    if (error instanceof SshFormatError) return undefined;
    throw error;
  }
}

function parseCaKey(blob: Uint8Array, options: PublicKeyOptions): SshPublicKey {
  try {
    return parsePublicKey(blob, options);
  } catch (cause) {
    if (!(cause instanceof SshFormatError)) throw cause;
    throw new SshFormatError(`the key of the certificate's CA: ${cause.message}`, { cause });
  }
}

function parsePrincipals(bytes: Uint8Array): string[] {
  const reader = new SshReader(bytes);
  const principals: string[] = [];
  while (!reader.isAtEnd) principals.push(text(reader));
  if (principals.length > MOST_PRINCIPALS) {
    throw new SshFormatError(`the certificate has more than ${MOST_PRINCIPALS} principals`);
  }
  return principals;
}

/** A name is any bytes, but none that would end it for a program in C. */
function text(reader: SshReader): string {
  const bytes = reader.string();
  if (bytes.includes(0)) throw new SshFormatError("a name in the certificate has a NUL");
  return textOfBytes(bytes);
}

function instant(seconds: bigint): string {
  const ms = instantMs(seconds);
  return ms === undefined ? `second ${seconds}` : new Date(ms).toISOString();
}

/** ECMA-262: the last instant of a Date. What ends later ends never. */
const LAST_MS = 8_640_000_000_000_000n;

function instantMs(seconds: bigint): number | undefined {
  const ms = seconds * 1000n;
  return ms > LAST_MS ? undefined : Number(ms);
}
