import assert from "node:assert/strict";
import { join } from "node:path";
import "../../tests/load_libc.ts";
import { MemoryChannel } from "../../tests/memory_channel.ts";
import { waitFor } from "../../tests/wait.ts";
import { accountNames } from "../core/account_names.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser } from "../pod/user.ts";
import { userFiles } from "../pod/user_files.ts";
import type { Surroundings } from "./built_in.ts";
import { lookAround, type LookAroundOptions, type ProgramCall, runCommandLine } from "./look_around.ts";

const libc = loadLibc();
const STATUS = "Uid:\t7\t7\t7\t7\nVmRSS:\t 12 kB\n";
const NOW = 1_700_000_000;

/** A folder with a few files, and a session that looks at it. */
class Scene implements Disposable {
  readonly folder = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-look-" }));
  readonly options: LookAroundOptions;
  readonly ran: string[] = [];

  constructor(run: LookAroundOptions["run"] = () => Promise.resolve(undefined)) {
    Deno.mkdirSync(join(this.folder, "etc"));
    Deno.writeTextFileSync(join(this.folder, "etc", "a b"), "hello\n");
    Deno.writeTextFileSync(join(this.folder, "etc", ".hidden"), "");
    Deno.symlinkSync("etc", join(this.folder, "link"));
    for (const name of ["etc/a b", "etc"]) Deno.utimeSync(join(this.folder, name), NOW, NOW);
    const world: Surroundings = {
      files: userFiles(libc, { user: ownUser(libc), cwd: this.folder }),
      env: { HOME: "/home/bob", COLOR: "red", PWD: "/of/krun's/caller" },
      home: this.folder,
      user: { uid: 7, gid: 8, groups: [9] },
      accounts: accountNames({ passwd: "bob:x:7:8::/home/bob:\n", group: "staff:x:8:\n" }),
      proc: {
        pids: () => [5],
        text: (path) => {
          if (path === "/proc/5/stat") return "5 (app) S 1 5 5 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n";
          return path === "/proc/5/status" ? STATUS : path === "/proc/5/cmdline" ? "/app\0-v\0" : undefined;
        },
      },
      clock: { ...systemClock, nowMs: () => NOW * 1000 },
    };
    this.options = { world, cwd: this.folder, run };
  }

  /** Runs one command line: status, output and error. */
  async run(
    line: string,
    signal = new AbortController().signal,
  ): Promise<[status: number, out: string, error: string]> {
    const [out, error] = [new MemoryChannel(), new MemoryChannel()];
    const output = {
      isTerminal: false,
      signal,
      write: (bytes: Uint8Array) => out.write(bytes),
      error: (bytes: Uint8Array) => error.write(bytes),
    };
    const status = await runCommandLine(line, { ...this.options, output });
    return [status, out.text(), error.text()];
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("runCommandLine() lists folders, files and links", async () => {
  using scene = new Scene();
  const { uid, gid } = ownUser(libc);
  assert.deepEqual(await scene.run("ls"), [0, "etc\nlink\n", ""]);
  assert.deepEqual(await scene.run("ls -a etc"), [0, ".\n..\n.hidden\na b\n", ""]);
  assert.deepEqual(await scene.run("ls link"), [0, "a b\n", ""]);
  assert.deepEqual(await scene.run("ls -1d etc 'etc/a b'"), [0, "etc\netc/a b\n", ""]);
  assert.deepEqual(await scene.run("ls etc link/"), [0, "etc:\na b\nlink/:\na b\n", ""]);
  const row = `-rw-r--r--   1 ${String(uid).padEnd(8)} ${String(gid).padEnd(8)}        6 Nov 14 22:13 a b\n`;
  assert.deepEqual(await scene.run("ls -l etc"), [0, row, ""]);
  assert.match((await scene.run("ls -l link"))[1], /^lrwxrwxrwx .* link -> etc\n$/);
  assert.deepEqual(await scene.run("ls none -- x"), [
    1,
    "",
    "ls: none: No such file or directory\nls: --: No such file or directory\nls: x: No such file or directory\n",
  ]);
  assert.deepEqual(await scene.run("ls -R"), [1, "", "ls: option -R is not built in; -l, -a, -1 and -d are\n"]);
});

Deno.test("runCommandLine() shows files, and goes on after one that cannot be read", async () => {
  using scene = new Scene();
  assert.deepEqual(await scene.run("cat none 'etc/a b' etc/a\\ b"), [
    1,
    "hello\nhello\n",
    "cat: none: No such file or directory\n",
  ]);
  assert.deepEqual(await scene.run("cat etc"), [1, "", "cat: etc: It is a directory\n"]);
  assert.deepEqual(await scene.run("cat -"), [1, "", "cat: name a file; standard input is not read\n"]);
  assert.deepEqual(await scene.run("cat /proc/self/environ /dev/stdin"), [
    ...[1, "", "cat: /proc/self/environ: Permission denied\ncat: /dev/stdin: Permission denied\n"] as const,
  ]);
});

Deno.test("runCommandLine() tells of the environment, processes, the user and the folder", async () => {
  using scene = new Scene();
  assert.deepEqual(await scene.run("env"), [0, `HOME=/home/bob\nCOLOR=red\nPWD=${scene.folder}\n`, ""]);
  for (const line of ["env FOO=1 server", "env -i", "env ls"]) {
    assert.deepEqual(await scene.run(line), [
      125,
      "",
      "env: this one shows the environment, and sets and runs nothing\n",
    ]);
  }
  assert.deepEqual(await scene.run("ps aux"), [
    0,
    "USER         PID    PPID STAT       RSS COMMAND\nbob            5       1 S          12K /app -v\n",
    "",
  ]);
  assert.deepEqual(await scene.run("id"), [0, "uid=7(bob) gid=8(staff) groups=8(staff),9\n", ""]);
  assert.deepEqual(await scene.run("pwd"), [0, `${scene.folder}\n`, ""]);
  assert.match((await scene.run("help"))[1], /built in are: ls, cat, env, ps, pwd, cd, id, help, exit\n/);
});

Deno.test("runCommandLine() starts programs by their words, and says what there is for a name that is none", async () => {
  const ran: string[][] = [];
  using scene = new Scene((argv) => {
    ran.push([...argv]);
    return Promise.resolve(argv[0] === "app" ? 3 : undefined);
  });
  assert.deepEqual(await scene.run("app 'a b' *"), [3, "", ""]);
  const note = "this image has no shell; built in are: ls, cat, env, ps, pwd, cd, id, help, exit";
  assert.deepEqual(await scene.run("bash -l"), [127, "", `krun: Cannot run "bash": ${note}\n`]);
  assert.deepEqual(await scene.run("constructor"), [127, "", `krun: Cannot run "constructor": ${note}\n`]);
  assert.deepEqual(ran, [["app", "a b", "*"], ["bash", "-l"], ["constructor"]]);
  assert.deepEqual(await scene.run("cat 'x"), [2, "", "krun: a quote does not end\n"]);
  assert.deepEqual([await scene.run("  "), await scene.run("exit 7")], [[0, "", ""], [7, "", ""]]);
});

Deno.test("runCommandLine() refuses what only a shell can do, of programs too, and says so in one line", async () => {
  const ran: string[][] = [];
  using scene = new Scene((argv) => {
    ran.push([...argv]);
    return Promise.resolve(0);
  });
  const advice = "give one command at a time, and what is no operator in quotes";
  for (const [line, syntax] of [["cd etc && ls", "&&"], ["app x >y", ">"], ["A=b app", "A="], ["nothing; ls", ";"]]) {
    const told = `krun: "${syntax}" is a shell's, and this image has none: ${advice}\n`;
    assert.deepEqual(await scene.run(line!), [2, "", told]);
  }
  assert.deepEqual(ran, []);
  assert.deepEqual(await scene.run("app 'x;y' '>' A=b"), [0, "", ""]);
  assert.deepEqual(ran, [["app", "x;y", ">", "A=b"]]);
  assert.deepEqual(await scene.run("cd etc ls"), [1, "", "cd: name one folder, and nothing behind it\n"]);
  assert.deepEqual(await scene.run("scp -f $HOME/x"), [
    2,
    "",
    'krun: scp: "$HOME/x" is not expanded: of a path krun expands ~, *, ? and [...] alone\n',
  ]);
});

Deno.test("runCommandLine() ends when its signal aborts", async () => {
  using scene = new Scene();
  assert.equal((await scene.run("cat /dev/zero", AbortSignal.abort()))[0], 130);
});

/** A prompt that was served to its end. */
async function session(scene: Scene, typed: string, isTerminal: boolean): Promise<[status: number, shown: string]> {
  const channel = new MemoryChannel();
  channel.send(new TextEncoder().encode(typed), undefined);
  const status = await lookAround(channel, { ...scene.options, isTerminal });
  assert.equal(channel.hasEnded, false);
  return [status, channel.text().replaceAll(scene.folder, "/f")];
}

Deno.test("lookAround() is a prompt: it shows what is typed, keeps its folder, and ends lines as a raw terminal needs it", async () => {
  using scene = new Scene();
  const [status, shown] = await session(scene, "cd etc\rpw\x7fwd\rcd\rcd none\rls\rexit 4\rpwd\r", true);
  assert.equal(status, 4);
  const lines = shown.split("\r\n");
  assert.match(lines[0]!, /^krun: this image has no shell; built in are: /);
  assert.deepEqual(lines.slice(1), [
    ...["krun:/f> cd etc", "krun:/f/etc> pw\b \bwd", "/f/etc", "krun:/f/etc> cd", "krun:/f> cd none"],
    ...["cd: none: No such file or directory", "krun:/f> ls", "etc", "link", "krun:/f> exit 4", ""],
  ]);
});

Deno.test("lookAround() ends at Ctrl-D, with the status of the last command; Ctrl-C forgets the line", async () => {
  using scene = new Scene();
  const [status, shown] = await session(scene, "nothing\x03cat none\r\x04ls\r", true);
  assert.equal(status, 1);
  assert.match(shown, /> nothing\^C\r\nkrun:\/f> cat none\r\ncat: none: No such file or directory\r\nkrun:\/f> \r\n$/);
});

Deno.test("lookAround() without a terminal reads lines as a shell does, the last without its end", async () => {
  using scene = new Scene();
  assert.deepEqual(await session(scene, "pwd\nls etc", false), [0, "/f\na b\n"]);
  assert.deepEqual(await session(scene, "cd etc\nenv", false), [0, "HOME=/home/bob\nCOLOR=red\nPWD=/f/etc\n"]);
});

Deno.test("lookAround() shows no control characters of others on a terminal", async () => {
  using scene = new Scene();
  Deno.writeTextFileSync(join(scene.folder, "etc", "\x1b]0;owned\x07"), "");
  assert.match((await session(scene, "ls etc\r", true))[1], /\r\n\?\]0;owned\?\r\n/);
  // deno-lint-ignore no-control-regex
  assert.match((await session(scene, "ls etc\n", false))[1], /\x1b\]0;owned\x07\n/);
});

Deno.test("lookAround() interrupts a command at Ctrl-C, and reads what was typed after it", async () => {
  using scene = new Scene();
  const channel = new MemoryChannel();
  const done = lookAround(channel, { ...scene.options, isTerminal: true });
  const type = (text: string) => channel.send(new TextEncoder().encode(text));
  const makeRoom = channel.fill();
  type("cat /dev/zero\r");
  makeRoom();
  await waitFor("output", () => channel.written.length > 20);
  const wait = channel.fill();
  type("ignored\x03pwd\rexit\r");
  await waitFor("the key to be read", () => channel.unread === 0);
  wait();
  assert.equal(await done, 0);
  const shown = channel.text().split("\0").at(-1) ?? "";
  assert.equal(shown.replaceAll(scene.folder, "/f"), "^C\r\nkrun:/f> pwd\r\n/f\r\nkrun:/f> exit\r\n");
});

Deno.test("lookAround() ends a program at Ctrl-C, and runs what is typed after it", async () => {
  const run = async (_argv: readonly string[], { output }: ProgramCall) => {
    await output.write(new TextEncoder().encode("running\n"));
    await new Promise((resolve) => output.signal.addEventListener("abort", resolve));
    return 143;
  };
  using scene = new Scene(run);
  const channel = new MemoryChannel();
  const done = lookAround(channel, { ...scene.options, isTerminal: true });
  channel.send(new TextEncoder().encode("app\r"));
  await waitFor("the program to run", () => channel.text().includes("running"));
  channel.send(new TextEncoder().encode("\x03exit 6\r"));
  assert.equal(await done, 6);
  assert.match(channel.text(), /app\r\nrunning\r\n\^C\r\nkrun:.*> exit 6\r\n$/);
});

Deno.test("lookAround() ends when the channel is cut, also within a command", async () => {
  using scene = new Scene();
  const channel = new MemoryChannel();
  const done = lookAround(channel, { ...scene.options, isTerminal: true });
  channel.send(new TextEncoder().encode("cat /dev/zero\r"));
  await waitFor("output", () => channel.written.length > 20);
  channel.reset();
  assert.equal(await done, 130);
});
