/**
 * The variables of the debug SSH server, a part of the table of settings.
 *
 * @module
 */
import type { Setting } from "./setting.ts";

/** The debug SSH server's part of the table. */
export const SSH_NAMES = [
  {
    env: "SSH_AUTH",
    group: "ssh",
    unit: "lines of an authorized_keys file",
    unset: "the Secret sshdebug alone says who may log in",
    says:
      "Public keys that may log in to the debug SSH server, which then listens on all addresses; without it, KRUN_SSH and KRUN_SSH_RBAC, on 127.0.0.1 alone, as long as the Secret sshdebug in the workload's namespace names a key or an authority",
    example: "ssh-ed25519 AAAA... me",
    seenBy: "krun",
  },
  {
    env: "KRUN_SSH",
    group: "ssh",
    unit: "address:port, or -",
    unset: "port 15022 of all addresses with SSH_AUTH, else of 127.0.0.1",
    says:
      "Where the debug SSH server listens once somebody may log in, and always on that port of 127.0.0.1 too; - is no server, whatever else is set",
    example: "127.0.0.1:15022",
    seenBy: "krun",
  },
  {
    env: "KRUN_SSH_RBAC",
    group: "ssh",
    unit: "true or false",
    unset: "false",
    says:
      "Whoever may create pods/exec in the workload's namespace may log in with a token of audience krun-ssh/<namespace>; krun needs the right to create tokenreviews and subjectaccessreviews (system:auth-delegator)",
    example: "true",
    seenBy: "krun",
  },
  {
    env: "KRUN_SSH_PRINCIPALS",
    group: "ssh",
    unit: "names, separated by commas",
    unset: "the workload's name and its namespace",
    says: "A user's certificate must name one of them as a principal",
    example: "oncall,web",
    seenBy: "krun",
  },
  {
    env: "KRUN_SSH_IDLE_TIMEOUT",
    group: "ssh",
    unit: "duration; 0 is for ever",
    unset: "4h, as the kubelet has it for kubectl exec",
    says: "A connection over which nothing has gone for so long is ended",
    example: "30m",
    seenBy: "krun",
  },
] as const satisfies readonly Setting[];
