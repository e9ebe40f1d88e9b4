/**
 * Readers for the values of settings. In: the variable's name and its text. Out: the value, or the error that says what is wrong.
 *
 * Each one throws a `KrunError` `SettingInvalid` that names the variable, the fault and an example.
 *
 * @module
 */
import { parseIp } from "./ip_address.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";

/** A variable as it was set. */
export interface SettingText {
  /** Its name. */
  readonly env: string;
  /** Its value. */
  readonly text: string;
}

/** One of some words. @throws {KrunError} `SettingInvalid`. */
export function readChoice<Word extends string>({ env, text }: SettingText, words: readonly [Word, ...Word[]]): Word {
  const word = words.find((w) => w === text);
  if (word === undefined) {
    const list = words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
    throw settingInvalid(env, `${quoted(text)} is not ${list}`, words[0]);
  }
  return word;
}

/** `true` or `false`. @throws {KrunError} `SettingInvalid`. */
export function readBoolean(setting: SettingText): boolean {
  return readChoice(setting, ["true", "false"]) === "true";
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration in milliseconds: a number of seconds, or a number with one of the units ms, s, m, h. @throws {KrunError} `SettingInvalid`. */
export function readDurationMs({ env, text }: SettingText): number {
  const [, number, unit = "s"] = /^(\d+(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (number === undefined) {
    throw settingInvalid(env, `${quoted(text)} is not a duration in seconds, or with a unit ms, s, m, h`, "30s");
  }
  if (Number(number) >= 1e9) throw settingInvalid(env, `${quoted(text)} is too long a duration`, "30s");
  return Math.round(Number(number) * UNIT_MS[unit]!);
}

/** A duration that is a whole number of seconds. @throws {KrunError} `SettingInvalid`. */
export function readWholeSeconds(setting: SettingText): number {
  const seconds = readDurationMs(setting) / 1000;
  if (!Number.isInteger(seconds)) {
    throw settingInvalid(setting.env, `${quoted(setting.text)} is not a whole number of seconds`, "30s");
  }
  return seconds;
}

/** The number of a port, 1 to 65535; `undefined` when the text is none. */
export function portNumber(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

/** A port, 1 to 65535. @throws {KrunError} `SettingInvalid`. */
export function readPort({ env, text }: SettingText): number {
  const port = portNumber(text);
  if (port === undefined) throw settingInvalid(env, `${quoted(text)} is not a port from 1 to 65535`, "8080");
  return port;
}

/** User and group ids; 2^32 - 1 is no id (it means "unchanged" to the kernel). @throws {KrunError} `SettingInvalid`. */
export function readUser({ env, text }: SettingText): { uid: number; gid?: number } {
  const [, uid, gid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
  const ids = [uid, gid].filter((id) => id !== undefined).map(Number);
  if (uid === undefined || ids.some((id) => id >= 2 ** 32 - 1)) {
    throw settingInvalid(env, `${quoted(text)} is not uid or uid:gid, in numbers below 4294967295`, "1000:1000");
  }
  return gid === undefined ? { uid: Number(uid) } : { uid: Number(uid), gid: Number(gid) };
}

/** An address to listen on: host and port, an IPv6 address in brackets; port 0 is any free one. @throws {KrunError} `SettingInvalid`. */
export function readListenAddress(
  { env, text }: SettingText,
  example = "127.0.0.1:15099",
): { hostname: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]]+)):(\d+)$/.exec(text) ?? [];
  const hostname = bracketed ?? plain;
  if (hostname === "*") {
    throw settingInvalid(env, `${quoted(text)} names no address; all of them are 0.0.0.0, or [::]`, `0.0.0.0:${port}`);
  }
  if (hostname === undefined || Number(port) > 65535) {
    const tooLarge = hostname === undefined ? "" : ": its port is above 65535";
    throw settingInvalid(env, `${quoted(text)} is not address:port${tooLarge}`, example);
  }
  return { hostname, port: Number(port) };
}

/** An IP address, in canonical form. @throws {KrunError} `SettingInvalid`. */
export function readIpAddress({ env, text }: SettingText): string {
  const address = parseIp(text);
  if (!address) throw settingInvalid(env, `${quoted(text)} is not an IP address`, "127.0.0.1");
  return address.text;
}

/** Names separated by commas or blanks. */
export function readNames({ text }: SettingText): string[] {
  return text.split(/[\s,]+/).filter((name) => name !== "");
}
