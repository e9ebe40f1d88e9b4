/**
 * The arguments and the environment with which this process was started, byte for byte. In: what Deno tells of them. Out: the
 * same, with what Deno leaves out or changes because it is no UTF-8.
 *
 * Deno has no variable whose name or value is no UTF-8, and U+FFFD in place of such bytes in arguments. A program must get
 * them as they are, and a setting of krun must not be passed over. The kernel has them (proc_pid_environ(5),
 * proc_pid_cmdline(5)).
 *
 * @module
 */
import { textOfBytes } from "../core/byte_text.ts";
import { KrunError } from "../core/errors.ts";
import type { Env } from "../core/pod_inputs.ts";
import { bytesOfFile } from "./special_files.ts";

/** The whole environment, given as Deno has it, with every variable, as `core/byte_text.ts` keeps its bytes. Without /proc, what Deno says. */
export function exactEnv(env: Env): Env {
  const missing: Record<string, string> = {};
  for (const text of textsIn("/proc/self/environ")) {
    const at = text.indexOf("=");
    if (at > 0 && !text.isWellFormed()) missing[text.slice(0, at)] = text.slice(at + 1);
  }
  return { ...missing, ...env };
}

/**
 * `Deno.args` with every byte, as `core/byte_text.ts` keeps it.
 *
 * @throws {KrunError} `ArgumentInvalid` when one is no UTF-8 and there is no /proc.
 */
export function exactArgs(args: readonly string[]): readonly string[] {
  if (!args.some((arg) => arg.includes("\ufffd"))) return args;
  // The runtime's own arguments stand before krun's.
  const exact = textsIn("/proc/self/cmdline").slice(-args.length);
  if (exact.length === args.length && args.every((arg, index) => lossy(arg) === lossy(exact[index]!))) return exact;
  throw new KrunError(
    "ArgumentInvalid",
    "Cannot read the arguments: one of them is no UTF-8, and there is no /proc that has its bytes",
    "mount /proc, or use arguments in UTF-8",
  );
}

/** What is left of a text in both ways of telling bytes that are no UTF-8. */
function lossy(text: string): string {
  return text.replaceAll(/[\ufffd\udc80-\udcff]+/g, "\ufffd");
}

/** The texts in a file that ends each with a NUL; none when it cannot be read. */
function textsIn(path: string): string[] {
  try {
    return textOfBytes(bytesOfFile(path)).split("\0").slice(0, -1);
  } catch {
    return [];
  }
}
