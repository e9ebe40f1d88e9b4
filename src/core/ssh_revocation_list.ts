/**
 * A list of what is revoked, whatever file it came from.
 *
 * @module
 */

/** What is revoked. */
export interface RevocationList {
  /** Blobs of keys, base64. */
  readonly keys: ReadonlySet<string>;
  /** SHA-1 of blobs, hex. */
  readonly sha1: ReadonlySet<string>;
  /** Fingerprints, `SHA256:...`. */
  readonly sha256: ReadonlySet<string>;
  readonly certificates: readonly RevokedCertificates[];
}

/** Certificates of one CA, or of every CA. */
export interface RevokedCertificates {
  /** The blob of the CA's key, base64. @default {every CA} */
  readonly ca?: string;
  /** Serial numbers, both ends inclusive. */
  readonly ranges: { readonly first: bigint; readonly last: bigint }[];
  /** Bit N, counted from the end of the bytes, is the serial number `offset` + N. */
  readonly bitmaps: { readonly offset: bigint; readonly bits: Uint8Array }[];
  readonly keyIds: Set<string>;
}

/** The certificates of a CA (`undefined`: of every CA) in a list that is being made; they are added where there are none. */
export function addCertificates(list: RevokedCertificates[], ca: string | undefined): RevokedCertificates {
  const found = list.find((certificates) => certificates.ca === ca);
  if (found !== undefined) return found;
  const added = { ...ca === undefined ? {} : { ca }, ranges: [], bitmaps: [], keyIds: new Set<string>() };
  list.push(added);
  return added;
}
