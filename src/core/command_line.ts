/**
 * krun's own options: the dash options before the program. In: the arguments. Out: what to do, and the program's argv.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { EXEC_CREDENTIAL } from "./google_kubeconfig.ts";
import { nearestName } from "./nearest_name.ts";

/** What the arguments ask for. `argv` is the program with its arguments, byte for byte; empty: no program was named. */
export interface CommandLine {
  readonly action: "run" | "help" | "version" | "check" | "connect" | "kubeconfig" | "exec-credential";
  /** How `--check` prints: a table for a person, or JSON. */
  readonly checkFormat: "text" | "json";
  readonly argv: readonly string[];
  /** Where `--connect` goes to, as it was written. */
  readonly address?: string;
  /** Where `--kubeconfig` writes; unset: to standard output. */
  readonly file?: string;
}

const OPTIONS: Readonly<Record<string, Partial<CommandLine>>> = {
  "--help": { action: "help" },
  "-h": { action: "help" },
  "--version": { action: "version" },
  "--check": { action: "check" },
  "--check=text": { action: "check" },
  "--check=json": { action: "check", checkFormat: "json" },
  "--kubeconfig": { action: "kubeconfig" },
  [EXEC_CREDENTIAL]: { action: "exec-credential" },
};

const CONNECT = "--connect";

/**
 * Splits krun's options from the program: the first argument that does not begin with a dash, or what follows `--`, is the
 * program, and everything after it belongs to the program.
 *
 * @throws {KrunError} `ArgumentInvalid` for a dash option that is not krun's, and for `--connect` with anything but one address.
 */
export function parseCommandLine(args: readonly string[]): CommandLine {
  let parsed: CommandLine = { action: "run", checkFormat: "text", argv: [] };
  for (const [index, arg] of args.entries()) {
    if (arg === "--") return withFile({ ...parsed, argv: args.slice(index + 1) });
    if (!arg.startsWith("-")) return withFile({ ...parsed, argv: args.slice(index) });
    if (arg === CONNECT) return connectLine(args.slice(index + 1));
    if (arg.startsWith(`${CONNECT}=`)) return connectLine([arg.slice(CONNECT.length + 1), ...args.slice(index + 1)]);
    const [, file] = /^--kubeconfig=(.+)$/s.exec(arg) ?? [];
    const option = file === undefined ? OPTIONS[arg] : { action: "kubeconfig" as const, file };
    if (!option) {
      const nearest = nearestName(arg, [...Object.keys(OPTIONS), CONNECT]);
      throw new KrunError(
        "ArgumentInvalid",
        `Cannot read argument "${arg}": krun has no such option${nearest ? `, the nearest is ${nearest}` : ""}`,
        "see krun --help, or put -- before a program whose name begins with a dash",
      );
    }
    parsed = { ...parsed, ...option };
  }
  return parsed;
}

function connectLine([address = "", ...more]: readonly string[]): CommandLine {
  if (address !== "" && more.length === 0) return { action: "connect", checkFormat: "text", argv: [], address };
  throw new KrunError(
    "ArgumentInvalid",
    `Cannot connect: ${address === "" ? "no address is named" : "more than an address is named"}`,
    "write krun --connect HOST[:PORT], with nothing behind it",
  );
}

/** With `--kubeconfig` the first word is no program, but the file. */
function withFile(parsed: CommandLine): CommandLine {
  const { action, argv: [file, ...more], file: named } = parsed;
  if (action !== "kubeconfig" || file === undefined) return parsed;
  if (named === undefined && more.length === 0) return { ...parsed, file, argv: [] };
  throw new KrunError("ArgumentInvalid", "Cannot read the arguments: --kubeconfig takes one file", "see krun --help");
}
