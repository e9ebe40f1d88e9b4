/**
 * A `K8S_*` mount as a part of a Pod. In: the setting. Out: a volume, and where it is mounted.
 *
 * @module
 */
import type { V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import { CLOUD_PLATFORM, googleTokenAudience, type GoogleTokenRequest } from "./google_token.ts";
import { isGoogleMount, type MountSetting } from "./mount_setting.ts";

/** A volume and its one mount. */
export interface MountVolume {
  /** Its name is unique in the Pod. */
  readonly volume: V1Volume;
  /** Its `subPath` is set when one file is mounted. */
  readonly mount: V1VolumeMount;
}

/** Modes of files where a variable names none. Unlike in a Pod a Secret is not for the world: no container hides it here. */
const MODES = {
  Secret: 0o400,
  ConfigMap: 0o644,
  Token: 0o600,
  GoogleIdToken: 0o600,
  GoogleAccessToken: 0o600,
} as const;

/** What the API server fills in for a token. */
const EXPIRATION_SECONDS = 3600;

/** The volume and mount that a setting asks for; `taken` are the names of volumes that the Pod has already. */
export function mountVolume(setting: MountSetting, taken: readonly string[]): MountVolume {
  const { kind, object, path, key, optional, mode = MODES[setting.kind] } = setting;
  const name = volumeName(kind, { object, taken });
  const selection = {
    defaultMode: mode,
    ...(optional && { optional }),
    ...(key !== undefined && { items: [{ key, path: key }] }),
  };
  const file = kind === "Token" || isGoogleMount(setting) ? "token" : key;
  const mount = { name, mountPath: path, readOnly: true, ...(file !== undefined && { subPath: file }) };
  switch (kind) {
    case "Secret":
      return { volume: { name, secret: { secretName: object, ...selection } }, mount };
    case "ConfigMap":
      return { volume: { name, configMap: { name: object, ...selection } }, mount };
    case "Token": {
      const { expirationSeconds = EXPIRATION_SECONDS } = setting;
      const serviceAccountToken = { path: "token", expirationSeconds, ...(object !== "" && { audience: object }) };
      return { volume: { name, projected: { defaultMode: mode, sources: [{ serviceAccountToken }] } }, mount };
    }
    case "GoogleIdToken":
    case "GoogleAccessToken": {
      const audience = googleTokenAudience(googleRequest(setting));
      const serviceAccountToken = { path: "token", expirationSeconds: EXPIRATION_SECONDS, audience };
      return { volume: { name, projected: { defaultMode: mode, sources: [{ serviceAccountToken }] } }, mount };
    }
  }
}

/** What a mount of a Google token asks for. */
export function googleRequest({ kind, object, scopes = [CLOUD_PLATFORM] }: MountSetting): GoogleTokenRequest {
  return kind === "GoogleIdToken" ? { kind: "identity", audience: object } : { kind: "access", scopes };
}

const PREFIXES = {
  Secret: "secret",
  ConfigMap: "config-map",
  Token: "token",
  GoogleIdToken: "google-id-token",
  GoogleAccessToken: "google-access-token",
} as const;

/** A name that a person recognises: `secret-db`, and `secret-db-2` for the second mount of that Secret. */
function volumeName(
  kind: MountSetting["kind"],
  { object, taken }: { object: string; taken: readonly string[] },
): string {
  const plain = dnsLabelOf(`${PREFIXES[kind]}-${object}`, 58);
  let name = plain;
  for (let n = 2; taken.includes(name); n++) name = `${plain}-${n}`;
  return name;
}

/** The text as an RFC 1123 label of at most `length` characters: what does not fit becomes a dash. */
export function dnsLabelOf(text: string, length = 63): string {
  const dashed = text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return dashed.replace(/^-/, "").slice(0, length).replace(/-$/, "") || "x";
}
