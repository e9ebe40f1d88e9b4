/**
 * What a session enters: the world of the workload's program.
 *
 * @module
 */
import type { AccountNames } from "../core/account_names.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { Account } from "../core/session_env.ts";
import type { SessionStarter } from "../core/session_process.ts";
import type { UserFiles } from "../core/user_files.ts";
import type { ProcReader } from "./built_in.ts";

/** The world of the workload's program. */
export interface SessionWorld {
  /** The program's environment, as it would be started with now. */
  env(): Env;
  /** The program's working directory. */
  readonly cwd: string;
  /** The program's user, as /etc/passwd has it. */
  readonly account: Account | undefined;
  readonly accounts: AccountNames;
  /** The program's user. */
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  readonly proc: ProcReader;
  readonly starter: SessionStarter;
  readonly files: UserFiles;
  /** Whether the program's user may execute a file. */
  isExecutable(path: string): boolean;
}
