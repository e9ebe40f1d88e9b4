/**
 * One `K8S_SECRET_*`, `K8S_CM_*`, `K8S_TOKEN_*`, `GCP_ID_TOKEN_*` or `GCP_ACCESS_TOKEN` variable: name and value go in, what to mount where comes out.
 *
 * ```
 * VALUE  := [ OBJECT ":" ] PATH [ "?" OPTION { "&" OPTION } ]
 * OPTION := "mode=0400" | "optional=true" | "key=tls.crt" | "expirationSeconds=600"
 * ```
 * Without OBJECT the rest of the variable's name is the object's name, or the token's audience. A value that begins with
 * one `/` or with `.`, or that has no colon, has no OBJECT. Otherwise PATH begins after the last `:` before a path that shows
 * itself by `/` (not `//`), `./` or `../`; if there is none, after the last colon. So an audience may hold `://` and ports.
 * The options begin at the first `?` of the path. Paths of Google's tokens show themselves in any case: such a name may hold a
 * token itself, for the program, which must not become a file's name, nor a part of an error.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { readScopes } from "./google_token.ts";
import { isDataKey, isDnsSubdomain } from "./object_name.ts";
import { printable, quoted, settingInvalid } from "./setting_invalid.ts";

/** What is mounted: a Secret, a ConfigMap, a token of the workload's service account, or one of Google's. */
export type MountKind = "Secret" | "ConfigMap" | "Token" | "GoogleIdToken" | "GoogleAccessToken";

/** One mount that a variable asks for. */
export interface MountSetting {
  /** The variable that asks, for errors and `--check`. */
  readonly env: string;
  /** What is mounted. */
  readonly kind: MountKind;
  /**
   * Name of the Secret or ConfigMap, in the workload's namespace; for a token its audience (empty: the API server's own; a Google
   * access token has none).
   */
  readonly object: string;
  /** As it was written: relative means below the base. A folder; with `key`, and for a token, one file. */
  readonly path: string;
  /** The one key that becomes the file `path`. Never set for a token. */
  readonly key?: string;
  /** Permission bits of its files, 0 to 0o777. Unset: 0o400 for a Secret, 0o644 for a ConfigMap. Never set for a token. */
  readonly mode?: number;
  /** Its absence is no failure. Always false for a token. */
  readonly optional: boolean;
  /** Seconds of life to ask for, 600 to 2^32. Only for a token; unset: 3600. */
  readonly expirationSeconds?: number;
  /** Only for a Google access token; unset: everything that IAM allows. */
  readonly scopes?: readonly string[];
}

/** The kinds that no cluster gives. */
export const GOOGLE_KINDS: readonly MountKind[] = ["GoogleIdToken", "GoogleAccessToken"];

/** Whether a mount is a token of Google's. */
export function isGoogleMount({ kind }: Pick<MountSetting, "kind">): boolean {
  return GOOGLE_KINDS.includes(kind);
}

/** What the beginning of a variable's name says. */
interface MountFamily {
  readonly prefix: string;
  /** The whole name is that. @default {false} */
  readonly isWhole?: boolean;
  readonly kind: MountKind;
  readonly options: readonly OptionName[];
  /** Why it has not an option that others have. */
  readonly refuses?: Partial<Record<string, string>>;
  /** A path as one would write it, for messages. */
  readonly example: string;
}

const FAMILIES: readonly MountFamily[] = [
  { prefix: "K8S_SECRET_", kind: "Secret", options: ["mode", "optional", "key"], example: "/etc/db" },
  { prefix: "K8S_CM_", kind: "ConfigMap", options: ["mode", "optional", "key"], example: "/etc/app" },
  {
    prefix: "K8S_TOKEN_",
    kind: "Token",
    options: ["expirationSeconds"],
    refuses: {
      mode: "its file is always 0600 and its reader's",
      optional: "a token is granted, or the start fails",
      key: "a token is one file already",
    },
    example: "/var/run/secrets/tokens/my-token",
  },
  {
    prefix: "GCP_ID_TOKEN_",
    kind: "GoogleIdToken",
    options: [],
    refuses: { mode: "its file is always 0600 and its reader's" },
    example: "/var/run/secrets/google/id-token",
  },
  {
    prefix: "GCP_ACCESS_TOKEN",
    isWhole: true,
    kind: "GoogleAccessToken",
    options: ["scopes"],
    refuses: { mode: "its file is always 0600 and its reader's" },
    example: "/var/run/secrets/google/access-token",
  },
];

/** Options of the query: how the text is read (`undefined`: it cannot be), and what it should have been. */
const OPTIONS = {
  mode: { read: readMode, wanted: "an octal number from 0 to 0777", example: "0400" },
  optional: { read: readBoolean, wanted: "true or false", example: "true" },
  key: { read: readKey, wanted: "a key of a Secret or ConfigMap", example: "tls.crt" },
  scopes: { read: readScopes, wanted: "scopes, separated by commas", example: "cloud-platform" },
  expirationSeconds: { read: readExpiration, wanted: "a whole number from 600 to 4294967296", example: "3600" },
} as const;

type OptionName = keyof typeof OPTIONS;
type Options = Partial<Pick<MountSetting, OptionName>>;

/** Whether a variable's name is that of a mount. */
export function isMountSetting(env: string): boolean {
  return familyOf(env) !== undefined;
}

/**
 * Reads one variable; `undefined` when its name is not that of a mount.
 *
 * @throws {KrunError} `SettingInvalid` for a value, an object name or an option that cannot be read; `PathInvalid` for a path
 * with a `..` element or a NUL.
 *
 * @example
 * ```ts
 * import { parseMountSetting } from "./mount_setting.ts";
 * import assert from "node:assert/strict";
 *
 * const mount = parseMountSetting("K8S_TOKEN_vault", "https://vault:8200:./vault.jwt?expirationSeconds=600");
 * assert.equal(mount?.object, "https://vault:8200");
 * assert.equal(mount?.path, "./vault.jwt");
 * ```
 */
export function parseMountSetting(env: string, value: string): MountSetting | undefined {
  const family = familyOf(env);
  if (!family) return undefined;
  const isGoogle = isGoogleMount(family);
  const { object = env.slice(family.prefix.length), place } = splitObject(value);
  if (isGoogle && !/^(\/(?!\/)|\.\.?\/)/.test(place)) {
    const audience = /^(https?:\/\/.+?)\/?$/.exec(value)?.[1];
    const example = audience === undefined ? family.example : `${audience}:${family.example}`;
    throw settingInvalid(env, "it holds no path that begins with / or ./", example);
  }
  const [path, query] = splitOnce(place, "?");
  if (path === "" || path.startsWith("//")) {
    throw settingInvalid(
      env,
      `${quoted(value)} holds no path`,
      family.kind === "Token" ? `my-audience:${family.example}` : family.example,
    );
  }
  checkObject(env, { family, object, path });
  const options = readOptions(env, { family, path, query });
  checkPath(env, { path, query, isFile: family.kind === "Token" || isGoogle || options.key !== undefined });
  return { env, kind: family.kind, object, path, optional: false, ...options };
}

/** A colon before what looks like a path; not the one of `://`. */
const PATH_START = /:(?=\/(?!\/)|\.\.?\/)/g;

function familyOf(env: string): MountFamily | undefined {
  return FAMILIES.find(({ prefix, isWhole }) => isWhole ? env === prefix : env.startsWith(prefix));
}

function splitObject(value: string): { object?: string; place: string } {
  if (/^(\.|\/(?!\/))/.test(value) || !value.includes(":")) return { place: value };
  const at = [...value.matchAll(PATH_START)].at(-1)?.index ?? value.lastIndexOf(":");
  return { object: value.slice(0, at), place: value.slice(at + 1) };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Any text is an audience; the other names have a form. */
function checkObject(
  env: string,
  { family, object, path }: { family: MountFamily; object: string; path: string },
): void {
  if (family.kind === "GoogleAccessToken" && object !== "") {
    throw settingInvalid(env, "an access token has no audience", family.example);
  }
  if (family.kind === "GoogleIdToken" && object === "") {
    throw settingInvalid(env, "it names no audience", `https://api.example:${path}`);
  }
  if (family.kind === "Token" || isGoogleMount(family) || isDnsSubdomain(object)) return;
  const likely = object.toLowerCase().replaceAll("_", "-");
  throw settingInvalid(
    env,
    `${quoted(object)} is not the name of a ${family.kind}`,
    `${isDnsSubdomain(likely) ? likely : "my-object"}:${path}`,
  );
}

function readOptions(
  env: string,
  { family, path, query }: { family: MountFamily; path: string; query: string },
): Options {
  const options: Record<string, unknown> = {};
  for (const [name, text] of new URLSearchParams(query)) {
    const known = family.options.find((option) => option === name);
    if (!known) {
      const [first] = family.options;
      const why = Object.hasOwn(family.refuses ?? {}, name) ? family.refuses?.[name] : undefined;
      const reason = why === undefined ? "" : `: ${why}`;
      throw settingInvalid(
        env,
        `${quoted(name)} is no option of a ${family.kind} mount (known: ${
          family.options.join(", ") || "none"
        })${reason}`,
        first === undefined ? path : `${path}?${first}=${OPTIONS[first].example}`,
      );
    }
    const { read, wanted, example } = OPTIONS[known];
    const fault = `its option ${known} is ${quoted(text)}, not ${wanted}`;
    if (Object.hasOwn(options, known)) {
      throw settingInvalid(env, `its option ${known} is there twice`, `${path}?${known}=${example}`);
    }
    const option = read(text);
    if (option === undefined) throw settingInvalid(env, fault, `${path}?${known}=${example}`);
    options[known] = option;
  }
  return options;
}

function checkPath(env: string, { path, query, isFile }: { path: string; query: string; isFile: boolean }): void {
  const last = path.split("/").at(-1);
  if (isFile && (last === "" || last === ".")) {
    throw settingInvalid(
      env,
      `${quoted(path)} is a folder, and one file is mounted`,
      `${path.replace(/\/?\.?$/, "")}/my-file${query && `?${query}`}`,
    );
  }
  if (!path.split("/").includes("..") && !path.includes("\0")) return;
  throw new KrunError(
    "PathInvalid",
    `Cannot mount at ${quoted(path)} (${printable(env)}): the path leaves its folder or holds a NUL`,
    "give a path without .. below the base folder",
  );
}

function readMode(text: string): number | undefined {
  const mode = parseInt(text, 8);
  return /^[0-7]{1,4}$/.test(text) && mode <= 0o777 ? mode : undefined;
}

function readBoolean(text: string): boolean | undefined {
  return text === "true" ? true : text === "false" ? false : undefined;
}

function readKey(text: string): string | undefined {
  return isDataKey(text) ? text : undefined;
}

/** Limits of TokenRequest: pkg/apis/authentication/validation/validation.go (v1.34.4). */
function readExpiration(text: string): number | undefined {
  const seconds = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  return seconds >= 600 && seconds <= 2 ** 32 ? seconds : undefined;
}
