/** A person at a terminal, over the debug SSH server: job control, its size, an editor, and the end of krun. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { descendants } from "../../src/core/proc_stat.ts";
import { SSH_MESSAGE } from "../../src/core/ssh_messages.ts";
import { sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { waitFor } from "../wait.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import { audited, SshRig } from "./ssh_rig.ts";
import { CTRL_C, CTRL_D, CTRL_Z, ENTER, TerminalSession } from "./terminal.ts";

const libc = loadLibc();

/** ssh(1) at a terminal of its own. */
class Person extends TerminalSession {
  readonly #marker: string;

  constructor(
    rig: SshRig,
    args: readonly string[] = [],
    { options = [], key }: { options?: string[]; key?: string } = {},
  ) {
    const marker = `SetEnv=LC_MARKER=${crypto.randomUUID()}`;
    const client = rig.clientArgs({ options: [...options, marker], ...(key !== undefined && { key }) });
    super(["ssh", ...client, "ann@127.0.0.1", ...args], { TERM: "xterm", LC_ALL: "C.UTF-8" });
    this.#marker = marker;
  }

  /** The terminal at which ssh(1) sits, as the window that a person resizes. */
  async resize(rows: number, columns: number): Promise<void> {
    const fd = await waitFor("ssh's terminal", () => {
      const { pid } = readProcesses(libc).find(({ pid }) =>
        libc.procText(`/proc/${pid}/cmdline`)?.startsWith("ssh\0") &&
        libc.procText(`/proc/${pid}/cmdline`)?.includes(this.#marker)
      )!;
      return Deno.readLinkSync(`/proc/${pid}/fd/0`);
    });
    const { code } = await new Deno.Command("stty", { args: ["-F", fd, "rows", `${rows}`, "cols", `${columns}`] })
      .output();
    assert.equal(code, 0);
  }
}

/** A shell without anybody's settings, that has shown its prompt. */
async function shellOf(rig: SshRig): Promise<Person> {
  const person = new Person(rig, ["-t", "PS1='PROMPT> ' exec bash --norc --noprofile --noediting -i"]);
  await person.sees(/PROMPT> /);
  return person;
}

Deno.test("a shell at a terminal: job control, its size, programs that draw", async (t) => {
  await using rig = await SshRig.start();
  await using person = await shellOf(rig);
  const runs = async (command: string, pattern: RegExp) => {
    await person.type(command + ENTER);
    return await person.sees(pattern);
  };
  await t.step("Ctrl-C ends what is in the foreground, and not the shell", async () => {
    await runs("sleep 3600; echo status=$?", /3600/);
    await waitFor("sleep", () => sessionPrograms(rig, "sleep").length === 1);
    await person.type(CTRL_C);
    await person.sees(/PROMPT> /);
    await runs("echo last=$?", /last=130/);
    await person.sees(/PROMPT> /);
  });
  await t.step("Ctrl-Z stops it, fg goes on with it, and it has the terminal", async () => {
    await runs("cat", /cat/);
    await waitFor("cat", () => sessionPrograms(rig, "cat").length === 1);
    await person.type(CTRL_Z);
    await person.sees(/Stopped\s+cat/);
    assert.equal(sessionPrograms(rig, "cat")[0]!.state, "T");
    await runs("fg", /cat\r/);
    await runs("to the cat", /to the cat\r\nto the cat\r/);
    await person.type(CTRL_D);
    await person.sees(/PROMPT> /);
    assert.deepEqual(sessionPrograms(rig, "cat"), []);
  });
  await t.step("its size is the window's, also after that has changed", async () => {
    await person.resize(33, 99);
    await waitFor("the new size", async () => {
      await runs("stty size", /\d+ \d+\r/);
      return / ?33 99\r/.test(person.screen);
    });
    await runs(`sh -c 'trap "stty size" WINCH; echo tra""pped; while :; do sleep 0.05; done'`, /trapped\r/);
    await person.resize(44, 111);
    await person.sees(/44 111\r/);
    await person.type(CTRL_C);
    await person.sees(/PROMPT> /);
  });
  await t.step("an editor", async () => {
    const path = join(rig.folder, "edited");
    await runs(`vim.tiny -u NONE ${path}`, /"[^"]*edited"/);
    await person.type("ihello from vim\x1b");
    await person.type(`:wq${ENTER}`);
    await person.sees(/PROMPT> /);
    assert.equal(await Deno.readTextFile(path), "hello from vim\n");
  });
  await t.step("a program that draws by itself", async () => {
    await runs("top -d 0.2", /load average/);
    await person.sees(/%Cpu/);
    await person.sees(/%Cpu/);
    await person.type("q");
    await person.sees(/PROMPT> /);
    await runs("top -b -n 1 | head -2 | grep -c average", /\b1\r/);
  });
  await t.step("the shell's end is ssh's", async () => {
    await person.type(`exit 7${ENTER}`);
    assert.equal(await person.ended(), 7);
  });
});

/** What a session of krun runs of a program's name. */
function sessionPrograms(rig: SshRig, name: string) {
  const all = descendants(readProcesses(libc), rig.krun.pid);
  return all.filter(({ pid }) => libc.procText(`/proc/${pid}/comm`)?.trim() === name)
    // The rig's own program.
    .filter(({ parent }) => parent !== rig.krun.pid);
}

Deno.test("the modes of the client's terminal are the session's, and what is typed goes there as it is", async () => {
  await using rig = await SshRig.start();
  await using person = new Person(rig, ["-t", "stty -a; od -An -tx1 -N4"]);
  await person.sees(/iutf8/);
  await person.sees(/echoe /);
  await person.type("ä\t" + ENTER);
  await person.sees(/c3 a4 09 0a/);
  assert.equal(await person.ended(), 0);
});

Deno.test("a login without the right to a terminal gets none, and may run commands all the same", async () => {
  await using rig = await SshRig.start({ sshAuth: "no-pty $KEY" });
  const forced = await rig.ssh(["-tt", "true"]);
  assert.equal(forced.code, 255);
  assert.match(forced.stderr, /PTY allocation request failed/);
  await using client = await RawSshClient.connect(rig.port);
  await client.login(await Deno.readTextFile(rig.key));
  const session = await client.openSession();
  const size = [80, 24, 0, 0].map(sshUint32);
  client.request(session, "pty-req", { wantsReply: true, rest: [sshString("xterm"), ...size, sshString("")] });
  await client.take(SSH_MESSAGE.channelFailure);
  client.request(session, "exec", { rest: [sshString("tty; echo $SSH_TTY.")] });
  assert.deepEqual(await client.exited(), { status: 0 });
  assert.equal(client.output, "not a tty\n.\n");
});

Deno.test("krun's stop tells every terminal, hangs up every session, and ends as the program does", async () => {
  const program = ["sh", "-c", 'trap "exit 9" TERM; while :; do sleep 0.1; done'];
  await using rig = await SshRig.start({ program });
  await using bye = new Person(rig, ["-t", 'trap "echo he""ard; exit 3" HUP; echo u""p; while :; do sleep 0.05; done']);
  await using deaf = new Person(rig, ["-t", 'trap "" HUP; echo u""p; exec sleep 3600']);
  for (const person of [bye, deaf]) await person.sees(/up\r/);
  const piped = rig.spawn(['trap "exit 4" HUP; echo up; while :; do sleep 0.05; done']);
  const reader = piped.stdout.getReader();
  await reader.read();
  const began = performance.now();
  rig.krun.kill("SIGTERM");
  for (const person of [bye, deaf]) await person.sees(/krun: the program is being stopped/);
  assert.equal((await rig.krun.end).code, 9);
  assert.ok(performance.now() - began < 10_000);
  // Whoever ignores it is not waited for, and does not outlive krun.
  assert.equal(await bye.ended(), 3);
  assert.equal(await deaf.ended(), 255);
  reader.releaseLock();
  assert.equal((await piped.status).code, 4);
  assert.equal(await new Response(piped.stderr).text(), "krun: this session ends: the program is being stopped\n");
  await Promise.all([piped.stdin.close(), piped.stdout.cancel()]);
  await audited(rig, /ssh session over .* status=3/);
  await audited(rig, /ssh session over .* goesOn=true/);
  assert.deepEqual(
    readProcesses(libc).filter(({ pid }) => libc.procText(`/proc/${pid}/environ`)?.includes(rig.folder)),
    [],
  );
});
