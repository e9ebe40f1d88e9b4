import assert from "node:assert/strict";
import { join } from "node:path";
import "../../tests/load_libc.ts";
import { MemoryChannel } from "../../tests/memory_channel.ts";
import {
  type Answer,
  answersOf,
  CREATE,
  extended,
  handle,
  INIT,
  openRequest,
  READ,
  request,
  toldOf,
  TRUNCATE,
  uint64,
  WRITE,
} from "../../tests/sftp_client.ts";
import { waitFor } from "../../tests/wait.ts";
import { accountNames } from "../core/account_names.ts";
import { MAX_DATA_BYTES } from "../core/sftp_answer.ts";
import { MAX_PACKET_BYTES } from "../core/sftp_framing.ts";
import { concatBytes, SshReader, sshString, sshUint32 } from "../core/ssh_wire.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser } from "../pod/user.ts";
import { userFiles } from "../pod/user_files.ts";
import { serveSftp, type SftpEnd } from "./sftp_server.ts";
import type { SftpEvent } from "./sftp_audit.ts";
import { MAX_HANDLES } from "./sftp_handles.ts";

const libc = loadLibc();
const accounts = accountNames({ passwd: "root:x:0:0::/root:\nbob:x:7:8::/home/bob:\n", group: "root:x:0:\n" });

/** A channel that is served, over a folder of its own. */
class Served implements AsyncDisposable {
  readonly folder = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-sftp-" }));
  readonly channel = new MemoryChannel();
  readonly events: SftpEvent[] = [];
  readonly end: Promise<SftpEnd>;

  constructor(clock = systemClock) {
    this.end = serveSftp(this.channel, {
      files: userFiles(libc, { user: ownUser(libc), cwd: this.folder }),
      ...{ home: this.folder, userName: "me", accounts, clock },
      audit: (event) => void this.events.push(event),
    });
  }

  /** Sends packets, then the end; the answers in short, without VERSION. */
  async told(...packets: readonly Uint8Array[]): Promise<string[]> {
    return (await this.answers(...packets)).map(toldOf);
  }

  async answers(...packets: readonly Uint8Array[]): Promise<Answer[]> {
    this.channel.send(INIT, ...packets, undefined);
    assert.deepEqual(await this.end, { kind: "ended" });
    return answersOf(this.channel.bytes()).slice(1);
  }

  openFiles(): string[] {
    return libc.procNames("/proc/self/fd").map((fd) => libc.procLink(`/proc/self/fd/${fd}`) ?? "")
      .filter((path) => path.startsWith(this.folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.reset();
    await this.end;
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("serveSftp() offers version 3 and its extensions, whatever version the client has above it", async () => {
  await using served = new Served();
  served.channel.send(Uint8Array.fromHex("00000005" + "01" + "00000006"), undefined);
  await served.end;
  const [version] = answersOf(served.channel.bytes());
  assert.deepEqual([version?.type, version?.id], [2, 3]);
  const reader = new SshReader(version!.rest);
  const offered: string[] = [];
  while (!reader.isAtEnd) offered.push(`${reader.text()} ${reader.text()}`);
  assert.ok(offered.includes("limits@openssh.com 1") && offered.includes("copy-data 1"), offered.join());
});

Deno.test("serveSftp() writes, reads, copies and lists, and closes what was left open", async () => {
  await using served = new Served();
  const told = await served.told(
    openRequest(1, "a", READ | WRITE | CREATE),
    request("WRITE", 2, handle(0, 0), sshString("hello world")),
    request("READ", 3, handle(0, 6), sshUint32(100)),
    request("READ", 4, handle(0, 11), sshUint32(100)),
    openRequest(5, "b", WRITE | CREATE | TRUNCATE),
    extended("copy-data", 6, handle(0, 6), uint64(0), handle(1, 2)),
    extended("copy-data", 7, handle(0, 0), uint64(0), handle(0, 0)),
    request("READ", 8, handle(1, 0), sshUint32(100)),
    request("OPENDIR", 9, sshString(".")),
    request("READ", 10, handle(2, 0), sshUint32(100)),
    request("READDIR", 11, handle(0)),
    request("CLOSE", 12, handle(0)),
    request("CLOSE", 13, handle(0)),
  );
  assert.deepEqual(told, [
    ...["handle 0", "status 0", "data world", "status 1", "handle 1", "status 0", "status 4", "status 4"],
    ...["handle 2", "status 4", "status 4", "status 0", "status 4"],
  ]);
  assert.equal(await Deno.readTextFile(join(served.folder, "b")), "\0\0world");
  assert.deepEqual(served.openFiles(), []);
  const closed = served.events.filter(({ event }) => event === "sftp file closed").map(({ level, fields }) => ({
    level,
    ...fields,
  }));
  assert.deepEqual(closed, [
    { level: "info", path: "a", readBytes: 10, writtenBytes: 11 },
    { level: "info", path: "b", readBytes: 0, writtenBytes: 5 },
  ]);
});

Deno.test("serveSftp() lists what is there once, and tells the end then", async () => {
  await using served = new Served();
  await Deno.writeTextFile(join(served.folder, "x"), "");
  const told = await served.told(
    request("OPENDIR", 1, sshString("")),
    request("OPENDIR", 2, sshString(".")),
    request("READDIR", 3, handle(0)),
    request("READDIR", 4, handle(0)),
  );
  assert.deepEqual([told[0], told[1], told[3]], ["status 2", "handle 0", "status 1"]);
  assert.deepEqual(told[2]?.slice(5).split(",").sort(), [".", "..", "x"]);
});

Deno.test("serveSftp() resolves paths: home folders, ~, names of users, and what does not exist yet", async () => {
  await using served = new Served();
  const { folder } = served;
  const told = await served.told(
    request("REALPATH", 1, sshString("")),
    request("REALPATH", 2, sshString("none")),
    request("REALPATH", 3, sshString("none/none")),
    extended("expand-path@openssh.com", 4, sshString("~/none")),
    extended("expand-path@openssh.com", 5, sshString("~root")),
    extended("expand-path@openssh.com", 6, sshString("~nobody-of-that-name/x")),
    extended("home-directory", 7, sshString("me")),
    extended("home-directory", 8, sshString("bob")),
    extended("home-directory", 9, sshString("")),
  );
  assert.deepEqual(told, [
    ...[`name ${folder}`, `name ${folder}/none`, "status 2", `name ${folder}/none`, "name /root", "status 4"],
    ...[`name ${folder}`, "name /home/bob", `name ${folder}`],
  ]);
});

Deno.test("serveSftp() names users and groups by number, an empty name for nobody", async () => {
  await using served = new Served();
  const [answer] = await served.answers(
    extended(
      "users-groups-by-id@openssh.com",
      1,
      sshString(concatBytes(sshUint32(7), sshUint32(9))),
      sshString(sshUint32(0)),
    ),
  );
  const reader = new SshReader(answer!.rest);
  const [users, groups] = [new SshReader(reader.string()), new SshReader(reader.string())];
  assert.deepEqual([users.text(), users.text(), groups.text()], ["bob", "", "root"]);
});

Deno.test("serveSftp() answers what is unsupported or malformed, and goes on", async () => {
  await using served = new Served();
  const told = await served.told(
    extended("vendor@example.com", 1),
    request("STAT", 2, sshUint32(0xffff_ffff)),
    request("READ", 3, handle(99, 0), sshUint32(1)),
    request("READ", 4, sshString("no handle of ours"), uint64(0), sshUint32(1)),
    request("REALPATH", 5, sshString("/")),
  );
  assert.deepEqual(told, ["status 8", "status 5", "status 4", "status 4", "name /"]);
});

for (
  const [what, bytes] of Object.entries({
    "no INIT": request("STAT", 1, sshString("/")),
    "a second INIT": concatBytes(INIT, INIT),
    "an empty packet": concatBytes(INIT, sshUint32(0)),
    "a packet of 4 GiB": concatBytes(INIT, sshUint32(0xffff_ffff)),
    "an end within a packet": concatBytes(INIT, sshUint32(9)),
    "a request without a number": concatBytes(INIT, Uint8Array.fromHex("0000000203ff")),
  })
) {
  Deno.test(`serveSftp() ends at ${what}, and closes what was open`, async () => {
    await using served = new Served();
    served.channel.send(bytes, undefined);
    assert.equal((await served.end).kind, "malformed");
    assert.deepEqual(served.openFiles(), []);
  });
}

Deno.test("serveSftp() opens so many handles and no more, and gives no number twice", async () => {
  await using served = new Served();
  await Deno.writeTextFile(join(served.folder, "x"), "");
  const opens = Array.from({ length: MAX_HANDLES + 1 }, (_, index) => openRequest(index, "x", READ));
  const told = await served.told(...opens, request("CLOSE", 1, handle(5)), openRequest(2, "x", READ));
  assert.deepEqual(told.slice(-3), ["status 4", "status 0", `handle ${MAX_HANDLES}`]);
  assert.equal(new Set(told).size, MAX_HANDLES + 3);
  assert.deepEqual(served.openFiles(), []);
});

Deno.test("serveSftp() gives no more than the limit of a packet, however much is asked for", async () => {
  await using served = new Served();
  await Deno.truncate(join(served.folder, "x"), 0).catch(() =>
    Deno.writeFile(join(served.folder, "x"), new Uint8Array(MAX_PACKET_BYTES * 2))
  );
  const read = request("READ", 2, handle(0, 0), sshUint32(0xffff_ffff));
  const answers = await served.answers(openRequest(1, "x", READ), read);
  assert.equal(answers[1]?.rest.length, 4 + MAX_DATA_BYTES);
});

Deno.test("serveSftp() looks at no request before the answer to the one before has room", async () => {
  await using served = new Served();
  const { channel } = served;
  channel.send(INIT);
  await waitFor("VERSION", () => channel.written.length === 1);
  channel.fill();
  channel.send(...Array.from({ length: 1000 }, (_, id) => request("REALPATH", id, sshString("/"))));
  await waitFor("the first answer", () => channel.written.length === 2);
  // All that could go on without a timer has.
  for (let turn = 0; turn < 10; turn++) await systemClock.turn();
  assert.deepEqual([channel.written.length, channel.unread], [2, 999]);
});

Deno.test("serveSftp() closes what was open when the channel is cut, also while it waits for room", async () => {
  await using served = new Served();
  const { channel } = served;
  channel.send(INIT, openRequest(1, "x", WRITE | CREATE));
  await waitFor("a file that is open", () => served.openFiles().length === 1);
  await waitFor("its handle", () => channel.written.length === 2);
  channel.fill();
  channel.send(request("REALPATH", 2, sshString("/")));
  await waitFor("an answer without room", () => channel.written.length === 3);
  channel.reset();
  assert.deepEqual(await served.end, { kind: "cut" });
  assert.deepEqual(served.openFiles(), []);
});

Deno.test("serveSftp() lets others have their turn at every 256 KiB", async () => {
  let turns = 0;
  await using served = new Served({ ...systemClock, elapsedMs: () => 0, turn: () => Promise.resolve(void turns++) });
  const data = sshString(new Uint8Array(64 * 1024));
  const writes = Array.from({ length: 16 }, (_, id) => request("WRITE", id, handle(0, 0), data));
  await served.told(openRequest(1, "x", WRITE | CREATE), ...writes);
  assert.ok(turns >= 3 && turns <= 4, `${turns} turns`);
});

Deno.test("serveSftp() tells of what changes files at info, of the rest at debug", async () => {
  await using served = new Served();
  const attributes = concatBytes(sshUint32(4), sshUint32(0o600));
  await served.told(
    request("MKDIR", 1, sshString("d"), sshUint32(0)),
    openRequest(2, "d/a", WRITE | CREATE),
    openRequest(3, "d/a", READ),
    request("RENAME", 4, sshString("d/a"), sshString("d/b")),
    request("SYMLINK", 5, sshString("b"), sshString("d/l")),
    extended("hardlink@openssh.com", 6, sshString("d/b"), sshString("d/h")),
    request("SETSTAT", 7, sshString("d/b"), attributes),
    request("REMOVE", 8, sshString("d/b")),
    request("RMDIR", 9, sshString("d")),
    request("STAT", 10, sshString("none")),
  );
  const told = served.events.map(({ level, event, fields }) => `${level} ${event} ${JSON.stringify(fields)}`);
  assert.deepEqual(told.slice(0, 10), [
    'info sftp directory made {"path":"d"}',
    'info sftp file opened {"path":"d/a","access":"write"}',
    'debug sftp file opened {"path":"d/a","access":"read"}',
    'info sftp file renamed {"path":"d/a","to":"d/b"}',
    'info sftp link made {"path":"d/l","to":"b"}',
    'info sftp hard link made {"path":"d/b","to":"d/h"}',
    'info sftp attributes changed {"path":"d/b","mode":"0600"}',
    'info sftp file removed {"path":"d/b"}',
    'debug sftp request refused {"request":"removeFolder","path":"d","reason":"The directory is not empty"}',
    'debug sftp request refused {"request":"stat","path":"none","reason":"No such file or directory"}',
  ]);
});
