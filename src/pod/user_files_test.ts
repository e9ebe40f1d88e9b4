import assert from "node:assert/strict";
import { join } from "node:path";
import "../../tests/load_libc.ts";
import { bytesOfText, textOfBytes } from "../core/byte_text.ts";
import { FileFault, type OpenFile, type UserFiles } from "../core/user_files.ts";
import { loadLibc } from "./libc.ts";
import { ownUser } from "./user.ts";
import { userFiles } from "./user_files.ts";

const libc = loadLibc();
const ENOENT = 2, EBADF = 9, EACCES = 13, EEXIST = 17, ENOTDIR = 20, EINVAL = 22, ENAMETOOLONG = 36, ELOOP = 40;
const EOPNOTSUPP = 95;

/** A folder of its own for one test, and its files for krun's own user, by either way that paths are looked up. */
class Place implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "krun-files-" });
  readonly files: UserFiles;

  constructor(atOnce: boolean) {
    this.files = userFiles(libc, { user: ownUser(libc), cwd: this.folder, atOnce });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): void {
    Deno.writeTextFileSync(this.path(name), text);
  }

  read(name: string): string {
    return Deno.readTextFileSync(this.path(name));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

function fault(errno: number): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof FileFault, String(error));
    assert.equal(error.errno, errno);
    return true;
  };
}

/** Runs the test by openat2(2) and name by name. */
function testFiles(name: string, body: (place: Place) => void | Promise<void>): void {
  for (const atOnce of [true, false]) {
    Deno.test(`userFiles() ${name} (${atOnce ? "openat2" : "name by name"})`, async () => {
      using place = new Place(atOnce);
      await body(place);
    });
  }
}

/** Calls `use` with an open file, and closes it. */
function withFile<Result>(file: OpenFile, use: (file: OpenFile) => Result): Result {
  try {
    return use(file);
  } finally {
    file.close();
  }
}

/** What a file holds, by the calls under test. */
function contentOf(files: UserFiles, path: string): string {
  return withFile(files.open(path, { read: true }), (file) => {
    const into = new Uint8Array(100);
    return textOfBytes(into.subarray(0, file.read(into, 0)));
  });
}

testFiles("opens, makes, cuts, appends, and reads and writes at offsets beyond 4 GiB", ({ files }) => {
  const far = 5 * 2 ** 30;
  withFile(files.open("a", { read: true, write: true, create: true, exclusive: true, mode: 0o640 }), (file) => {
    file.write(bytesOfText("hello"), far);
    const into = new Uint8Array(10);
    assert.equal(file.read(into, far + 1), 4);
    assert.equal(textOfBytes(into.subarray(0, 4)), "ello");
    assert.equal(file.stat().sizeBytes, far + 5);
    assert.equal(file.read(into, far + 5), 0);
    file.change({ sizeBytes: 3 });
  });
  assert.equal(files.stat("a").mode, 0o100640);
  withFile(files.open("a", { append: true }), (file) => file.write(bytesOfText("end"), 0));
  assert.equal(contentOf(files, "a"), "\0\0\0end");
  assert.throws(() => files.open("a", { write: true, create: true, exclusive: true }), fault(EEXIST));
  files.open("a", { write: true, truncate: true }).close();
  assert.equal(files.stat("a").sizeBytes, 0);
  assert.throws(() => files.open("none", { read: true }), fault(ENOENT));
});

testFiles("refuses what is closed, and closes twice without harm", ({ files }) => {
  const file = files.open("a", { write: true, create: true });
  file.close();
  file.close();
  assert.throws(() => file.write(new Uint8Array(1), 0), fault(EBADF));
  const folder = files.openFolder(".");
  folder.close();
  folder.close();
  assert.throws(() => folder.entries(), fault(EBADF));
});

testFiles("lists a folder of many names, also those that are no UTF-8", (place) => {
  const odd = textOfBytes(Uint8Array.of(0x61, 0xff, 0x62));
  place.files.open(odd, { create: true, write: true }).close();
  for (let index = 0; index < 700; index++) place.write(`file with a longer name ${index}`, "");
  const folder = place.files.openFolder(".");
  const names: string[] = [];
  for (let some; (some = folder.entries()).length > 0;) {
    names.push(...some.map(({ name, stat }) => `${name} ${(stat?.mode ?? 0) >> 12}`));
  }
  folder.close();
  assert.equal(new Set(names).size, 703);
  assert.ok([". 4", ".. 4", `${odd} 8`].every((name) => names.includes(name)));
  assert.throws(() => place.files.openFolder("file with a longer name 1"), fault(ENOTDIR));
});

testFiles("changes mode, size and times, of files and through links; of a link only its times", ({ files }) => {
  files.open("a", { create: true, write: true }).close();
  files.makeLink("l", "a");
  files.change("l", { mode: 0o6600, sizeBytes: 7, times: { accessedSeconds: 5, modifiedSeconds: 4_000_000_000 } });
  const { mode, sizeBytes, accessedSeconds, modifiedSeconds } = files.stat("a");
  assert.deepEqual([mode, sizeBytes, accessedSeconds, modifiedSeconds], [0o106600, 7, 5, 4_000_000_000]);
  files.changeLink("l", { times: { accessedSeconds: 1, modifiedSeconds: 2 } });
  assert.equal(files.linkStat("l").modifiedSeconds, 2);
  assert.equal(files.stat("l").modifiedSeconds, 4_000_000_000);
  assert.throws(() => files.changeLink("l", { mode: 0o600 }), fault(EOPNOTSUPP));
  files.changeLink("a", { mode: 0o600 });
  assert.equal(files.stat("a").mode, 0o100600);
  const { uid, gid } = ownUser(libc);
  files.change("a", { owner: { uid, gid } });
});

testFiles("makes and removes folders and links, renames with and without replacing", ({ files }) => {
  files.makeFolder("d/", 0o751);
  assert.equal(files.stat("d").mode & 0o700, 0o700);
  files.open("d/a", { create: true, write: true }).close();
  files.makeHardLink("d/b", "d/a");
  assert.equal(files.stat("d/b").links, 2);
  files.makeLink("d/l", "../nowhere");
  assert.equal(files.readLink("d/l"), "../nowhere");
  assert.throws(() => files.readLink("d/a"), fault(EINVAL));
  assert.throws(() => files.rename("d/l", "d/b", { replace: false }), fault(EEXIST));
  files.rename("d/l", "d/c", { replace: false });
  files.rename("d/c", "d/b");
  assert.equal(files.stat("d/a").links, 1);
  assert.throws(() => files.remove("d/a/"), fault(ENOTDIR));
  for (const name of ["d/a", "d/b"]) files.remove(name);
  files.removeFolder("d");
  assert.throws(() => files.linkStat("d"), fault(ENOENT));
});

testFiles("makes what a link leads to that leads nowhere, as open(2) does, but not exclusively", (place) => {
  const { files } = place;
  files.makeLink("l", "made");
  assert.throws(() => files.open("l", { write: true, create: true, exclusive: true }), fault(EEXIST));
  files.open("l", { write: true, create: true }).close();
  assert.equal(place.read("made"), "");
});

testFiles("finds the real path, whose last part need not exist, and no way round in links", (place) => {
  const { files } = place;
  const folder = Deno.realPathSync(place.folder);
  files.makeFolder("d", 0o755);
  files.makeLink("l", "d/../d");
  files.makeLink("circle", "circle");
  assert.equal(files.realPath("."), folder);
  assert.equal(files.realPath("l/../none"), `${folder}/none`);
  assert.equal(files.realPath("l"), `${folder}/d`);
  assert.deepEqual([files.realPath("/"), files.realPath("/none-of-that")], ["/", "/none-of-that"]);
  assert.throws(() => files.realPath("none/none"), fault(ENOENT));
  assert.throws(() => files.stat("circle"), fault(ELOOP));
});

testFiles("says what a file system has, as stat(1) does", async ({ files, folder }) => {
  const { stdout } = await new Deno.Command("stat", { args: ["-f", "-c", "%s %S %b %c %l", folder] }).output();
  const { blockSize, fragmentSize, blocks, files: inodes, longestName } = files.fileSystem(".");
  assert.equal(
    new TextDecoder().decode(stdout).trim(),
    [blockSize, fragmentSize, blocks, inodes, longestName].join(" "),
  );
});

testFiles("refuses paths that the kernel could not take as they are", ({ files }) => {
  assert.throws(() => files.stat(""), fault(ENOENT));
  assert.throws(() => files.stat("a\0b"), fault(EINVAL));
  assert.throws(() => files.makeLink("a", "b\0c"), fault(EINVAL));
  assert.throws(() => files.open("x".repeat(5000), { create: true, write: true }), fault(ENAMETOOLONG));
});

testFiles("opens nothing of /proc, where krun's own secrets lie, by whatever way", (place) => {
  const { files } = place;
  const own = `/proc/${Deno.pid}`;
  files.makeLink("environ", "/proc/self/environ");
  files.makeLink("proc", own);
  const secrets = [
    ...[
      "/proc/self/environ",
      "/proc/self/mem",
      "/proc/thread-self/environ",
      `${own}/environ`,
      "environ",
      "proc/environ",
    ],
    ...["/proc/self/root/proc/self/environ", "/proc/self/cwd/environ", "/proc/self/task/../environ", "/proc/1/environ"],
    ...["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/proc/self/exe", `/dev/fd/../environ`],
  ];
  // The control: krun itself may read its own.
  assert.ok((libc.procText("/proc/self/environ") ?? "").length > 0);
  for (const path of secrets) {
    for (const opening of [{ read: true }, { write: true }, { read: true, create: true }]) {
      assert.throws(() => files.open(path, opening), fault(EACCES), path);
    }
    assert.throws(() => files.change(path, { mode: 0o600 }), fault(EACCES), path);
  }
  for (const path of ["/proc", "/proc/self/fd", "/dev/fd", "/proc/self/root", "/proc/self/cwd", "proc"]) {
    assert.throws(() => files.openFolder(path), fault(EACCES), path);
  }
  for (const path of ["/proc/self/exe", "/proc/self/fd/0", "/proc/self/root", "/proc/self"]) {
    assert.throws(() => files.readLink(path), fault(EACCES), path);
  }
  for (const path of ["/proc/self/root/x", "/proc/self/cwd/x"]) {
    assert.throws(() => files.makeFolder(path, 0o755), fault(EACCES), path);
    assert.throws(() => files.rename("environ", path), fault(EACCES), path);
    assert.throws(() => files.makeHardLink(path, "environ"), fault(EACCES), path);
  }
  assert.throws(() => files.stat("/proc/self/fd/0"), fault(EACCES));
  assert.throws(() => files.realPath("/proc/self/cwd"), fault(EACCES));
});

testFiles("does not reach by /proc a file that krun has open", (place) => {
  place.write("secret", "hidden");
  const fd = libc.open(place.path("secret"), 0);
  try {
    // The control: the kernel lets krun follow that link.
    assert.equal(libc.attempt("faccessat", -100, `/proc/self/fd/${fd}`, 4), 0);
    for (const path of [`/proc/self/fd/${fd}`, `/dev/fd/${fd}`, `/proc/${Deno.pid}/fd/${fd}`]) {
      assert.throws(() => place.files.open(path, { read: true }), fault(EACCES), path);
    }
  } finally {
    libc.call("close", fd);
  }
});

testFiles("opens of devices only those that never wait, and no others", ({ files }) => {
  const into = new Uint8Array(8);
  for (const name of ["zero", "full", "random", "urandom"]) {
    assert.equal(withFile(files.open(`/dev/${name}`, { read: true }), (file) => file.read(into, 0)), 8, name);
  }
  withFile(files.open("/dev/null", { write: true, create: true, truncate: true }), (file) => file.write(into, 0));
  for (const path of ["/dev/tty", "/dev/ptmx"]) {
    assert.throws(() => files.open(path, { read: true }), fault(EACCES), path);
  }
});

testFiles("opens no named pipe, where krun would wait, and no socket", ({ files, folder }) => {
  const pipe = join(folder, "pipe");
  new Deno.Command("mkfifo", { args: [pipe] }).outputSync();
  for (const opening of [{ read: true }, { write: true }, { read: true, write: true }, { write: true, create: true }]) {
    assert.throws(() => files.open("pipe", opening), fault(EACCES));
  }
  const listener = Deno.listen({ transport: "unix", path: join(folder, "socket") });
  try {
    assert.throws(() => files.open("socket", { read: true }), fault(EACCES));
  } finally {
    listener.close();
  }
  assert.equal(files.stat("pipe").mode & 0o170000, 0o010000);
  files.remove("pipe");
});

testFiles("does not wait for a program that has a lease on a file", ({ files, folder }) => {
  const F_SETLEASE = 1024, F_WRLCK = 1, O_RDWR = 2, SIGIO = 29, EAGAIN = 11;
  files.open("leased", { write: true, create: true }).close();
  // Whoever has the lease is told by this signal, which would end it.
  const restore = libc.setAction(SIGIO, "ignore");
  const fd = libc.open(join(folder, "leased"), O_RDWR);
  try {
    assert.equal(libc.call("fcntl", fd, F_SETLEASE, F_WRLCK), 0);
    assert.throws(() => files.open("leased", { read: true }), fault(EAGAIN));
    assert.throws(() => files.open("leased", { write: true, truncate: true }), fault(EAGAIN));
    assert.throws(() => files.change("leased", { sizeBytes: 5 }), fault(EAGAIN));
    files.change("leased", { mode: 0o600, times: { accessedSeconds: 1, modifiedSeconds: 2 } });
    files.rename("leased", "renamed");
    files.remove("renamed");
  } finally {
    libc.call("close", fd);
    restore();
  }
});

testFiles("resizes what is open also when its mode forbids it by now, and nothing but files", ({ files }) => {
  const file = files.open("a", { write: true, create: true, mode: 0o444 });
  file.change({ sizeBytes: 9 });
  assert.equal(file.stat().sizeBytes, 9);
  file.close();
  for (const path of [".", "/dev/null"]) assert.throws(() => files.change(path, { sizeBytes: 1 }), fault(EINVAL), path);
});

testFiles("makes durable what was written, and keeps the descriptor until then", async ({ files }) => {
  const file = files.open("a", { write: true, create: true });
  file.write(bytesOfText("x"), 0);
  const synced = file.sync();
  file.close();
  await synced;
  await assert.rejects(file.sync(), fault(EBADF));
});

testFiles("leaves no descriptor open, whatever fails", ({ files, folder }) => {
  const open = () => libc.procNames("/proc/self/fd").length;
  const before = open();
  for (const path of ["none", "none/none", "/proc/self/environ", "/dev/tty", "/proc/self/root/x", folder]) {
    for (
      const act of [
        () => files.open(path, { read: true }).close(),
        () => files.openFolder(path).close(),
        () => files.change(path, { sizeBytes: 1 }),
        () => files.realPath(path),
        () => files.rename(path, `${path}/x`),
        () => files.removeFolder("/"),
      ]
    ) {
      try {
        act();
      } catch (error) {
        assert.ok(error instanceof FileFault, String(error));
      }
    }
  }
  assert.equal(open(), before);
});

Deno.test("userFiles() name by name takes a slash at the end as the kernel does", () => {
  using place = new Place(false);
  place.write("file", "");
  place.files.makeLink("l", "file");
  const kernel = (path: string) => libc.attempt("statx", -100, path, 0x100, 1, new Uint8Array(256));
  for (const name of ["file/", "l/", "file/.", "l/..", "./", "../", ".//", "file", "l"]) {
    const expected = kernel(place.path(".") + `/${name}`);
    if (expected === 0) place.files.linkStat(name);
    else assert.throws(() => place.files.linkStat(name), fault(expected), name);
  }
});
