import assert from "node:assert/strict";
import { join } from "node:path";
import "../../tests/load_libc.ts";
import { MemoryChannel } from "../../tests/memory_channel.ts";
import { waitFor } from "../../tests/wait.ts";
import { exists, tree } from "../../tests/workspace.ts";
import { bytesOfText } from "../core/byte_text.ts";
import { parseScpCommand } from "../core/scp_command.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser } from "../pod/user.ts";
import { userFiles } from "../pod/user_files.ts";
import { type ScpEnd, serveScp } from "./scp_server.ts";
import { MAX_DEPTH } from "./scp_source.ts";
import type { SftpEvent } from "./sftp_audit.ts";

const libc = loadLibc();
const ENDED = { kind: "ended", status: 0 } as const, FAILED = { kind: "ended", status: 1 } as const;

/** A folder, and clients that are served there one after the other. */
class Served implements AsyncDisposable {
  readonly root = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-scp-" }));
  /** The session's working directory. */
  readonly folder = join(this.root, "in");
  readonly events: SftpEvent[] = [];
  channel = new MemoryChannel();
  end: Promise<ScpEnd> = Promise.resolve({ kind: "cut" });
  readonly #clock: typeof systemClock;

  constructor(clock = systemClock) {
    this.#clock = clock;
    Deno.mkdirSync(this.folder);
  }

  begin(line: string): MemoryChannel {
    this.channel = new MemoryChannel();
    this.end = serveScp(this.channel, {
      command: parseScpCommand(line)!,
      files: userFiles(libc, { user: ownUser(libc), cwd: this.folder }),
      home: (user) => user === "" ? join(this.folder, "home") : undefined,
      clock: this.#clock,
      audit: (event) => void this.events.push(event),
    });
    return this.channel;
  }

  /** A client that says all of this and ends; its end, and what it was told. */
  async serve(line: string, ...said: readonly (string | Uint8Array)[]): Promise<{ end: ScpEnd; told: string }> {
    const channel = this.begin(line);
    channel.send(...said.map((piece) => typeof piece === "string" ? bytesOfText(piece) : piece), undefined);
    return { end: await this.end, told: channel.text() };
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  write(name: string, text: string): void {
    Deno.writeTextFileSync(this.path(name), text);
  }

  read(name: string): string {
    return Deno.readTextFileSync(this.path(name));
  }

  openFiles(): string[] {
    return libc.procNames("/proc/self/fd").map((fd) => libc.procLink(`/proc/self/fd/${fd}`) ?? "")
      .filter((path) => path.startsWith(this.root));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.reset();
    await this.end;
    assert.deepEqual(this.openFiles(), []);
    await Deno.remove(this.root, { recursive: true });
  }
}

function modeOf(path: string): string {
  return (Deno.statSync(path).mode! & 0o7777).toString(8);
}

Deno.test("serveScp() receives a file into a folder that is there, or as the name that is not", async () => {
  await using served = new Served();
  const into = await served.serve("scp -t .", "C0640 5 a\n", "hel", "lo\0");
  assert.deepEqual(into, { end: ENDED, told: "\0\0\0" });
  const as = await served.serve("scp -t b", "C0400 2 other\nhi\0");
  assert.deepEqual(as, { end: ENDED, told: "\0\0\0" });
  assert.deepEqual(tree(served.folder), ["a", "b"]);
  assert.deepEqual([served.read("a"), served.read("b"), modeOf(served.path("b"))], ["hello", "hi", "400"]);
});

Deno.test("serveScp() writes no more and leaves no more than what comes, and keeps the mode of what is there", async () => {
  await using served = new Served();
  served.write("a", "something longer");
  Deno.chmodSync(served.path("a"), 0o600);
  const { end } = await served.serve("scp -t a", "C0644 2 a\nhi\0");
  assert.deepEqual([end, served.read("a"), modeOf(served.path("a"))], [ENDED, "hi", "600"]);
});

Deno.test("serveScp() receives folders with their times and modes, a mode that forbids writing as well", async () => {
  await using served = new Served();
  const { end, told } = await served.serve(
    "scp -r -p -t d",
    "T1500000000 0 1400000000 0\nD0550 0 d\n",
    "T1600000000 0 1600000000 0\nC4711 1 x\nx\0",
    "D0700 0 e\nE\nE\n",
  );
  assert.deepEqual([end, told], [ENDED, "\0".repeat(9)]);
  assert.deepEqual(tree(served.folder), ["d/", "d/e/", "d/x"]);
  const [folder, file] = [Deno.statSync(served.path("d")), Deno.statSync(served.path("d", "x"))];
  assert.deepEqual([folder.mtime?.getTime(), file.mtime?.getTime()], [1_500_000_000_000, 1_600_000_000_000]);
  assert.deepEqual([modeOf(served.path("d")), modeOf(served.path("d", "x"))], ["550", "4711"]);
});

Deno.test("serveScp() without -p takes neither setuid nor more than the umask lets", async () => {
  await using served = new Served();
  const { end } = await served.serve("scp -r -t .", "D6577 0 d\nC6755 0 x\n\0E\n");
  assert.equal(end.kind, "ended");
  const umask = Deno.umask();
  assert.equal(modeOf(served.path("d", "x")), (0o755 & ~umask).toString(8));
  assert.equal(modeOf(served.path("d")), (0o577 & ~umask).toString(8));
});

for (
  const [what, said] of Object.entries({
    "a file above the target": "C0644 1 ../x\nx\0",
    "the folder above the target": "D0755 0 ..\nC0644 1 x\nx\0",
    "a folder above one that it is in": "D0755 0 d\nD0755 0 ..\nD0755 0 ..\nC0644 1 x\nx\0",
    "a path": "C0644 1 /tmp/krun-scp-hostile\nx\0",
    "an empty name": "C0644 1 \nx\0",
    "a size that is none": "C0644 99999999999999999999 x\n",
    "a negative size": "C0644 -1 x\n",
    "a mode that is none": "C9999 1 x\nx\0",
    "an answer to nothing": "\0",
    "the end of no folder": "E\n",
    "a line without an end": "C".repeat(9000),
    "another protocol": "GET / HTTP/1.1\r\n\r\n",
  })
) {
  Deno.test(`serveScp() ends at ${what}, and nothing is written outside of the target`, async () => {
    await using served = new Served();
    const { end, told } = await served.serve("scp -r -t .", said);
    assert.equal(end.kind, "malformed");
    assert.match(told.slice(told.indexOf("\x02") + 1), /^scp: protocol error: [^\n]+\n$/);
    assert.deepEqual(tree(served.root).filter((name) => !/^in\/(?:d\/)?$/.test(name)), []);
    assert.equal(exists("/tmp/krun-scp-hostile"), false);
  });
}

Deno.test("serveScp() ends at more bytes than were told of, and at a folder that was not asked for", async () => {
  await using served = new Served();
  const more = await served.serve("scp -t .", "C0644 2 x\nhello\0");
  assert.deepEqual([more.end.kind, served.read("x")], ["malformed", "he"]);
  const folder = await served.serve("scp -t .", "D0755 0 d\nE\n");
  assert.deepEqual([folder.end, exists(served.path("d"))], [{ kind: "malformed", why: "a folder, without -r" }, false]);
});

Deno.test("serveScp() closes a file whose bytes do not all come", async () => {
  await using served = new Served();
  const { end } = await served.serve("scp -t .", "C0644 9007199254740991 x\nhello");
  assert.deepEqual([end, served.read("x")], [{ kind: "cut" }, "hello"]);
  assert.deepEqual(served.events.at(-1)?.fields, { path: "./x", readBytes: 0, writtenBytes: 5 });
});

Deno.test("serveScp() tells why a file or folder cannot be, and goes on with the next", async () => {
  await using served = new Served();
  served.write("file", "");
  Deno.mkdirSync(served.path("folder"));
  const { end, told } = await served.serve(
    "scp -r -t .",
    "D0755 0 file\n",
    "C0644 1 folder\n",
    "D0755 0 " + "x".repeat(300) + "\n",
    "\x01scp: mine: No such file\n",
    "C0644 2 y\nhi\x01scp: mine: Input/output error\n",
    "C0644 1 z\nz\0",
  );
  assert.deepEqual([end, served.read("z")], [FAILED, "z"]);
  assert.deepEqual(told.split("\n").map((line) => line.replace(/x{300}/, "xxx")), [
    "\0\x01scp: ./file: A part of the path is not a directory",
    "\x01scp: ./folder: It is a directory",
    "\x01scp: ./xxx: The name is too long",
    "\0\0\0\0",
  ]);
});

Deno.test("serveScp() takes all bytes of a file that it cannot write", async () => {
  await using served = new Served();
  const { end, told } = await served.serve("scp -t /dev/full", "C0644 5 x\nhello\0C0644 1 y\ny\0");
  const refused = "\x01scp: /dev/full: No space left on device\n";
  assert.deepEqual([end, told], [FAILED, `\0\0${refused}\0${refused}`]);
});

Deno.test("serveScp() with -d receives into folders alone, and never into more than one place", async () => {
  await using served = new Served();
  served.write("a", "");
  served.write("b", "");
  const none = await served.serve("scp -d -t c");
  assert.deepEqual(none, { end: FAILED, told: "\x02scp: c: A part of the path is not a directory\n" });
  const two = await served.serve("scp -t ?");
  assert.deepEqual(two, { end: FAILED, told: "\x02scp: a: this is not the only target\n" });
  const one = await served.serve("scp -t [b]", "C0644 1 x\nx\0");
  assert.deepEqual([one.end, served.read("b")], [ENDED, "x"]);
});

Deno.test("serveScp() sends files, the times where they are wanted", async () => {
  await using served = new Served();
  served.write("a", "hello");
  Deno.chmodSync(served.path("a"), 0o640);
  Deno.utimeSync(served.path("a"), 1_400_000_000, 1_500_000_000);
  const plain = await served.serve("scp -f a", "\0\0\0");
  assert.deepEqual(plain, { end: ENDED, told: "C0640 5 a\nhello\0" });
  Deno.utimeSync(served.path("a"), 1_400_000_000, 1_500_000_000);
  const kept = await served.serve(`scp -p -f ${served.folder}/./a`, "\0\0\0\0");
  assert.deepEqual(kept, { end: ENDED, told: "T1500000000 0 1400000000 0\nC0640 5 a\nhello\0" });
});

Deno.test("serveScp() sends folders with what is in them, and a folder named by its place by its own name", async () => {
  await using served = new Served();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  Deno.writeTextFileSync(served.path("d", "x"), "x", { mode: 0o600 });
  const sent = "D0755 0 d\nC0600 1 x\nx\0E\n";
  assert.deepEqual(await served.serve("scp -r -f d/", "\0\0\0\0\0"), { end: ENDED, told: sent });
  assert.deepEqual(await served.serve("scp -r -f d/.", "\0\0\0\0\0"), { end: ENDED, told: sent });
  const refused = await served.serve("scp -f d", "\0");
  assert.deepEqual(refused, { end: FAILED, told: "\x01scp: d: not a regular file\n" });
});

Deno.test("serveScp() expands ~ and patterns as a shell does, in every part of a path", async () => {
  await using served = new Served();
  for (const folder of ["home", "d1", "d2", ".d3"]) {
    Deno.mkdirSync(served.path(folder));
    served.write(`${folder}/x`, "");
    served.write(`${folder}/.x`, "");
  }
  served.write("d1/*", "");
  const sent = async (path: string) => {
    const { told } = await served.serve(`scp -f ${path}`, "\0".repeat(20));
    return told.split("\0").filter(Boolean).map((one) => one.trim().replace(/^C0\d+ 0 /, ""));
  };
  assert.deepEqual(await sent("d*/?"), ["*", "x", "x"]);
  assert.deepEqual(await sent("'d1'/[!a-w*]"), ["x"]);
  assert.deepEqual(await sent("d1/'*'"), ["*"]);
  assert.deepEqual(await sent(`${served.folder}/.d?/*`), ["x"]);
  assert.deepEqual(await sent("~/x"), ["x"]);
  assert.deepEqual(await sent("~/.x*"), [".x"]);
  assert.deepEqual(await sent("none* x"), [
    "\x01scp: none*: No such file or directory\n\x01scp: x: No such file or directory",
  ]);
  assert.deepEqual(await sent("~nobody/x"), ["\x01scp: ~nobody/x: No such file or directory"]);
});

Deno.test("serveScp() follows links, but none that leads back, and goes no deeper than it has descriptors for", async () => {
  await using served = new Served();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  Deno.symlinkSync("..", served.path("d", "up"));
  Deno.symlinkSync(".", served.path("d", "self"));
  const { end, told } = await served.serve("scp -r -f d", "\0".repeat(40));
  assert.equal(end.kind, "ended");
  assert.match(told, /scp: d\/self: Links lead in a circle\n/);
  assert.match(told, /scp: d\/up\/d: Links lead in a circle\n/);
  Deno.mkdirSync(served.path("deep", ...Array.from({ length: MAX_DEPTH }, () => "d")), { recursive: true });
  const deep = await served.serve("scp -r -f deep", "\0".repeat(2 * MAX_DEPTH + 1));
  assert.deepEqual([deep.end, deep.told.split("D0755").length - 1], [FAILED, MAX_DEPTH]);
  assert.match(deep.told, /scp: [d/]{400}: folders lie too deep in each other\n/);
});

Deno.test("serveScp() goes on where the client does not agree, and ends where it ends", async () => {
  await using served = new Served();
  for (const name of ["a", "b"]) served.write(name, name);
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  served.write("d/x", "");
  const one = await served.serve("scp -r -f a d b", "\0\x01no\n\x01no\n\0\0");
  assert.deepEqual(one, { end: FAILED, told: "C0644 1 a\nD0755 0 d\nC0644 1 b\nb\0" });
  const none = await served.serve("scp -f a b", "\0\x02no more\n");
  assert.deepEqual(none, { end: { kind: "cut" }, told: "C0644 1 a\n" });
  const other = await served.serve("scp -f a b", "\0C0644 1 x\n");
  assert.deepEqual(other.end, { kind: "malformed", why: "an answer is none" });
});

Deno.test("serveScp() refuses names that the protocol cannot carry, and what is no file", async () => {
  await using served = new Served();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  served.write("d/a\nC0644 1 b", "");
  const line = await served.serve("scp -r -f d", "\0\0\0");
  assert.deepEqual(line, {
    end: FAILED,
    told: "D0755 0 d\n\x01scp: d/a?C0644 1 b: its name has a slash, a NUL or a line end\nE\n",
  });
  for (const [path, why] of [["/dev/zero", /not a regular file/], ["/", /it is not the name of a file/]] as const) {
    const { end, told } = await served.serve(`scp -r -f ${path}`, "\0");
    assert.deepEqual(end, FAILED);
    assert.match(told, why);
  }
  // Those of proc(5) would be krun's own.
  const environ = await served.serve("scp -f /proc/self/environ", "\0\0\0");
  assert.deepEqual([environ.end, environ.told], [FAILED, "\x01scp: /proc/self/environ: Permission denied\n"]);
});

Deno.test("serveScp() sends as many bytes as it has promised of a file that becomes shorter", async () => {
  await using served = new Served();
  served.write("a", "x".repeat(300_000));
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0"));
  await waitFor("the promise", () => channel.written.length === 1);
  Deno.truncateSync(served.path("a"), 10);
  channel.send(bytesOfText("\0\0"));
  assert.deepEqual(await served.end, FAILED);
  const told = channel.text().replace(/x+\W+(?=\Wscp)/, (some) => `${some.length} bytes`);
  assert.equal(told, "C0644 300000 a\n300000 bytes\x01scp: a: it has become shorter meanwhile\n");
});

Deno.test("serveScp() reads no more of a file than the client takes, and closes it when the channel is cut", async () => {
  await using served = new Served();
  served.write("a", "");
  await Deno.truncate(served.path("a"), 2 ** 40);
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0"));
  await waitFor("the promise", () => channel.written.length === 1);
  channel.fill();
  channel.send(bytesOfText("\0"));
  await waitFor("the first piece", () => channel.written.length === 2);
  // All that could go on without a timer has.
  for (let turn = 0; turn < 10; turn++) await systemClock.turn();
  assert.deepEqual([channel.written.length, served.openFiles()], [2, [served.path("a")]]);
  channel.reset();
  assert.deepEqual(await served.end, { kind: "cut" });
});

Deno.test("serveScp() stops sending a file when its client has ended, though somebody still takes the bytes", async () => {
  await using served = new Served();
  served.write("a", "");
  await Deno.truncate(served.path("a"), 2 ** 40);
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0\0"));
  await waitFor("the first pieces", () => channel.written.length > 2);
  channel.send(undefined);
  assert.deepEqual(await served.end, { kind: "cut" });
});

Deno.test("serveScp() looks at nothing more of a client that reads no answers", async () => {
  await using served = new Served();
  const channel = served.begin("scp -t .");
  await waitFor("the first answer", () => channel.written.length === 1);
  channel.fill();
  channel.send(...Array.from({ length: 1000 }, () => bytesOfText("T1 0 1 0\n")));
  await waitFor("the second answer", () => channel.written.length === 2);
  for (let turn = 0; turn < 10; turn++) await systemClock.turn();
  assert.deepEqual([channel.written.length, channel.unread], [2, 999]);
});

Deno.test("serveScp() lets others have their turn at every 256 KiB, both ways", async () => {
  let turns = 0;
  await using served = new Served({ ...systemClock, elapsedMs: () => 0, turn: () => Promise.resolve(void turns++) });
  const piece = new Uint8Array(64 * 1024);
  await served.serve("scp -t x", `C0644 ${16 * piece.length} x\n`, ...Array.from({ length: 16 }, () => piece), "\0");
  assert.ok(turns >= 3 && turns <= 4, `${turns} turns`);
  turns = 0;
  await served.serve("scp -f x", "\0\0\0");
  assert.ok(turns >= 3 && turns <= 4, `${turns} turns`);
});

Deno.test("serveScp() lets others have their turn while it looks for what a pattern means, and stops when nobody waits", async () => {
  let turns = 0;
  const turn = () => {
    if (++turns === 3) served.channel.reset();
    return Promise.resolve();
  };
  let nowMs = 0;
  await using served: Served = new Served({ ...systemClock, elapsedMs: () => nowMs += 5, turn });
  for (let file = 0; file < 20; file++) served.write(`${file}`, "");
  served.begin("scp -t *");
  assert.deepEqual([await served.end, turns], [{ kind: "cut" }, 3]);
});

Deno.test("serveScp() tells of what changes files at info, of the rest at debug", async () => {
  await using served = new Served();
  await served.serve("scp -r -t .", "D0755 0 d\nC0644 2 x\nhi\0E\n");
  await served.serve("scp -r -f d none", "\0".repeat(6));
  assert.deepEqual(served.events.map(({ level, event, fields }) => `${level} ${event} ${JSON.stringify(fields)}`), [
    'info scp directory made {"path":"./d"}',
    'info scp file opened {"path":"./d/x","access":"write"}',
    'info scp file closed {"path":"./d/x","readBytes":0,"writtenBytes":2}',
    'debug scp directory opened {"path":"d"}',
    'debug scp file opened {"path":"d/x","access":"read"}',
    'debug scp file closed {"path":"d/x","readBytes":2,"writtenBytes":0}',
    'debug scp request refused {"path":"none","reason":"No such file or directory"}',
  ]);
});
