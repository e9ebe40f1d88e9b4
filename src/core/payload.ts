/**
 * The files of one volume, before they are written.
 *
 * @module
 */

/** One file. */
export interface PayloadFile {
  readonly bytes: Uint8Array;
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
  /** Owner, when it is not krun's own user. */
  readonly uid?: number;
}

/** Cleaned relative path → file. A path has passed `cleanPayloadPath`. */
export type Payload = ReadonlyMap<string, PayloadFile>;
