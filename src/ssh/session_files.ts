/**
 * The sessions that are files: SFTP, and scp's legacy protocol where the image has no program for it. In: a channel, and the files of the
 * session's user. Out: how the client's programs are to end.
 *
 * What serves them is loaded by whoever needs it first.
 *
 * @module
 */
import type { AccountNames } from "../core/account_names.ts";
import type { Clock } from "../core/clock.ts";
import type { ChildEnd } from "../core/exit_status.ts";
import type { Logger } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";
import { resolve } from "../core/posix_path.ts";
import { parseScpCommand, type ScpCommand } from "../core/scp_command.ts";
import { searchPath } from "../core/search_path.ts";
import type { Account } from "../core/session_env.ts";
import type { UserFiles } from "../core/user_files.ts";
import type { SshChannel } from "./channel.ts";

/** What a session of files has. */
export interface FileSession {
  readonly channel: SshChannel;
  readonly files: UserFiles;
  /** The user, as /etc/passwd has it. */
  readonly account: Account | undefined;
  readonly accounts: AccountNames;
  readonly clock: Clock;
  /** Is told of each file; it names the login in each line. */
  readonly log: Logger;
}

/** Serves SFTP until the client ends it; 1 for one that breaks its rules, which the log is told. Rejects only for a mistake of krun's. */
export async function serveSessionSftp(
  { channel, files, account, accounts, clock, log }: FileSession,
): Promise<ChildEnd> {
  const { serveSftp } = await import("./sftp_server.ts");
  const end = await serveSftp(channel, {
    ...{ files, accounts, clock, home: account?.home || "/", userName: account?.name },
    audit: ({ level, event, fields }) => log[level](event, fields),
  });
  if (end.kind === "malformed") log.warn("ssh client breaks the rules of SFTP", { reason: end.why });
  return { kind: "exited", code: end.kind === "malformed" ? 1 : 0 };
}

/**
 * What a client of scp's legacy protocol asks for, where the image has no program for that, or OpenSSH's would end at once: it wants a user
 * that /etc/passwd knows ("unknown user", scp.c).
 */
export function ownScp(
  command: string,
  { world: { account, cwd, isExecutable }, env }: {
    readonly world: {
      readonly account: Account | undefined;
      readonly cwd: string;
      isExecutable(path: string): boolean;
    };
    readonly env: Env;
  },
): ScpCommand | undefined {
  const scp = parseScpCommand(command);
  const hasProgram = searchPath(env).some((folder) => isExecutable(resolve(cwd, `${folder}/scp`)));
  return account && hasProgram ? undefined : scp;
}

/** Serves it; `home` is the session's own home folder. Rejects only for a mistake of krun's. */
export async function serveSessionScp(
  { channel, files, accounts, clock, log }: FileSession,
  { command, home }: { readonly command: ScpCommand; readonly home: string | undefined },
): Promise<ChildEnd> {
  const { serveScp } = await import("./scp_server.ts");
  const end = await serveScp(channel, {
    ...{ command, files, clock, home: (user) => user === "" ? home : accounts.home(user) },
    audit: ({ level, event, fields }) => log[level](event, fields),
  });
  if (end.kind === "malformed") log.warn("ssh client breaks the rules of scp", { reason: end.why });
  return { kind: "exited", code: end.kind === "ended" ? end.status : 1 };
}
