/**
 * The programs of one iptables, as krun calls them. In: what to ask or to change. Out: what they gave.
 *
 * @module
 */
import { iptablesProgram, type IptablesSuffix } from "../core/iptables_backend.ts";
import { parseSavedRules, type SavedRules } from "../core/iptables_rules.ts";
import type { CommandResult, RunCommand } from "./run_command.ts";

/** Options of {@linkcode IptablesPrograms}. */
export interface IptablesProgramsOptions {
  readonly run: RunCommand;
  /** PATH. */
  readonly path: string;
}

/** An address family. */
export type Family = 4 | 6;

/** One set of programs. */
export class IptablesPrograms {
  readonly suffix: IptablesSuffix;
  readonly #options: IptablesProgramsOptions;

  /** Of the programs with this suffix. */
  constructor(suffix: IptablesSuffix, options: IptablesProgramsOptions) {
    this.suffix = suffix;
    this.#options = options;
  }

  /** Any program. */
  run(argv: readonly string[], stdin = ""): Promise<CommandResult> {
    const { run, path } = this.#options;
    return run(argv, { env: { PATH: path }, stdin });
  }

  /** `iptables` with arguments. */
  change(family: Family, ...args: readonly string[]): Promise<CommandResult> {
    return this.run([iptablesProgram(this.suffix, family, "change"), ...args]);
  }

  /** Makes the changes of a text, those of one table at once or not at all. Waits for others that hold the lock. */
  restore(family: Family, text: string): Promise<CommandResult> {
    return this.run([iptablesProgram(this.suffix, family, "restore"), "--noflush", "--wait=30"], text);
  }

  /** All rules; `undefined` when the program does not exist or does not work. */
  async saved(family: Family): Promise<SavedRules | undefined> {
    const { code, stdout } = await this.run([iptablesProgram(this.suffix, family, "save")]);
    return code === 0 ? parseSavedRules(stdout) : undefined;
  }

  /**
   * Removes a table of nftables that has no chain any more. iptables itself has no word for that; without `nft` the table
   * stays, and does nothing. The table is looked at once more, since somebody may have filled it.
   */
  async dropTable(family: Family, table: string): Promise<void> {
    const name = ["table", family === 4 ? "ip" : "ip6", table];
    const { code, stdout } = await this.run(["nft", "list", ...name]);
    if (code === 0 && /^table [^{]*\{\s*\}\s*$/m.test(stdout)) await this.run(["nft", "delete", ...name]);
  }
}
