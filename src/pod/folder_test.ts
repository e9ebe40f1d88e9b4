import assert from "node:assert/strict";
import { join } from "node:path";
import { Folder } from "./folder.ts";
import { loadLibc } from "./libc.ts";
import { closeFile, effectiveUser, FileError, openFileAt, realPath, tryLock } from "./libc_files.ts";

loadLibc();

const OWNED = { mode: 0o644, uid: undefined, gid: undefined };

/** A temporary folder, free of links, as Deno and as krun see it. */
class Rig implements Disposable {
  readonly path = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-test-" }));
  readonly folder = Folder.open(this.path);

  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
    Deno.removeSync(this.path, { recursive: true });
  }

  at(name: string): string {
    return join(this.path, name);
  }
}

function failsWith(code: string, action: () => void): void {
  assert.throws(action, (error) => error instanceof FileError && error.code === code);
}

Deno.test("Folder.write() makes a file with its final mode whatever the umask is, and never writes over one", () => {
  using rig = new Rig();
  const umask = Deno.umask(0o077);
  try {
    rig.folder.write("file", new Uint8Array([1, 2]), { ...OWNED, mode: 0o666 });
  } finally {
    Deno.umask(umask);
  }
  assert.equal(Deno.statSync(rig.at("file")).mode! & 0o7777, 0o666);
  failsWith("EEXIST", () => rig.folder.write("file", new Uint8Array(), OWNED));
  Deno.symlinkSync("elsewhere", rig.at("link"));
  failsWith("EEXIST", () => rig.folder.write("link", new Uint8Array(), OWNED));
  assert.deepEqual([...rig.folder.read("file")], [1, 2]);
});

Deno.test("Folder.read() gives whole files of any size, and refuses a link", () => {
  using rig = new Rig();
  for (const size of [0, 1, 511, 512, 513, 100_000]) {
    const bytes = new Uint8Array(size).map((_, at) => at % 251);
    rig.folder.write(`file${size}`, bytes, OWNED);
    assert.deepEqual(rig.folder.read(`file${size}`), bytes);
  }
  Deno.symlinkSync("file1", rig.at("link"));
  failsWith("ELOOP", () => void rig.folder.read("link"));
});

Deno.test("Folder.read() does not wait for a writer when a FIFO is there", async () => {
  using rig = new Rig();
  assert.ok((await new Deno.Command("mkfifo", { args: [rig.at("fifo")] }).output()).success);
  assert.equal(rig.folder.read("fifo").length, 0);
  assert.equal(rig.folder.stat("fifo")!.kind, "fifo");
});

Deno.test("Folder.list() gives every name of a large folder, sorted, and of an empty one none", () => {
  using rig = new Rig();
  assert.deepEqual(rig.folder.list(), []);
  const names = Array.from({ length: 3000 }, (_, at) => `${at}-é-${"x".repeat(at % 100)}`).sort();
  for (const name of names) Deno.writeTextFileSync(rig.at(name), "");
  assert.deepEqual(rig.folder.list(), names);
});

Deno.test("Folder.stat() says what stands at a name, never what a link leads to", () => {
  using rig = new Rig();
  Deno.mkdirSync(rig.at("folder"), { mode: 0o750 });
  Deno.symlinkSync("folder", rig.at("link"));
  rig.folder.write("file", new Uint8Array(3), { ...OWNED, mode: 0o640 });
  const { kind, mode, uid, size } = rig.folder.stat("file")!;
  assert.deepEqual({ kind, mode, uid, size }, { kind: "file", mode: 0o640, uid: effectiveUser(), size: 3 });
  assert.equal(rig.folder.stat("folder")!.kind, "folder");
  assert.equal(rig.folder.stat("link")!.kind, "link");
  assert.equal(rig.folder.stat("nothing"), undefined);
  assert.equal(rig.folder.linkText("link"), "folder");
  assert.equal(rig.folder.linkText("folder"), undefined);
  using proc = Folder.open("/proc");
  assert.equal(proc.self().mountRoot, true);
  using dev = Folder.open("/dev");
  assert.equal(dev.stat("null")!.kind, "charDevice");
});

Deno.test("Folder.stat() tells two files at one name apart", () => {
  using rig = new Rig();
  Deno.mkdirSync(rig.at("x"));
  const { identity } = rig.folder.stat("x")!;
  Deno.writeTextFileSync(rig.at("x/file"), "");
  Deno.chmodSync(rig.at("x"), 0o700);
  assert.equal(rig.folder.stat("x")!.identity, identity);
  Deno.renameSync(rig.at("x"), rig.at("y"));
  Deno.mkdirSync(rig.at("x"));
  assert.notEqual(rig.folder.stat("x")!.identity, identity);
});

Deno.test("Folder.open() refuses a link anywhere in a path", () => {
  using rig = new Rig();
  Deno.mkdirSync(rig.at("real/inner"), { recursive: true });
  Deno.symlinkSync("real", rig.at("link"));
  failsWith("ENOTDIR", () => void Folder.open(rig.at("link/inner")));
  assert.equal(Folder.openIfThere(rig.at("link/inner")), undefined);
  assert.equal(Folder.openIfThere(rig.at("nothing")), undefined);
  using inner = Folder.open(rig.at("real/inner"));
  assert.equal(inner.path, rig.at("real/inner"));
});

Deno.test("Folder refuses a name with a NUL", () => {
  using rig = new Rig();
  failsWith("EINVAL", () => rig.folder.write("a\0b", new Uint8Array(), OWNED));
  assert.deepEqual(rig.folder.list(), []);
});

Deno.test("Folder.removeTree() removes all below, links themselves, and what is not there", () => {
  using rig = new Rig();
  Deno.mkdirSync(rig.at("keep"));
  Deno.writeTextFileSync(rig.at("keep/file"), "");
  Deno.mkdirSync(rig.at("tree/a/b"), { recursive: true });
  Deno.writeTextFileSync(rig.at("tree/a/file"), "");
  Deno.symlinkSync("../keep", rig.at("tree/link"));
  Deno.writeTextFileSync(rig.at("tree/a/b/file"), "");
  Deno.chmodSync(rig.at("tree/a/b"), 0o500);
  rig.folder.removeTree("tree");
  rig.folder.removeTree("tree");
  assert.deepEqual(rig.folder.list(), ["keep"]);
  assert.equal(Deno.readTextFileSync(rig.at("keep/file")), "");
});

Deno.test("Folder.rename() replaces a link, not what it leads to", () => {
  using rig = new Rig();
  for (const name of ["old", "new"]) Deno.mkdirSync(rig.at(name));
  rig.folder.link("data", "old");
  rig.folder.link("next", "new");
  rig.folder.rename("next", "data");
  assert.deepEqual(rig.folder.list(), ["data", "new", "old"]);
  assert.equal(rig.folder.linkText("data"), "new");
});

Deno.test("realPath() resolves links, and is undefined for what does not exist", () => {
  using rig = new Rig();
  Deno.mkdirSync(rig.at("real"));
  Deno.symlinkSync("real", rig.at("link"));
  Deno.symlinkSync("nothing", rig.at("dangling"));
  Deno.writeTextFileSync(rig.at("file"), "");
  assert.equal(realPath(rig.at("link")), rig.at("real"));
  for (const name of ["dangling", "nothing", "file/x"]) assert.equal(realPath(rig.at(name)), undefined);
});

Deno.test("tryLock() is true for one descriptor at a time, until it is closed", () => {
  using rig = new Rig();
  const open = () => openFileAt(rig.folder.fd, "lock", { name: "lock", mode: "lock" });
  const [first, second] = [open(), open()];
  assert.equal(tryLock(first, "lock"), true);
  assert.equal(tryLock(second, "lock"), false);
  closeFile(first);
  assert.equal(tryLock(second, "lock"), true);
  closeFile(second);
});

Deno.test("Folder leaves no descriptor open when calls fail", () => {
  using rig = new Rig();
  const count = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = count();
  for (let at = 0; at < 20; at++) {
    failsWith("ENOENT", () => void Folder.open(rig.at("a/b/c")));
    failsWith("ENOENT", () => rig.folder.own("nothing", OWNED));
    failsWith("EEXIST", () => {
      rig.folder.makeFolder(`x${at}`);
      rig.folder.makeFolder(`x${at}`);
    });
  }
  assert.equal(count(), before);
});
