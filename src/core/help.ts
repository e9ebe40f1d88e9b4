/**
 * The text of `krun --help`, from the table of settings.
 *
 * @module
 */
import { SETTING_GROUPS } from "./setting.ts";
import { SETTINGS } from "./settings_table.ts";
import type { Setting } from "./setting.ts";

const HEAD = `krun runs a program outside Kubernetes as in a Pod: the same files, tokens and environment.

usage: krun [OPTION] [--] PROGRAM [ARGUMENT...]
       krun [OPTION]        without a program: keeps the files fresh until it is told to stop
       krun --connect HOST[:PORT]

  --check        shows what would be mounted from where, and starts nothing; exit status 0 or 1
  --check=json   the same for machines
  --connect      joins standard input and output to a port of another krun's workload (22, which is
                 ssh): of a peer in the mesh, or by KRUN_TUNNEL of https://HOST or a host of run.app
  --kubeconfig [FILE]
                 prints a kubeconfig of the cluster that is found on Google Cloud, for kubectl;
                 with FILE puts its context into that file
  --help         this text
  --version      the version

As ssh wants it: ssh -o ProxyCommand='krun --connect %h:%p' HOST

Everything else is set by environment variables, and found out where it is not set.
`;

const TAIL = `
Exit status: the program's own; 128 + signal; 126 and 127 as in a shell; 125: krun itself failed.
`;

/** The whole text, with its final line break; no line is longer than 100 columns. */
export function helpText(): string {
  const rows = SETTINGS as readonly Setting[];
  const groups = Object.entries(SETTING_GROUPS).map(([group, title]) => {
    const settings = rows.filter((setting) => setting.group === group);
    return `\n${title}:\n${settings.map(group === "reserved" ? nameOf : entryOf).join("")}`;
  });
  return HEAD + groups.join("") + TAIL;
}

const WIDTH = 100;
const INDENT = 4;

function nameOf({ env }: Setting): string {
  return `  ${env}\n`;
}

function entryOf({ env, unit, unset, says }: Setting): string {
  return `  ${env}=${unit.includes(" ") ? `<${unit}>` : unit}\n${wrapped(`${says}. Unset: ${unset}.`)}`;
}

function wrapped(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && INDENT + last.length + 1 + word.length <= WIDTH) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines.map((line) => `${" ".repeat(INDENT)}${line}\n`).join("");
}
