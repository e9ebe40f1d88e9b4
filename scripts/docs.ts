/**
 * Writes the pages that are made from tables: docs/settings.md and docs/troubleshooting.md. With `--check` it writes nothing
 * and fails when one is stale.
 *
 * @module
 */
import { TAKEN_OUT } from "../src/core/app_env.ts";
import { ERRORS } from "../src/core/errors.ts";
import { SETTING_GROUPS } from "../src/core/setting.ts";
import { SETTINGS } from "../src/core/settings_table.ts";
import type { Setting } from "../src/core/setting.ts";
import { podPage } from "./pod_page.ts";
import { statusPage } from "./status_page.ts";

/** Page below docs/ → its text as it should be. */
export const PAGES: Readonly<Record<string, () => string>> = {
  "pod.md": () => `# What krun makes of a Pod\n\n${MADE}${podPage()}`,
  "settings.md": settingsPage,
  "status.md": () => `# What krun says of itself while it runs\n\n${MADE}${statusPage()}`,
  "troubleshooting.md": troubleshootingPage,
};

const MADE = "<!-- Made by `deno task docs`; edit the table in the source instead. -->\n";

function settingsPage(): string {
  const rows = SETTINGS as readonly Setting[];
  const groups = Object.entries(SETTING_GROUPS).map(([group, title]) => {
    const settings = rows.filter((setting) => setting.group === group);
    return `\n## ${title}\n\n| Variable | Value | Unset | What it does | Example |\n|---|---|---|---|---|\n${
      settings.map(row).join("")
    }`;
  });
  return `# Settings

${MADE}
krun is configured by environment variables alone, and finds out what they leave open. An empty variable is the same as none.
A value that cannot be read ends krun with exit status 125 and one line that says what is wrong; an unknown \`KRUN_\` or \`K8S_\`
name is a warning, and so is a \`WORKLOAD_\` or \`MESH_\` name that is nearly a setting's. \`krun --check\` shows what came of it all.
${groups.join("")}${MOUNTS}${programSection()}`;
}

function row({ env, unit, unset, says, example }: Setting): string {
  return `| ${
    [code(env), cell(unit), cell(unset), cell(says), code(`${env.replace(/<.*>/, "x")}=${example}`)].join(" | ")
  } |\n`;
}

const MOUNTS = `
## Mounts

| Setting | What it mounts |
|---|---|
| \`K8S_SECRET_db=/etc/db\` | Secret \`db\`: the folder \`/etc/db\` with one file for each key, mode 0400 |
| \`K8S_SECRET_x=my-db:./db\` | Secret \`my-db\`, whose name a variable could have spelt only with a dash, below the base folder |
| \`K8S_CM_ca=kube-root-ca.crt:./ca.crt?key=ca.crt\` | one key of a ConfigMap as one file |
| \`K8S_SECRET_tls=/etc/tls?mode=0440&optional=true\` | other permissions; no error when the Secret does not exist, and mounted once it does |
| \`K8S_TOKEN_vault=./vault.jwt\` | a token of the workload's service account with audience \`vault\`, kept fresh in one file |
| \`K8S_TOKEN_x=https://kubernetes.default.svc:./api.jwt?expirationSeconds=600\` | another audience and life |

Where the value holds an object and a path, the path begins after the last colon that stands before \`/\` (not \`//\`), \`./\` or
\`../\`; if there is none, after the last colon. A value that begins with one \`/\` or with \`.\`, or has no colon, is a path alone.
Options begin at the path's first \`?\`. A relative path lies below the base folder, an absolute one too unless it is inside it
already. The files belong to the user that the program runs as.
`;

function programSection(): string {
  const rows = TAKEN_OUT.map(({ variable, why, onlyWithCluster }) =>
    `| ${code(variable)} | ${cell(why)} | ${
      onlyWithCluster ? "when no cluster is used" : "when KRUN_PASS_ENV names it"
    } |\n`
  );
  return `
## What the program sees

The program gets krun's own environment and the Pod's over it, less these:

| Variable | Why it is taken out | It stays |
|---|---|---|
${rows.join("")}`;
}

function troubleshootingPage(): string {
  const sections = Object.entries(ERRORS).map(([name, { means, remedy }]) => `\n## ${name}\n\n${means}\n\n${remedy}\n`);
  return `# When it fails

${MADE}
krun says what went wrong in one line on standard error, \`krun: <what failed and how>; <what to do>\`, and more below it where
there is more to say. Exit status 125 is a failure of krun itself, 126 and 127 are those of a program that cannot be started,
128 + n is the end by signal n, and everything else is the program's own. \`krun --check\` tries everything without starting the program, and
\`KRUN_LOG=debug\` says more. A login by SSH that fails: [SSH](ssh.md#when-a-login-fails).

Each failure has a code, which the library gives as \`KrunError.code\`.
${sections.join("")}`;
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "\\<");
}

if (import.meta.main) {
  const stale = Object.entries(PAGES).filter(([name, page]) => {
    const path = new URL(`../docs/${name}`, import.meta.url);
    const text = page();
    if (!Deno.args.includes("--check")) Deno.writeTextFileSync(path, text);
    return Deno.readTextFileSync(path) !== text;
  });
  for (const [name] of stale) console.error(`docs/${name} is stale: run \`deno task docs\``);
  if (stale.length > 0) Deno.exit(1);
}
