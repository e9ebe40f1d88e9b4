/**
 * Which of the keys that are authorized can let anybody in. In: keys with their options, what is revoked, the time. Out: those that can, and
 * in words why the others cannot.
 *
 * What is said here a login is refused for as well (ssh_login.ts); here it is known before anybody comes.
 *
 * @module
 */
import { isSecurityKey } from "./ssh_algorithm.ts";
import { addressPatternReach } from "./ssh_address_pattern.ts";
import type { PlacedKey, SshAuthorities } from "./ssh_authorities.ts";
import { revocationReason } from "./ssh_revocation.ts";

/** Who can come. */
export interface SshProspects {
  /** Keys, and authorities whose certificates, may let somebody in now. */
  readonly logins: readonly PlacedKey[];
  /** One line each: which key lets nobody in, and what of one has no effect. */
  readonly warnings: readonly string[];
}

/** Sorts them. A list of revoked keys that cannot be read, of which {@linkcode SshAuthorities} warn, leaves none. */
export function sshProspects(
  { authorized, revocations }: Pick<SshAuthorities, "authorized" | "revocations">,
  nowMs: number,
): SshProspects {
  const logins: PlacedKey[] = [];
  const warnings: string[] = [];
  const isUnreadable = revocations.some((list) => "everythingBecause" in list);
  for (const key of authorized) {
    const barred = barredBecause(key, nowMs) ?? revokedBecause(key, { revocations });
    if (barred === undefined) logins.push(key);
    else if (!isUnreadable) warnings.push(`${key.where} lets nobody in: ${barred}`);
    if (barred === undefined) warnings.push(...deadEntries(key));
  }
  return { logins, warnings };
}

function revokedBecause({ key }: PlacedKey, { revocations }: Pick<SshAuthorities, "revocations">): string | undefined {
  const isRevoked = revocations.some((list) => revocationReason(list, { key }) !== undefined);
  return isRevoked ? "it is revoked" : undefined;
}

function barredBecause({ key, options }: PlacedKey, nowMs: number): string | undefined {
  const { expiresAtMs, from, verifyRequired, certAuthority } = options;
  if (expiresAtMs !== undefined && nowMs > expiresAtMs) return `it expired at ${new Date(expiresAtMs).toISOString()}`;
  const { letsIn, dead } = addressPatternReach(from ?? "*");
  if (!letsIn) {
    const why = dead.length > 0 ? ", for krun looks up no names" : ", where every entry begins with !";
    return `no address matches its from=${quoted(from ?? "")}${why}`;
  }
  // Of an authority it is the certificate's key that counts.
  if (verifyRequired && !certAuthority && !isSecurityKey(key.type)) {
    return 'its option "verify-required" asks for a security key (sk-), and it is none';
  }
  return undefined;
}

function deadEntries({ where, options: { from } }: PlacedKey): string[] {
  const { dead } = addressPatternReach(from ?? "*");
  if (dead.length === 0) return [];
  return [`${where}: no address matches ${quoted(dead.join())} of its from=, for krun looks up no names`];
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
