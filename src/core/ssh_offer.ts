/**
 * A public key that a client offers, as it was on the wire. Rules: RFC 4252, section 7.
 *
 * @module
 */

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
