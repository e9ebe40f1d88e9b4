/**
 * docs/ssh.md, and what docs/rights.md says of it: the commands of both, as they stand there, run by a person's shell with krun,
 * OpenSSH's programs and a real API server. A block or a command that nothing here runs fails.
 */
import assert from "node:assert/strict";
import { SETTINGS } from "../../src/core/settings_table.ts";
import { loadYamlParser } from "../../src/kube/yaml_documents.ts";
import type { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import type { KubeObject } from "./api_server.ts";
import { SshDocsSite } from "./ssh_docs_site.ts";
import { ENTER, type TerminalSession } from "./terminal.ts";

const pageText = (name: string) => Deno.readTextFile(new URL(`../../docs/${name}`, import.meta.url));

/** The lines of each fenced block. */
function blocksOf(markdown: string): string[][] {
  return [...markdown.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, text]) => text!.trimEnd().split("\n"));
}

/** The commands of a block without their prompts. */
function commandsOf(block: readonly string[], count: number): string[] {
  assert.equal(block.length, count, `a command that is not known here:\n${block.join("\n")}`);
  return block.map((line) => line.replace(/^\$ /, ""));
}

/** A line of the log as the page has it: what differs from one login to the next may be anything. */
function logLine(line: string): RegExp {
  const text = line.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const own = text.replace(/from="[^"]*"/, 'from="127.0.0.1 \\d+"').replace("key=SHA256:\\.\\.\\.", "key=SHA256:\\S+");
  return new RegExp(` info ${own}$`, "m");
}

/** Namespace, accounts, and all rights that the page has. */
async function giveRights(site: SshDocsSite): Promise<void> {
  const page = await pageText("rights.md");
  const [, section = ""] = /^## With the debug SSH server$([^]*?)^## /m.exec(page) ?? [];
  const { server } = site;
  await server.namespace("shop");
  for (const name of ["ann", "web"]) {
    await server.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "shop", name } });
  }
  const [ofSection = [], ...unknown] = blocksOf(section);
  assert.deepEqual(unknown, []);
  const parse = await loadYamlParser();
  for (const block of [blocksOf(page)[0]!, ofSection]) {
    const objects = parse(block.join("\n")).map(({ value }) => value as KubeObject);
    assert.deepEqual(objects.map(({ kind }) => kind), ["Role", "RoleBinding"]);
    for (const object of objects) await server.create(object);
  }
  const exec = { apiGroups: [""], resources: ["pods/exec"], verbs: ["create"] };
  await server.grant("shop", "system:serviceaccount:shop:ann", [exec]);
  const commands = [...section.matchAll(/`(kubectl [^`]+)`/g)].map(([, command]) => command!);
  assert.equal(commands.length, 1);
  await site.run(commands[0]!);
}

/** Runs scp's command, for a file at the place that the page names. One that is there already is not touched. */
async function copies(site: SshDocsSite, command: string): Promise<void> {
  const [, path = "", name = ""] = /localhost:(\/tmp\/(\S+)) \.$/.exec(command) ?? [];
  const isOwn = await Deno.writeTextFile(path, "profile", { createNew: true }).then(() => true, () => false);
  try {
    await site.run(command);
    assert.equal(await Deno.readTextFile(site.path(name)), await Deno.readTextFile(path));
  } finally {
    if (isOwn) await Deno.remove(path);
  }
}

/** The site, with krun's log and a command of the page that a login can be tried with. */
interface Visit {
  readonly site: SshDocsSite;
  readonly krun: KrunProcess;
  readonly command: string;
}

/** Gives a command that leads to a shell, does something there, and ends it. */
async function atShell(site: SshDocsSite, { command, act }: { command: string; act: Act }): Promise<void> {
  await using person = await site.openShell(command);
  await act(person);
  await person.type(`exit${ENTER}`);
  assert.equal(await person.ended(), 0);
}

type Act = (person: TerminalSession) => Promise<unknown>;

async function letsInByCertificate({ site, krun, command }: Visit, block: readonly string[]): Promise<void> {
  // Else the key itself would let the client in.
  const config = "PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com\n";
  await Deno.writeTextFile(site.path("home/.ssh/config"), config);
  await assert.rejects(site.run(command), /Permission denied/);
  for (const one of commandsOf(block, 3)) await site.run(one);
  await waitFor("krun to follow the Secret", () => site.run(command), { pauseMs: 100 });
  await krun.sees("stderr", /ssh login .*user=ann certificate=SHA256:\S+ id=ann serial=0 principal=web ca=SHA256:\S+/);
}

/** Bob's key is his only way in: the page's first command gives it, the second takes it away. */
async function givesAccess({ site, krun, command }: Visit, block: readonly string[]): Promise<void> {
  const [give = "", take = ""] = commandsOf(block, 2);
  await site.run("ssh-keygen -q -t ed25519 -N '' -C bob -f bob");
  const config = `IdentityFile ${site.path("bob")}\nIdentitiesOnly yes\n`;
  await Deno.writeTextFile(site.path("home/.ssh/config"), config);
  await assert.rejects(site.run(command), /Permission denied/);
  await site.run(give);
  await waitFor("krun to follow the Secret", () => site.run(command), { pauseMs: 100 });
  await krun.sees("stderr", /ssh login .*user=ann key=SHA256:\S+ comment=bob/);
  await site.run(take);
  await waitFor("the key to be gone", async () => {
    await assert.rejects(site.run(command), /Permission denied/);
    return true;
  }, { pauseMs: 100 });
  await Deno.remove(site.path("home/.ssh/config"));
}

/** By the token of the first block, and by the second block's script and its own token. */
async function letsInByToken({ site, krun, command }: Visit, blocks: readonly (readonly string[])[]): Promise<void> {
  for (const name of ["id_ed25519", "id_ed25519.pub", "id_ed25519-cert.pub"]) {
    await Deno.remove(site.path(`home/.ssh/${name}`));
  }
  await assert.rejects(site.run(command), /Permission denied \(publickey,keyboard-interactive\)/);
  const [ofToken = [], ofScript = []] = blocks;
  const [create = ""] = commandsOf(ofToken, 1);
  const { stdout: token } = await site.run(create);
  assert.ok(token.length > 1023, "ssh(1) does not take it at once");
  const end = ofScript.findIndex((line, index) => index > 0 && line.startsWith("$ "));
  const [show = "", ...script] = ofScript.slice(0, end);
  await site.writeScript(show.replace("$ cat ", ""), `${script.join("\n")}\n`);
  const [save = "", login = ""] = commandsOf(ofScript.slice(end), 2);
  const who = /ssh login .*user=ann account=system:serviceaccount:shop:ann$/gm;
  const logsIn = async (times: number) => {
    await site.run(login);
    await waitFor("the login in the log", () => krun.stderr.match(who)?.length === times);
  };
  await site.run(save);
  await logsIn(1);
  await Deno.writeTextFile(site.path("token"), token);
  await logsIn(2);
}

Deno.test("the commands of docs/ssh.md do what the page says, with the rights of docs/rights.md", async (t) => {
  const [first = [], ofAuthority = [], ofBob = [], ofToken = [], ofScript = [], log = [], ...unknown] = blocksOf(
    await pageText("ssh.md"),
  );
  assert.deepEqual(unknown, [], "a block that is not known here");
  const [start = "", shell = "", command = "", copy = "", forward = ""] = commandsOf(first, 5);
  await using site = await SshDocsSite.create();
  await giveRights(site);
  const krun = await site.startKrun(start);
  const visit = { site, krun, command };

  await t.step("a shell has a terminal of its own", async () => {
    const act = async (person: TerminalSession) => {
      await person.type(`tty${ENTER}`);
      await person.sees(/\/dev\/pts\/\d+/);
    };
    await atShell(site, { command: shell, act });
  });
  await t.step("a command", async () => assert.match((await site.run(command)).stdout, /^[\d.]+ [\d.]+ [\d.]+ \d/));
  await t.step("scp", () => copies(site, copy));
  await t.step("a forward", async () => {
    const [, port = "", to = ""] = / -L (\d+):(\S+) /.exec(forward) ?? [];
    await atShell(site, { command: forward, act: async () => assert.equal(await site.hears(port), "web") });
    await krun.sees("stderr", new RegExp(`ssh forward user=ann .* to=${to}$`, "m"));
  });
  await t.step("the log is the page's", async () => {
    assert.equal(log.length, 3);
    for (const line of log) await krun.sees("stderr", logLine(line));
  });
  await t.step("a certificate of an authority in the Secret", () => letsInByCertificate(visit, ofAuthority));
  await t.step("a key in the Secret", () => givesAccess(visit, ofBob));
  await t.step("a token, of one who has nothing else", () => letsInByToken(visit, [ofToken, ofScript]));
});

Deno.test("docs/ssh.md names no setting that is none", async () => {
  const known = new Set(SETTINGS.map(({ env }): string => env));
  const named = (await pageText("ssh.md")).match(/\b(?:KRUN|MESH|WORKLOAD)_[A-Z_]+\b|\bSSH_AUTH\b/g) ?? [];
  assert.ok(named.length > 5);
  assert.deepEqual(named.filter((name) => !known.has(name)), []);
});
