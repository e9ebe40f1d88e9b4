/**
 * What `--check` says of the debug SSH server. In: a plan. Out: where it would listen, who would be let in, and by which key clients
 * know it.
 *
 * @module
 */
import type { V1Secret } from "@kubernetes/client-node";
import { KrunError } from "../core/errors.ts";
import type { ListenAddress, Settings } from "../core/settings.ts";
import { type SshAuthorities, sshAuthorities } from "../core/ssh_authorities.ts";
import { limitsInWords } from "../core/ssh_key_options.ts";
import { sshFingerprint } from "../core/ssh_public_key.ts";
import { SSH_HOST_KEY, SSH_SECRET } from "../core/ssh_secret_names.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { join } from "../core/posix_path.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { type HostKey, hostKeyFingerprint, knownHostsLine, readHostKey } from "../ssh/host_key.ts";
import { loadSsh2 } from "../ssh/ssh2.ts";
import { sshAudience } from "../ssh/token_login.ts";
import type { Finding } from "./check_report.ts";
import { holderOfPort } from "./interception.ts";
import { keptText } from "./kept_file.ts";
import { checkAddress } from "./listen_address.ts";
import type { Plan } from "./plan.ts";
import { addressesText, sshAddresses, sshAddressHint } from "./ssh_addresses.ts";
import type { Surroundings } from "./surroundings.ts";

/** What is found. */
export interface SshFindings {
  readonly findings: readonly Finding[];
  readonly warnings: readonly string[];
  /** None of them keeps the program from starting, but nobody could come in, or not all who may. */
  readonly failures: readonly StartFailure[];
}

/** Looks at everything that decides who gets in. Asks the API server for the Secret, and whether krun may have tokens reviewed. */
export async function sshFindings(
  outer: Pick<Surroundings, "self">,
  { plan, settings: { ssh } }: { plan: Plan; settings: Settings },
): Promise<SshFindings> {
  const secret = await readSecret(plan);
  const authorities = sshAuthorities(ssh.authorizedKeys, typeof secret === "string" ? undefined : secret?.data);
  const { authorized, warnings } = authorities;
  if (authorized.length === 0 && !ssh.rbac) {
    const isAskedFor = ssh.authorizedKeys !== undefined || ssh.listen !== undefined || secret !== undefined;
    if (!isAskedFor) return { findings: [], warnings, failures: [] };
    const because = ssh.authorizedKeys === undefined ? "SSH_AUTH is not set" : "SSH_AUTH has no key that is of use";
    const ofSecret = typeof secret === "string" ? secret : secret ? `Secret ${SSH_SECRET} has none` : noSecret(plan);
    return {
      findings: [{ what: "ssh server", value: "none", because: `${because}; ${ofSecret}` }],
      warnings,
      failures: [],
    };
  }
  const addresses = sshAddresses(ssh);
  const port = addresses[0]!.port;
  const { keys, unused } = await hostKeys(outer, { plan, authorities });
  const keyFindings = keys.flatMap((key) => [
    {
      what: "ssh host key",
      value: hostKeyFingerprint(key),
      because: `known_hosts: ${knownHostsLine(key, { host: "HOST", port })}`,
    },
  ]);
  const none = {
    what: "ssh host key",
    value: "none yet",
    because: "krun makes one when its server opens, and logs it",
  };
  return {
    findings: [
      {
        what: "ssh server",
        value: addressesText(addresses).replaceAll(",", ", "),
        because: ssh.listen
          ? "KRUN_SSH"
          : ssh.authorizedKeys
          ? "SSH_AUTH"
          : "not on other addresses without SSH_AUTH or KRUN_SSH",
      },
      ...loginFindings(authorities, { ssh, plan }),
      ...keyFindings.length > 0 ? keyFindings : [none],
    ],
    warnings: [...warnings, ...unused],
    failures: [...addressFailures(ssh, addresses), ...ssh.rbac ? await tokenFailures(plan) : []],
  };
}

/** The Secret; a text: why it cannot be read. */
async function readSecret({ cluster, identity: { namespace } }: Plan): Promise<V1Secret | string | undefined> {
  if (!cluster || !namespace) return undefined;
  try {
    return await cluster.get({ kind: "Secret", namespace: namespace.value, name: SSH_SECRET }) as V1Secret | undefined;
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return error.code === "Forbidden" ? `Secret ${SSH_SECRET} may not be read` : error.message;
  }
}

function noSecret({ cluster, identity: { namespace } }: Plan): string {
  return cluster && namespace
    ? `there is no Secret ${SSH_SECRET} in namespace ${namespace.value}`
    : "there is no cluster";
}

function loginFindings(
  { authorized }: SshAuthorities,
  { ssh, plan: { identity } }: { ssh: Settings["ssh"]; plan: Plan },
): Finding[] {
  const what = "ssh login";
  const keys = authorized.map(({ key, comment, options }) => ({
    what,
    value: `${options.certAuthority ? "certificates of " : ""}${sshFingerprint(key.blob)}`,
    because: [comment || key.type, ...limitsInWords(options, Date.now())].join(", "),
  }));
  const { namespace } = identity;
  if (!ssh.rbac || !namespace) return keys;
  return [...keys, { what, value: `tokens of audience ${sshAudience(namespace.value)}`, because: "KRUN_SSH_RBAC" }];
}

async function hostKeys(
  { self }: Pick<Surroundings, "self">,
  { plan, authorities }: { plan: Plan; authorities: SshAuthorities },
): Promise<{ keys: HostKey[]; unused: string[] }> {
  const ssh2 = await loadSsh2();
  const keys: HostKey[] = [], unused: string[] = [];
  for (const { name, text } of authorities.hostKeys) {
    const key = readHostKey(ssh2, text);
    if (typeof key !== "string") keys.push(key);
    else unused.push(`key "${name}" of Secret "${SSH_SECRET}" is not used as a host key: ${key}`);
  }
  if (keys.length > 0) return { keys, unused };
  const kept = keptText(join(plan.base, STATE_FOLDER, SSH_HOST_KEY), self.uid, { isSecret: true });
  const own = kept === undefined ? undefined : readHostKey(ssh2, kept);
  return { keys: own !== undefined && typeof own !== "string" ? [own] : [], unused };
}

/** Why the server could not listen now. */
function addressFailures(ssh: Settings["ssh"], addresses: readonly ListenAddress[]): StartFailure[] {
  const askedBy = ssh.listen
    ? "KRUN_SSH"
    : ssh.authorizedKeys !== undefined
    ? "SSH_AUTH"
    : ssh.rbac
    ? "KRUN_SSH_RBAC"
    : `Secret ${SSH_SECRET}`;
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
  if (!cluster || !namespace) return [];
  try {
    await cluster.reviewToken("none", { audience: sshAudience(namespace.value) });
    return [];
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return [{ error, askedBy: "KRUN_SSH_RBAC" }];
  }
}
