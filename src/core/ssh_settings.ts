/**
 * What variables say of the debug SSH server. In: the process environment. Out: values, as they were set.
 *
 * @module
 */
import type { Identity } from "./identity.ts";
import type { Env } from "./pod_inputs.ts";
import { SSH_PORT } from "./hbone_target.ts";
import { readBoolean, readDurationMs, readListenAddress, readNames, type SettingText } from "./setting_value.ts";
import type { SettingName } from "./settings_table.ts";

/** The variables of the debug SSH server, as they were set. */
export interface SshSettings {
  /** KRUN_SSH is `-`. */
  readonly off: boolean;
  /** KRUN_SSH, where it is an address. */
  readonly listen?: { readonly hostname: string; readonly port: number } | undefined;
  /** SSH_AUTH: lines of an authorized_keys file. */
  readonly authorizedKeys?: string | undefined;
  /** KRUN_SSH_RBAC. */
  readonly rbac: boolean;
  /** KRUN_SSH_PRINCIPALS; unset: the workload's name and its namespace. */
  readonly principals?: readonly string[] | undefined;
  /** KRUN_SSH_IDLE_TIMEOUT, in milliseconds; 0: none. */
  readonly idleTimeoutMs: number;
}

/** As the kubelet's `streamingConnectionIdleTimeout`. */
const IDLE_TIMEOUT_MS = 4 * 3_600_000;

/** How the variables are read: by names of the table. */
export interface SshVariables {
  text(name: SettingName): string | undefined;
  read<T>(name: SettingName, reader: (setting: SettingText) => T): T | undefined;
}

/** Where an ssh server is expected on 127.0.0.1, krun's or another. */
export function sshPort({ listen }: Pick<SshSettings, "listen">): number {
  return listen?.port || SSH_PORT;
}

/** The setting that asks for a server, the most telling one; `undefined`: the Secret alone does. */
export function sshAskedBy({ listen, authorizedKeys, rbac }: SshSettings): string | undefined {
  return listen ? "KRUN_SSH" : authorizedKeys !== undefined ? "SSH_AUTH" : rbac ? "KRUN_SSH_RBAC" : undefined;
}

/** Whether there may be a server: something asks for one, or the Secret yet may. Where nobody may log in, who has asked is told so. */
export function mayHaveSsh(ssh: SshSettings, { hasCluster }: { readonly hasCluster: boolean }): boolean {
  return !ssh.off && (hasCluster || sshAskedBy(ssh) !== undefined);
}

/** Names of which a user's certificate must have one, where its authority's line has none of its own. */
export function sshPrincipals(
  { principals }: Pick<SshSettings, "principals">,
  { name, namespace }: Pick<Identity, "name" | "namespace">,
): readonly string[] {
  return principals ?? [...new Set([name.value, namespace.value])];
}

/** What of them is an oversight, one line each: `SSH_AUTH="$(cat KEY.pub)"` is empty where there is no such file. */
export function sshWarnings({ off }: Pick<SshSettings, "off">, { SSH_AUTH }: Env): string[] {
  return SSH_AUTH !== "" || off
    ? []
    : ["SSH_AUTH is set and empty, so it lets nobody in: give it a public key, or unset it"];
}

/** Reads them. @throws {KrunError} `SettingInvalid` */
export function readSsh({ text, read }: SshVariables): SshSettings {
  const off = text("KRUN_SSH") === "-";
  const principals = read("KRUN_SSH_PRINCIPALS", readNames);
  return {
    off,
    listen: off ? undefined : read("KRUN_SSH", (setting) => readListenAddress(setting, "127.0.0.1:15022")),
    authorizedKeys: text("SSH_AUTH"),
    rbac: read("KRUN_SSH_RBAC", readBoolean) ?? false,
    principals: principals?.length ? principals : undefined,
    idleTimeoutMs: read("KRUN_SSH_IDLE_TIMEOUT", readDurationMs) ?? IDLE_TIMEOUT_MS,
  };
}
