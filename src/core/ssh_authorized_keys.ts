/**
 * Who is authorized. In: a text in the format of authorized_keys. Out: its keys with their options, and the lines that give nobody access.
 *
 * Rule: sshd(8), AUTHORIZED_KEYS FILE FORMAT, but for what {@linkcode parseKeyOptions} and {@linkcode parsePublicKey} refuse.
 *
 * @module
 */
import { NO_KEY_OPTIONS, optionsEnd, parseKeyOptions, type SshKeyOptions } from "./ssh_key_options.ts";
import { mistakenLine } from "./ssh_key_mistakes.ts";
import { parsePublicKeyLine, type SshPublicKey } from "./ssh_public_key.ts";
import { SshFormatError } from "./ssh_wire.ts";

/** A key that may come in, or a CA whose certificates may. */
export interface AuthorizedKey {
  /** Where it stands, from 1 on. */
  readonly line: number;
  readonly key: SshPublicKey;
  /** What follows the key; empty without. */
  readonly comment: string;
  readonly options: SshKeyOptions;
}

/** A line that is not used. */
export interface RefusedLine {
  readonly line: number;
  /** In words, for the log. */
  readonly reason: string;
}

/** What a text holds. */
export interface AuthorizedKeys {
  /** In the order of the lines: the first that fits a login counts. */
  readonly keys: readonly AuthorizedKey[];
  readonly refused: readonly RefusedLine[];
}

/** Options of {@linkcode parseAuthorizedKeys}. */
export interface AuthorizedKeysOptions {
  /** Whether every key is that of a CA, as in the file of sshd's `TrustedUserCAKeys`. @default {false} */
  readonly certAuthority?: boolean;
}

/** Reads a text. Never throws: a line that cannot be used is among `refused`, and the others are good. */
export function parseAuthorizedKeys(
  text: string,
  { certAuthority = false }: AuthorizedKeysOptions = {},
): AuthorizedKeys {
  const keys: AuthorizedKey[] = [];
  const refused: RefusedLine[] = [];
  for (const [index, written] of text.split("\n").entries()) {
    const content = written.trim();
    if (content === "" || content.startsWith("#")) continue;
    const line = index + 1;
    try {
      keys.push({ line, ...authorizedKey(content, { ...NO_KEY_OPTIONS, certAuthority }) });
    } catch (error) {
      if (!(error instanceof SshFormatError)) throw error;
      refused.push({ line, reason: mistakenLine(content) ?? error.message });
    }
  }
  return { keys, refused };
}

/** As every key begins in base64: with the length of its type's name, of which the first two bytes are 0. */
const KEY_FIRST = /^[\w.@-]+[ \t]+AAAA/;

function authorizedKey(content: string, defaults: SshKeyOptions): Omit<AuthorizedKey, "line"> {
  if (KEY_FIRST.test(content)) return { ...parsePublicKeyLine(content), options: defaults };
  const end = optionsEnd(content);
  const key = parsePublicKeyLine(content.slice(end).trimStart());
  return { ...key, options: parseKeyOptions(content.slice(0, end), defaults) };
}
