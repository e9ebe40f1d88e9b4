/**
 * Whom the debug SSH server would let in, for `--check`. In: keys that may let somebody in, settings. Out: a row for each.
 *
 * @module
 */
import type { PlacedKey } from "../core/ssh_authorities.ts";
import { limitsInWords } from "../core/ssh_key_options.ts";
import { sshFingerprint } from "../core/ssh_public_key.ts";
import { sshPrincipals, type SshSettings } from "../core/ssh_settings.ts";
import { sshAudience } from "../ssh/token_login.ts";
import type { Finding } from "./check_report.ts";
import type { Plan } from "./plan.ts";

/** What they may do is told as far as it is less than all. */
export function loginFindings(
  logins: readonly PlacedKey[],
  { ssh, plan, takesTokens }: { ssh: SshSettings; plan: Pick<Plan, "identity">; takesTokens: boolean },
): Finding[] {
  const what = "ssh login";
  const principals = sshPrincipals(ssh, plan.identity);
  const keys = logins.map(({ key, comment, options }) => {
    const limits = limitsInWords(options.certAuthority ? { principals, ...options } : options, Date.now());
    return {
      what,
      value: `${options.certAuthority ? "certificates of " : ""}${sshFingerprint(key.blob)}`,
      because: [comment || key.type, ...limits].join(", "),
    };
  });
  if (!takesTokens) return keys;
  const audience = sshAudience(plan.identity.namespace.value);
  return [...keys, { what, value: `tokens of audience ${audience}`, because: "KRUN_SSH_RBAC" }];
}
