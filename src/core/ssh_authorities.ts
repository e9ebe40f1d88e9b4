/**
 * Who may log in, and by which keys the server is known. In: SSH_AUTH, the data of Secret `sshdebug`. Out: keys, authorities,
 * revocations, host keys, and what of it cannot be used.
 *
 * @module
 */
import { type AuthorizedKey, parseAuthorizedKeys } from "./ssh_authorized_keys.ts";
import { hasSecondKey, sortKeyText } from "./ssh_key_mistakes.ts";
import { parseRevokedKeys, type Revocations } from "./ssh_revocation.ts";
import { SSH_SECRET } from "./ssh_secret_names.ts";

/** A key, or an authority, and which line says so. */
export interface PlacedKey extends AuthorizedKey {
  /** In words, as `line 1 of SSH_AUTH`. */
  readonly where: string;
}

/** Who is authorized. */
export interface SshAuthorities {
  /** Keys, and authorities whose certificates are believed, those of SSH_AUTH first. */
  readonly authorized: readonly PlacedKey[];
  readonly revocations: readonly Revocations[];
  /** Texts of private keys for the server, by their names in the Secret. */
  readonly hostKeys: readonly { readonly name: string; readonly text: string }[];
  /** One line each, for the log: what cannot be used. */
  readonly warnings: readonly string[];
}

/** Reads both. `data` is the Secret's, base64; unset: there is none. Never throws. */
export function sshAuthorities(
  sshAuth: string | undefined,
  data: Readonly<Record<string, string>> | undefined,
): SshAuthorities {
  const authorized: PlacedKey[] = [];
  const revocations: Revocations[] = [];
  const hostKeys: { name: string; text: string }[] = [];
  const warnings: string[] = [];
  const take = (text: string, { where, certAuthority }: { where: string; certAuthority: boolean }) => {
    const { text: lines, faults } = sortKeyText(text);
    for (const fault of faults) warnings.push(`${where} ${fault}`);
    const { keys, refused } = parseAuthorizedKeys(lines, { certAuthority });
    const placed = keys.map((key) => ({ ...key, where: `line ${key.line} of ${where}` }));
    authorized.push(...placed);
    for (const { where, comment } of placed) {
      if (hasSecondKey(comment)) {
        warnings.push(`${where} has a second key behind the first: put each on a line of its own`);
      }
    }
    for (const { line, reason } of refused) warnings.push(`line ${line} of ${where} lets nobody in: ${reason}`);
  };
  if (sshAuth !== undefined) take(sshAuth, { where: "SSH_AUTH", certAuthority: false });
  for (const [name, base64] of Object.entries(data ?? {}).sort(([a], [b]) => a < b ? -1 : 1)) {
    const where = `key "${name}" of Secret "${SSH_SECRET}"`;
    const bytes = bytesOf(base64);
    if (!bytes) warnings.push(`${where} is no base64`);
    const text = new TextDecoder().decode(bytes);
    if (/^authorized_key(?:s$|_)/.test(name)) take(text, { where, certAuthority: false });
    else if (name === "SSHCA_PUB" || name.startsWith("ca_")) take(text, { where, certAuthority: true });
    else if (name === "revoked_keys") {
      const revoked = bytes ? parseRevokedKeys(bytes) : { everythingBecause: "it is no base64" };
      revocations.push(revoked);
      if ("everythingBecause" in revoked) {
        warnings.push(
          `${where} cannot be read, so that no key and no certificate lets in: ${revoked.everythingBecause}`,
        );
      }
    } else if (/^id_[a-z0-9_]+$/.test(name)) hostKeys.push({ name, text });
    else {warnings.push(
        `${where} is none that krun knows: authorized_keys, authorized_key_*, ca_*, SSHCA_PUB, revoked_keys, id_*`,
      );}
  }
  return { authorized, revocations, hostKeys, warnings };
}

/** An API server lets nothing else in; a folder of manifests holds what somebody wrote. */
function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
