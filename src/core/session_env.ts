/**
 * What a program of a session finds in its environment, and which program that is. In: the world of the workload's program, and
 * what the client asks for. Out: variables, a shell. Rules: sshd(8), sshd_config(5) "AcceptEnv", ssh(1) "ENVIRONMENT".
 *
 * @module
 */
import type { Env } from "./pod_inputs.ts";

/** What /etc/passwd says of a user. */
export interface Account {
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

/** The entry of a user in the text of /etc/passwd; `undefined` when it has none. */
export function accountOf(passwd: string, uid: number): Account | undefined {
  for (const line of passwd.split("\n")) {
    const [name, , id, , , home = "", shell = ""] = line.split(":");
    // As glibc reads it: a line may be a comment, and a number is decimal.
    if (name && !name.startsWith("#") && /^\d+$/.test(id ?? "") && Number(id) === uid) {
      return { name, home, shell: shell.trim() };
    }
  }
  return undefined;
}

/** Most variables that one session may bring along, and the longest of their values, in characters. */
const MOST_VARIABLES = 64, LONGEST_VALUE = 4096;

/** Variables that a client may bring along. */
export class AcceptedEnv {
  readonly #values = new Map<string, string>();

  /** What was taken so far. */
  get values(): Env {
    return Object.fromEntries(this.#values);
  }

  /** Takes a variable of the client's language or terminal; false: it is none, or there are too many. */
  accept(name: string, value: string): boolean {
    const isWelcome = /^(?:LANG|LC_[A-Z_]{1,32}|COLORTERM)$/.test(name);
    if (!isWelcome || value.length > LONGEST_VALUE || value.includes("\0")) return false;
    if (this.#values.size >= MOST_VARIABLES) return false;
    this.#values.set(name, value);
    return true;
  }
}

/** Where the two ends of a connection are. */
export interface ConnectionEnds {
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
}

/** What {@linkcode sessionEnv} is given. */
export interface SessionEnvOptions {
  /** The program's own. */
  readonly world: Env;
  readonly account: Account | undefined;
  readonly accepted: Env;
  readonly ends: ConnectionEnds;
  readonly shell: string | undefined;
  /** TERM of a session with a terminal. */
  readonly term?: string | undefined;
  /** What the client asked for where something else is forced. */
  readonly originalCommand?: string | undefined;
}

/** The environment of a session's program: the workload's program's, and what tells it that it is in a session. */
export function sessionEnv(options: SessionEnvOptions): Env {
  const { world, account, accepted, ends: { client, server }, shell, term, originalCommand } = options;
  const ofAccount = account ? { HOME: account.home || "/", USER: account.name, LOGNAME: account.name } : { HOME: "/" };
  const from = `${client.address} ${client.port}`;
  return {
    ...ofAccount,
    ...(shell !== undefined && { SHELL: shell }),
    ...world,
    ...accepted,
    SSH_CLIENT: `${from} ${server.port}`,
    SSH_CONNECTION: `${from} ${server.address} ${server.port}`,
    ...(term && { TERM: term }),
    ...(originalCommand !== undefined && { SSH_ORIGINAL_COMMAND: originalCommand }),
  };
}

/** Shells that are tried where the user has none. */
const SHELLS = ["/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/sh", "/busybox/sh"];

/** Programs that stand in /etc/passwd to keep people out, which the login has decided already. */
const NO_SHELL = /\/(?:nologin|false|true)$/;

/** The shell of a session: the account's, else what there is; `undefined`: the image has none. */
export function sessionShell(
  account: Account | undefined,
  isExecutable: (path: string) => boolean,
): string | undefined {
  const own = account?.shell;
  const candidates = own?.startsWith("/") && !NO_SHELL.test(own) ? [own, ...SHELLS] : SHELLS;
  return candidates.find(isExecutable);
}
