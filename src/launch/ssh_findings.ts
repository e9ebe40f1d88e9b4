/**
 * What `--check` says of the debug SSH server. In: a plan. Out: where it would listen, who would be let in, and by which key clients
 * know it.
 *
 * @module
 */
import type { V1Secret } from "@kubernetes/client-node";
import { KrunError } from "../core/errors.ts";
import type { ListenAddress, Settings } from "../core/settings.ts";
import { type PlacedKey, type SshAuthorities, sshAuthorities } from "../core/ssh_authorities.ts";
import { sshProspects } from "../core/ssh_prospects.ts";
import { SSH_SECRET } from "../core/ssh_secret_names.ts";
import { sshAskedBy, type SshSettings } from "../core/ssh_settings.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { join } from "../core/posix_path.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { type HostKey, hostKeyFingerprint, knownHostsLine, readHostKey } from "../ssh/host_key.ts";
import { loadSsh2 } from "../ssh/ssh2.ts";
import { sshAudience } from "../ssh/token_login.ts";
import type { Finding } from "./check_report.ts";
import { holderOfPort } from "./interception.ts";
import { keptHostKey, OTHER_KEY_SEEN } from "./kept_host_key.ts";
import { checkAddress } from "./listen_address.ts";
import type { Plan } from "./plan.ts";
import { addressesText, sshAddresses, sshAddressHint } from "./ssh_addresses.ts";
import { giveKeyHint, keepKeyHint, tokenFault } from "./ssh_faults.ts";
import { loginFindings } from "./ssh_login_findings.ts";
import type { Surroundings } from "./surroundings.ts";

/** What is found. */
export interface SshFindings {
  readonly findings: readonly Finding[];
  readonly warnings: readonly string[];
  /** None of them keeps the program from starting, but nobody could come in, or not all who may. */
  readonly failures: readonly StartFailure[];
}

/** What decides who gets in. */
interface Standing {
  readonly plan: Plan;
  readonly ssh: SshSettings;
  /** Unset: there is none, or it cannot be read. */
  readonly secret: V1Secret | undefined;
  /** Why it cannot. */
  readonly unreadable: KrunError | undefined;
  readonly authorities: SshAuthorities;
  readonly logins: readonly PlacedKey[];
  readonly takesTokens: boolean;
}

/** Looks at everything that decides who gets in. Asks the API server for the Secret, and whether krun may have tokens reviewed. */
export async function sshFindings(
  outer: Pick<Surroundings, "self">,
  { plan, settings: { ssh } }: { plan: Plan; settings: Settings },
): Promise<SshFindings> {
  const { secret, unreadable } = await readSecret(plan);
  const authorities = sshAuthorities(ssh.authorizedKeys, secret?.data);
  const { logins, warnings: barred } = sshProspects(authorities, Date.now());
  const noTokens = tokenFault(ssh, plan);
  const takesTokens = ssh.rbac && !noTokens;
  const standing = { plan, ssh, secret, unreadable, authorities, logins, takesTokens };
  const failures = [
    ...noTokens ? [{ error: noTokens, askedBy: "KRUN_SSH_RBAC" }] : [],
    ...loginFailures(standing),
  ];
  const isMissed = unreadable !== undefined && !failures.some(({ error }) => error === unreadable);
  const warnings = [...authorities.warnings, ...barred, ...isMissed ? [unreadable.message] : []];
  const opens = logins.length > 0 || takesTokens;
  if (!opens) return { findings: noServer(standing), warnings, failures };
  const served = await serverFindings(outer, standing);
  return {
    findings: served.findings,
    warnings: [...warnings, ...served.warnings],
    failures: [...failures, ...served.failures],
  };
}

async function serverFindings(outer: Pick<Surroundings, "self">, standing: Standing): Promise<SshFindings> {
  const { plan, ssh, logins, takesTokens } = standing;
  const addresses = sshAddresses(ssh);
  const { keys, unused } = await hostKeys(outer, standing);
  const rule = { KRUN_SSH: "KRUN_SSH", SSH_AUTH: "SSH_AUTH" }[sshAskedBy(ssh) ?? ""];
  return {
    findings: [
      {
        what: "ssh server",
        value: addressesText(addresses).replaceAll(",", ", "),
        because: rule ?? "not on other addresses without SSH_AUTH or KRUN_SSH",
      },
      ...loginFindings(logins, { ssh, plan, takesTokens }),
      ...keyFindings(keys, { plan, port: addresses[0]!.port }),
    ],
    warnings: unused,
    failures: [...addressFailures(ssh, addresses), ...takesTokens ? await tokenFailures(plan) : []],
  };
}

/** The Secret, or why it cannot be read. */
async function readSecret(
  { cluster, identity: { namespace } }: Plan,
): Promise<{ secret?: V1Secret | undefined; unreadable?: KrunError }> {
  if (!cluster) return {};
  try {
    const secret = await cluster.get({ kind: "Secret", namespace: namespace.value, name: SSH_SECRET });
    return { secret: secret as V1Secret | undefined };
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return { unreadable: error };
  }
}

/** The row of a server that would not open, where anything could ask for one. */
function noServer(standing: Standing): Finding[] {
  const { plan, ssh, secret } = standing;
  const ofSecret = secretText(standing);
  const asked = sshAskedBy(ssh);
  if (asked === undefined && !plan.cluster) return [];
  const isAlone = (asked === undefined && !secret) || hasUnreadableList(standing);
  return [{ what: "ssh server", value: "none", because: isAlone ? ofSecret : `${ofSettings(ssh)}; ${ofSecret}` }];
}

/** Why the Secret lets nobody in. */
function secretText(standing: Standing): string {
  const { plan, secret, unreadable } = standing;
  if (unreadable) return unreadText(unreadable);
  if (hasUnreadableList(standing)) return `key "revoked_keys" of Secret "${SSH_SECRET}" cannot be read`;
  return secret ? `Secret ${SSH_SECRET} has none` : noSecret(plan);
}

function hasUnreadableList({ authorities }: Standing): boolean {
  return authorities.revocations.some((list) => "everythingBecause" in list);
}

function ofSettings({ authorizedKeys }: SshSettings): string {
  return authorizedKeys === undefined ? "SSH_AUTH is not set" : "SSH_AUTH has no key that is of use";
}

function unreadText({ code, message }: KrunError): string {
  return code === "Forbidden" ? `Secret ${SSH_SECRET} may not be read` : message;
}

function noSecret({ cluster, identity: { namespace } }: Plan): string {
  return cluster ? `there is no Secret ${SSH_SECRET} in namespace ${namespace.value}` : "there is no cluster";
}

/** Why nobody may log in where that is asked for, and why what the Secret says is not known. */
function loginFailures(standing: Standing): StartFailure[] {
  const { plan, ssh, unreadable, authorities, logins, takesTokens } = standing;
  const asked = sshAskedBy(ssh);
  const hasOthers = logins.length > 0 || takesTokens;
  const failures = unreadable && asked !== undefined && !hasOthers ? [{ error: unreadable, askedBy: asked }] : [];
  // The Secret asks as well, once it names somebody, or holds what was to name somebody.
  const isAsked = ssh.listen !== undefined || ssh.authorizedKeys !== undefined ||
    authorities.authorized.length + authorities.warnings.length > 0;
  const isKnown = !unreadable || ssh.authorizedKeys !== undefined;
  if (hasOthers || !isAsked || !isKnown) return failures;
  const isListAtFault = hasUnreadableList(standing);
  const ofSecret = secretText(standing);
  const found = isListAtFault ? ofSecret : `${ofSettings(ssh)}, and ${ofSecret}`;
  const error = new KrunError(
    "SettingInvalid",
    `Cannot let anybody log in by ssh: ${found}`,
    isListAtFault ? "correct it, or take it away" : giveKeyHint(plan),
  );
  return [...failures, { error, askedBy: asked ?? `Secret ${SSH_SECRET}` }];
}

function keyFindings(keys: readonly HostKey[], { plan, port }: { plan: Plan; port: number }): Finding[] {
  const what = "ssh host key";
  if (keys.length === 0) {
    const isKept = plan.takesBase;
    const because = isKept
      ? "krun makes one when its server opens, and logs it"
      : `new at each start; ${keepKeyHint(plan)}`;
    return [{ what, value: "none yet", because }];
  }
  return keys.map((key) => {
    const line = knownHostsLine(key, { host: "HOST", port });
    return { what, value: hostKeyFingerprint(key), because: `known_hosts: ${line}` };
  });
}

async function hostKeys(
  { self }: Pick<Surroundings, "self">,
  { plan, authorities }: Pick<Standing, "plan" | "authorities">,
): Promise<{ keys: HostKey[]; unused: string[] }> {
  const ssh2 = await loadSsh2();
  const keys: HostKey[] = [], unused: string[] = [];
  for (const { name, text } of authorities.hostKeys) {
    const key = readHostKey(ssh2, text);
    if (typeof key !== "string") keys.push(key);
    else unused.push(`key "${name}" of Secret "${SSH_SECRET}" is not used as a host key: ${key}`);
  }
  if (keys.length > 0) return { keys, unused };
  if (unused.length > 0) unused.push("the ssh server has krun's own host key, for that of the Secret is not used");
  // Without a base no start keeps one there, nor reads it.
  if (!plan.takesBase) return { keys, unused };
  const own = keptHostKey(ssh2, { stateFolder: join(plan.base, STATE_FOLDER), uid: self.uid });
  if (own && "fault" in own) unused.push(`"${own.path}" is not used as a host key: ${own.fault}; ${OTHER_KEY_SEEN}`);
  return { keys: own && "key" in own ? [own.key] : [], unused };
}

/** Why the server could not listen now. */
function addressFailures(ssh: SshSettings, addresses: readonly ListenAddress[]): StartFailure[] {
  const askedBy = sshAskedBy(ssh) ?? `Secret ${SSH_SECRET}`;
  const hint = (cause: unknown) => sshAddressHint(cause) ?? "set KRUN_SSH to a free address of this machine";
  return addresses.flatMap((address) => {
    try {
      checkAddress(address, { setting: askedBy, hint, holder: holderOfPort });
      return [];
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      return [{ error, askedBy }];
    }
  });
}

/** Why krun could not have a token reviewed: seen with one that is none. */
async function tokenFailures({ cluster, identity: { namespace } }: Plan): Promise<StartFailure[]> {
  if (!cluster) return [];
  try {
    await cluster.reviewToken("none", { audience: sshAudience(namespace.value) });
    return [];
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return [{ error, askedBy: "KRUN_SSH_RBAC" }];
  }
}
