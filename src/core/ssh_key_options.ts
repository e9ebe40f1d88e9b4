/**
 * The options before a key in authorized_keys. In: their text. Out: what they allow.
 *
 * Rule: sshd(8), AUTHORIZED_KEYS FILE FORMAT. `environment=`, `tunnel=` and whatever is unknown refuse the key, and so does what is not
 * written as it should be.
 *
 * @module
 */
import { nearestName } from "./nearest_name.ts";
import { addressPatternsFault } from "./ssh_address_pattern.ts";
import { type ForwardPermit, parsePermitListen, parsePermitOpen, permitText } from "./ssh_forward_permit.ts";
import { SshFormatError } from "./ssh_wire.ts";

/** What the options of a key say. */
export interface SshKeyOptions {
  /** The key signs certificates, and opens nothing itself. */
  readonly certAuthority: boolean;
  /** Of a CA: a certificate needs one of these principals, and no other. @default {what the server accepts} */
  readonly principals?: readonly string[];
  /** What is run whatever the client asks for; may be empty, which is not the same as unset. */
  readonly forcedCommand?: string;
  /** For {@linkcode matchesAddressPatterns}. @default {from anywhere} */
  readonly from?: string;
  /** The last instant at which the key is good, ms since the epoch. @default {for ever} */
  readonly expiresAtMs?: number;
  readonly pty: boolean;
  readonly portForwarding: boolean;
  /** @default {anywhere} */
  readonly permitOpen?: readonly ForwardPermit[];
  /** @default {anywhere} */
  readonly permitListen?: readonly ForwardPermit[];
  /** Of a key in an authenticator. */
  readonly touchRequired: boolean;
  readonly verifyRequired: boolean;
}

/** What a key without options may. */
export const NO_KEY_OPTIONS: SshKeyOptions = {
  certAuthority: false,
  pty: true,
  portForwarding: true,
  touchRequired: true,
  verifyRequired: false,
};

/** What the options take away, in words; empty where they take nothing. */
export function limitsInWords(options: SshKeyOptions, nowMs: number): string[] {
  const { principals, forcedCommand, from, expiresAtMs, pty, portForwarding, permitOpen, permitListen } = options;
  const words: string[] = [];
  if (expiresAtMs !== undefined) {
    words.push(`${expiresAtMs < nowMs ? "expired at" : "until"} ${new Date(expiresAtMs).toISOString()}`);
  }
  if (principals) words.push(`for ${principals.join(" or ")}`);
  if (from !== undefined) words.push(`from ${from}`);
  if (forcedCommand !== undefined) words.push("one command only");
  if (!pty) words.push("no terminal");
  if (!portForwarding) words.push("no forwards");
  else {
    if (permitOpen) words.push(`forwards to ${permitOpen.map(permitText).join(" or ")} alone`);
    if (permitListen) words.push(`listens at ${permitListen.map(permitText).join(" or ")} alone`);
  }
  return words;
}

/** What krun never gives has no effect, wherever it is allowed or forbidden. */
const NOTHING = {};

const RESTRICT: Partial<SshKeyOptions> = { pty: false, portForwarding: false };

type Change = Partial<SshKeyOptions>;

/** Options without a value. `no-` and the last word count. */
const FLAGS: Readonly<Record<string, Change>> = {
  "restrict": RESTRICT,
  "cert-authority": { certAuthority: true },
  ...bothWays("pty", (pty) => ({ pty })),
  ...bothWays("port-forwarding", (portForwarding) => ({ portForwarding })),
  ...bothWays("touch-required", (touchRequired) => ({ touchRequired })),
  ...bothWays("verify-required", (verifyRequired) => ({ verifyRequired })),
  ...bothWays("agent-forwarding", () => NOTHING),
  ...bothWays("x11-forwarding", () => NOTHING),
  ...bothWays("user-rc", () => NOTHING),
};

/** Options with a value, and what they change. */
const VALUES: Readonly<Record<string, (value: string, before: SshKeyOptions) => Change>> = {
  "command": (forcedCommand, before) => once(before.forcedCommand, { forcedCommand }),
  "from": (from, before) => once(before.from, { from: addressPatterns(from) }),
  "principals": (list, before) => once(before.principals, { principals: names(list) }),
  "expiry-time": (text, { expiresAtMs = Infinity }) => ({ expiresAtMs: Math.min(expiresAtMs, parseExpiryTime(text)) }),
  "permitopen": (text, { permitOpen = [] }) => ({ permitOpen: [...permitOpen, parsePermitOpen(text)] }),
  "permitlisten": (text, { permitListen = [] }) => ({ permitListen: [...permitListen, parsePermitListen(text)] }),
};

/**
 * Reads options, separated by commas. Names are the same in any case. `restrict` takes everything away that comes before it; what comes
 * after it gives back. Of more than one `expiry-time` the earliest counts.
 *
 * @throws {SshFormatError} with the reason, when the key must not be used
 */
export function parseKeyOptions(text: string, defaults: SshKeyOptions = NO_KEY_OPTIONS): SshKeyOptions {
  let options = defaults;
  for (const { name, value } of splitOptions(text)) {
    const key = name.toLowerCase();
    const change = value === undefined ? own(FLAGS, key) : own(VALUES, key);
    if (change === undefined) throw new SshFormatError(optionFault(name, key));
    try {
      options = { ...options, ...typeof change === "function" ? change(value!, options) : change };
    } catch (cause) {
      if (!(cause instanceof SshFormatError)) throw cause;
      throw new SshFormatError(`its option ${JSON.stringify(name)}: ${cause.message}`, { cause });
    }
  }
  if (options.principals && !options.certAuthority) {
    throw new SshFormatError('its option "principals" is one for a CA, and "cert-authority" is not there');
  }
  return options;
}

/** Why an option is none. It may be one of the others, those with a value and those without. */
function optionFault(name: string, key: string): string {
  const option = `its option ${JSON.stringify(name)}`;
  if (Object.hasOwn(FLAGS, key)) return `${option} takes no value`;
  if (Object.hasOwn(VALUES, key)) return `${option} wants a value, as ${key}="..."`;
  // Longer than any of them; to compare takes time with each letter.
  const nearest = key.length > 32 ? undefined : nearestName(key, [...Object.keys(FLAGS), ...Object.keys(VALUES)]);
  const instead = nearest === undefined ? "" : `; the nearest that it does is ${nearest}`;
  return `${option} is not one that krun honours${instead} (docs/ssh.md has all)`;
}

/**
 * Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with or without `Z` (or `UTC`) behind it: ms since the epoch. Without it too the time
 * is UTC, not the machine's as for sshd: containers mostly have no time zone, and the same Secret means the same everywhere.
 *
 * @throws {SshFormatError} where it is none
 */
export function parseExpiryTime(text: string): number {
  const digits = /^(\d{8}|\d{12}|\d{14})(?:Z|UTC)?$/i.exec(text)?.[1];
  const padded = digits?.padEnd(14, "0").replace(/^(....)(..)(..)(..)(..)(..)$/, "$1-$2-$3T$4:$5:$6.000Z");
  const ms = Date.parse(padded ?? "");
  // The second half: 20310231 would be the third of March.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== padded) {
    throw new SshFormatError(`${JSON.stringify(text.slice(0, 64))} is no time, as 20310506 or 203105061230Z`);
  }
  return ms;
}

/** Where the options at the front of a line end: at the first space that no quotes hold. @throws {SshFormatError} without a last quote */
export function optionsEnd(line: string): number {
  let isQuoted = false;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === "\\" && line[at + 1] === '"') at++;
    else if (line[at] === '"') isQuoted = !isQuoted;
    else if (!isQuoted && (line[at] === " " || line[at] === "\t")) return at;
  }
  if (isQuoted) throw new SshFormatError("a quote in its options has no end");
  return line.length;
}

/** One option. Unset: it has no value. */
interface WrittenOption {
  readonly name: string;
  readonly value?: string;
}

function splitOptions(text: string): WrittenOption[] {
  // In quotes, a backslash means something before a quote only.
  const option = /([^=,"\s]+)(?:="((?:[^"\\]|\\"|\\(?!"))*)")?(?:,(?!$)|$)/y;
  const options: WrittenOption[] = [];
  while (option.lastIndex < text.length) {
    const start = option.lastIndex;
    const [, name, value] = option.exec(text) ?? [];
    if (name === undefined) {
      const rest = JSON.stringify(text.slice(start, start + 32));
      throw new SshFormatError(`its options cannot be read from ${rest} on`);
    }
    options.push(value === undefined ? { name } : { name, value: value.replaceAll('\\"', '"') });
  }
  return options;
}

function bothWays(name: string, change: (given: boolean) => Change): Record<string, Change> {
  return { [name]: change(true), [`no-${name}`]: change(false) };
}

function own<Value>(table: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function once(before: unknown, change: Change): Change {
  if (before !== undefined) throw new SshFormatError("it is given twice");
  return change;
}

function addressPatterns(from: string): string {
  const fault = addressPatternsFault(from);
  if (fault !== undefined) throw new SshFormatError(fault);
  return from;
}

function names(list: string): string[] {
  const all = list.split(",");
  if (all.includes("")) throw new SshFormatError("a principal is empty");
  return all;
}
