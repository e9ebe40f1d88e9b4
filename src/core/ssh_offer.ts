/**
 * A public key that a client offers. In: what ssh2's server hands to its event `authentication`. Out: the same as it was on the wire
 * (RFC 4252, section 7).
 *
 * ssh2 1.17 (lib/protocol/handlers.misc.js, USERAUTH_REQUEST; lib/protocol/utils.js, sigSSHToASN1) names the algorithm of RSA in two
 * parts, takes the name off a signature that begins with the algorithm's, and turns the two numbers of ECDSA into ASN.1. A
 * certificate's signature, which bears the name of its key's algorithm, it leaves whole.
 *
 * @module
 */
import { isSecurityKey, sshAlgorithm } from "./ssh_algorithm.ts";
import { concatBytes, SshFormatError, SshReader, sshString } from "./ssh_wire.ts";

/** What of ssh2's context of the method `publickey` is looked at. */
export interface Ssh2PublicKeyContext {
  readonly key: { readonly algo: string; readonly data: Uint8Array };
  /** Of RSA: `sha256` or `sha512`. */
  readonly hashAlgo?: string | undefined;
  /** Unset: the client only asks whether the key would do. */
  readonly signature?: Uint8Array | undefined;
  /** What was signed. */
  readonly blob?: Uint8Array | undefined;
}

/** A key that is offered. */
export interface SshOffer {
  /** The name that the client wrote, as `rsa-sha2-512`. */
  readonly algorithm: string;
  /** The public key or certificate. */
  readonly blob: Uint8Array;
}

/** A key whose owner is there. */
export interface SignedSshOffer extends SshOffer {
  /** The whole signature, with the name of its algorithm. */
  readonly signature: Uint8Array;
  /** What was signed: the session's id and the request. */
  readonly data: Uint8Array;
}

/** What an authenticator adds to a signature: a byte and a uint32. */
const ASSERTION_BYTES = 5;

/**
 * The offer as the client wrote it; all bytes are copies. Never throws: what has no place in such a signature is one that nobody can have made.
 * Bytes behind the numbers of a plain ECDSA signature are lost in ssh2 already.
 */
export function sshOffer({ key, hashAlgo, signature, blob }: Ssh2PublicKeyContext): SshOffer | SignedSshOffer {
  const rsa = hashAlgo === "sha256" ? "rsa-sha2-256" : hashAlgo === "sha512" ? "rsa-sha2-512" : key.algo;
  const algorithm = key.algo === "ssh-rsa" ? rsa : key.algo;
  const offer = { algorithm, blob: key.data.slice() };
  if (signature === undefined || blob === undefined) return offer;
  return { ...offer, signature: wholeSignature(algorithm, signature), data: blob.slice() };
}

/** Whether an offer came with a signature. */
export function isSigned(offer: SshOffer | SignedSshOffer): offer is SignedSshOffer {
  return "signature" in offer;
}

function wholeSignature(name: string, rest: Uint8Array): Uint8Array {
  const algorithm = sshAlgorithm(name);
  if (algorithm === undefined || algorithm.isCertificate) return rest.slice();
  if (name.startsWith("ecdsa-")) return concatBytes(sshString(name), sshString(numbersOfAsn1(rest)));
  const end = isSecurityKey(algorithm.keyType) ? Math.max(0, rest.length - ASSERTION_BYTES) : rest.length;
  return concatBytes(sshString(name), sshString(rest.subarray(0, end)), rest.subarray(end));
}

/** Two `mpint` from a SEQUENCE of two INTEGER; nothing where it is none. */
function numbersOfAsn1(asn1: Uint8Array): Uint8Array {
  try {
    const sequence = new SshReader(asn1Value(new SshReader(asn1), 0x30));
    return concatBytes(sshString(asn1Value(sequence, 0x02)), sshString(asn1Value(sequence, 0x02)));
  } catch (error) {
    if (error instanceof SshFormatError) return new Uint8Array(0);
    throw error;
  }
}

function asn1Value(reader: SshReader, tag: number): Uint8Array {
  if (reader.uint8() !== tag) throw new SshFormatError("it is not the expected ASN.1");
  let length = reader.uint8();
  if (length > 0x80) length = reader.bytes(length & 0x7f).reduce((sum, byte) => sum * 256 + byte, 0);
  return reader.bytes(length);
}
