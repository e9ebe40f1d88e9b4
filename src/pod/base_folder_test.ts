import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import type { KrunError } from "../core/errors.ts";
import { openBase } from "./base_folder.ts";
import { loadLibc } from "./libc.ts";

loadLibc();

function modeOf(path: string): number {
  return Deno.lstatSync(path).mode! & 0o7777;
}

Deno.test("openBase() makes a state folder that only krun enters, and close() removes it", () => {
  using test = new TestBase();
  const base = test.open();
  assert.equal(base.stateFolder, test.at(".krun"));
  assert.equal(modeOf(base.stateFolder), 0o700);
  Deno.writeTextFileSync(join(base.stateFolder, "something"), "of another part of krun");
  base.close({ keep: false });
  assert.deepEqual(test.left(), []);
  assert.deepEqual(test.log.events, []);
});

Deno.test("openBase() makes a base that is absent with its parents, and close() removes what it made of them", () => {
  using test = new TestBase();
  const base = openBase({ base: test.at("a/b/c"), log: test.log, pid: 1 });
  Deno.writeTextFileSync(test.at("a/file"), "of somebody else");
  base.close({ keep: false });
  assert.deepEqual(test.left(), ["a/", "a/file"]);
});

Deno.test("openBase() removes a base that a killed run made when it ends", () => {
  using test = new TestBase();
  const open = () => openBase({ base: test.at("a/b"), log: test.log, pid: 1 });
  open().close({ keep: true });
  const base = open();
  base.sweep();
  base.close({ keep: false });
  assert.deepEqual(test.left(), []);
});

Deno.test("openBase() follows links to the base itself", () => {
  using test = new TestBase();
  const real = test.outside("real");
  Deno.symlinkSync(real, test.at("link"));
  const base = openBase({ base: test.at("link"), log: test.log, pid: 1 });
  assert.equal(base.base, real);
  base.close({ keep: false });
  assert.deepEqual(tree(real), []);
});

Deno.test("openBase() says BaseLocked with the process id while another krun works there, and not after it", () => {
  using test = new TestBase();
  const first = openBase({ base: test.path, log: test.log, pid: 4711 });
  const before = test.left();
  assert.throws(() => test.open(), (error: KrunError) => {
    assert.equal(error.code, "BaseLocked");
    assert.match(error.message, /process id 4711/);
    assert.match(error.hint, /MESH_BASE_DIR/);
    return true;
  });
  assert.deepEqual(test.left(), before);
  first.close({ keep: false });
  test.run(() => {});
});

Deno.test("openBase() says TargetInUse and touches nothing when the state folder is not krun's own", () => {
  const strangers: Record<string, (path: string, elsewhere: string) => void> = {
    "a file": (path) => Deno.writeTextFileSync(path, "x"),
    "a link": (path, elsewhere) => Deno.symlinkSync(elsewhere, path),
    "writable for others": (path) => {
      Deno.mkdirSync(path);
      Deno.chmodSync(path, 0o777);
    },
  };
  for (const [name, make] of Object.entries(strangers)) {
    using test = new TestBase();
    const elsewhere = test.outside("elsewhere");
    make(test.at(".krun"), elsewhere);
    const before = test.left();
    assert.throws(() => test.open(), { code: "TargetInUse" }, name);
    assert.deepEqual([test.left(), tree(elsewhere)], [before, []], name);
  }
});

Deno.test("openBase() does not follow a link at its lock or its journal", () => {
  for (const name of ["lock", "journal"]) {
    using test = new TestBase();
    const victim = join(test.outside("elsewhere"), "victim");
    Deno.writeTextFileSync(victim, "precious");
    Deno.mkdirSync(test.at(".krun"), { mode: 0o700 });
    Deno.symlinkSync(victim, test.at(".krun", name));
    assert.throws(() => test.open(), { code: "TargetUnwritable" }, name);
    assert.equal(Deno.readTextFileSync(victim), "precious");
  }
});

Deno.test("openBase() says TargetUnwritable when the base cannot be made", () => {
  using test = new TestBase();
  Deno.writeTextFileSync(test.at("file"), "");
  const open = () => openBase({ base: test.at("file/base"), log: test.log, pid: 1 });
  assert.throws(open, { code: "TargetUnwritable" });
});

Deno.test("BaseFolder.record() is read by the next run after a kill, not after a normal end", () => {
  using test = new TestBase();
  const killed = test.open();
  killed.record("program", { pid: 7 });
  killed.record("other", 1);
  killed.record("other", undefined);
  killed.close({ keep: true });
  test.run((next) => {
    next.sweep();
    assert.deepEqual(next.read("program"), { pid: 7 });
    assert.equal(next.read("other"), undefined);
  });
  test.run((last) => assert.equal(last.read("program"), undefined));
});

Deno.test("BaseFolder reads a journal whose last line was cut, and goes on after the whole ones", () => {
  using test = new TestBase();
  const killed = test.open();
  killed.record("a", 1);
  killed.close({ keep: true });
  Deno.writeTextFileSync(test.at(".krun/journal"), '{"fact":"b","val', { append: true });
  const next = test.open();
  next.record("c", 3);
  next.close({ keep: true });
  test.run((last) => assert.deepEqual([last.read("a"), last.read("b"), last.read("c")], [1, undefined, 3]));
});

Deno.test("BaseFolder.memoryStore() makes a folder that only its readers enter, removed at the end", () => {
  using test = new TestBase();
  test.run((base) => {
    const ownership = { readers: [] };
    const [db, again] = [base.memoryStore("db", { ownership })!, base.memoryStore("db", { ownership })!];
    assert.notEqual(db, again);
    const [top, ...others] = [...Deno.readDirSync(test.memory)].map(({ name }) => name);
    assert.deepEqual(others, []);
    assert.match(top!, /^krun-[0-9a-f]{32}$/);
    assert.equal(modeOf(join(test.memory, top!)), 0o700);
    Deno.writeTextFileSync(join(db, "file"), "secret");
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("BaseFolder.memoryStore() is undefined where there is no memory file system", () => {
  using test = new TestBase();
  for (const memoryFolder of [test.path, "/nonexistent"]) {
    const base = openBase({ base: test.path, log: test.log, pid: 1, memoryFolder });
    assert.equal(base.memoryStore("db", { ownership: { readers: [] } }), undefined);
    base.close({ keep: false });
  }
  assert.deepEqual(test.left(), []);
});

Deno.test("BaseFolder.sweep() after a reboot copes with a memory folder that is gone", () => {
  using test = new TestBase();
  const killed = test.open();
  const store = killed.memoryStore("db", { ownership: { readers: [] } })!;
  killed.close({ keep: true });
  Deno.removeSync(join(store, ".."), { recursive: true });
  test.run((base) => base.sweep());
  assert.deepEqual(test.left(), []);
  assert.deepEqual(test.log.events, []);
});

Deno.test("BaseFolder.sweep() leaves a folder alone that has taken the place of krun's own", () => {
  using test = new TestBase();
  const killed = test.open();
  const top = join(killed.memoryStore("db", { ownership: { readers: [] } })!, "..");
  killed.close({ keep: true });
  Deno.removeSync(top, { recursive: true });
  Deno.mkdirSync(top);
  Deno.writeTextFileSync(join(top, "mine"), "");
  test.run((base) => base.sweep());
  assert.equal(Deno.readTextFileSync(join(top, "mine")), "");
});

Deno.test("BaseFolder.sweep() makes the journal short after many runs that were killed, one of them while it did so", () => {
  using test = new TestBase();
  const journal = test.at(".krun/journal");
  const lines = () => Deno.readTextFileSync(journal).trim().split("\n").length;
  for (let run = 0; run < 20; run++) {
    const killed = test.open();
    killed.sweep();
    for (const key of ["a", "b", "b"]) killed.record(key, run);
    assert.ok(lines() <= 5, `${lines()} lines`);
    killed.close({ keep: true });
  }
  // What a kill leaves that comes before the new journal takes the old one's place.
  Deno.writeTextFileSync(`${journal}.next`, '{"fact":"a","value":"lost"}\n{"fact":"b","val');
  test.run((base) => {
    base.sweep();
    assert.deepEqual([base.read("a"), base.read("b")], [19, 19]);
    assert.equal(lines(), 2);
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("BaseFolder keeps the journal of a long run short, and it means the same", () => {
  using test = new TestBase();
  const killed = test.open();
  killed.makeFolder(test.at("made"));
  let longest = 0;
  for (let restart = 0; restart < 2000; restart++) {
    killed.record("programs", { app: { pid: restart, text: "x".repeat(80) } });
    killed.note({ made: "link", path: test.at("made/link"), to: `version ${restart}` });
    longest = Math.max(longest, Deno.statSync(test.at(".krun/journal")).size);
  }
  assert.ok(longest < 80_000, `${longest} bytes`);
  Deno.symlinkSync("version 1999", test.at("made/link"));
  killed.close({ keep: true });
  test.run((next) => {
    next.sweep();
    assert.equal((next.read("programs") as { app: { pid: number } }).app.pid, 1999);
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("openBase() waits for a lock whose process is dead, and not for one that is alive", async () => {
  for (const [pid, isFree] of [[2 ** 22 + 1, true], [Deno.pid, false]] as const) {
    using test = new TestBase();
    test.open().close({ keep: true });
    // As the copy of a lock in a process that krun was starting when it was killed.
    const script = "echo locked; sleep 0.3";
    const holder = new Deno.Command("flock", {
      args: [test.at(".krun/lock"), "sh", "-c", script],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const output = holder.stdout.getReader();
    await output.read();
    Deno.writeTextFileSync(test.at(".krun/lock"), `${pid}\n`);
    if (isFree) test.run(() => {});
    else assert.throws(() => test.open(), { code: "BaseLocked" });
    await output.cancel();
    await holder.status;
  }
});
