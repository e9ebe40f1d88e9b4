/**
 * Why nobody may log in to the debug SSH server, or it cannot be had: in the same words at a start and for `--check`. In: settings, the plan, a
 * failure. Out: what it is, and what to do.
 *
 * @module
 */
import type { LogFields } from "../core/log.ts";
import { KrunError } from "../core/errors.ts";
import { sshAskedBy, type SshSettings } from "../core/ssh_settings.ts";
import { SSH_SECRET } from "../core/ssh_secret_names.ts";
import { readFailure } from "../kube/deno_files.ts";
import { checkAddress } from "./listen_address.ts";
import type { Plan } from "./plan.ts";
import { sshAddresses, sshAddressHint } from "./ssh_addresses.ts";

/** Why no token can be taken where KRUN_SSH_RBAC asks for that; `undefined` where one can, or nothing asks. */
export function tokenFault({ rbac }: SshSettings, { cluster }: Pick<Plan, "cluster">): KrunError | undefined {
  if (!rbac || cluster?.endpoint) return undefined;
  const [code, found, hint] = cluster
    ? ["SettingConflict", "a folder of manifests has none", "unset KRUN_MANIFESTS"] as const
    : ["ClusterNotFound", "there is no cluster", "set KUBECONFIG"] as const;
  return new KrunError(
    code,
    `Cannot take tokens by ssh: KRUN_SSH_RBAC needs a cluster's API server, and ${found}`,
    `${hint}, or unset KRUN_SSH_RBAC and ${giveKeyHint({ cluster })}`,
  );
}

/** What lets somebody in. */
export function giveKeyHint({ cluster }: Pick<Plan, "cluster">): string {
  return `give SSH_AUTH a public key${cluster ? `, or Secret ${SSH_SECRET} one` : ""}`;
}

/** What keeps the server's host key the same from one start to the next. */
export function keepKeyHint({ cluster }: Pick<Plan, "cluster">): string {
  return `set MESH_BASE_DIR${cluster ? `, or id_ed25519 in Secret ${SSH_SECRET}` : ""}`;
}

/** What the log says of a server that could not be opened: why, who has the address, and what to do. */
export async function openingFault(cause: unknown, ssh: SshSettings): Promise<LogFields> {
  const hint = cause instanceof KrunError ? cause.hint : sshAddressHint(cause) ?? "report this as a fault of krun";
  return { reason: await listenFault(cause, ssh), hint };
}

/** Who has it is known by its port: that of the first address that cannot be had now either. */
async function listenFault(cause: unknown, ssh: SshSettings): Promise<string> {
  if (!(cause instanceof Deno.errors.AddrInUse)) return readFailure(cause);
  const { holderOfPort } = await import("./interception.ts");
  for (const address of sshAddresses(ssh)) {
    try {
      checkAddress(address, { setting: sshAskedBy(ssh) ?? `Secret ${SSH_SECRET}`, holder: holderOfPort });
    } catch (error) {
      return (error as KrunError).message;
    }
  }
  return readFailure(cause);
}
