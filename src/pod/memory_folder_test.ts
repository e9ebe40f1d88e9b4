import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import { loadLibc } from "./libc.ts";
import { memoryFileSystem, memoryFolderName, removeOrphans } from "./memory_folder.ts";

loadLibc();

/** The file that says whose a memory folder is. */
const OWNER = ".owner";

/** A base with a secret in memory. */
function secretIn(test: TestBase) {
  const base = test.open();
  const store = base.memoryStore("db", { ownership: { readers: [] } })!;
  Deno.writeTextFileSync(join(store, "password"), "secret");
  base.tendMemory();
  return { base, top: join(store, "..") };
}

/** A memory folder as a krun leaves it that was killed by now: nobody has its lock, and its process is another one's by now. */
function orphan(test: TestBase): string {
  const { base, top } = secretIn(test);
  base.close({ keep: true });
  rewrite(top, { process: undefined });
  Deno.removeSync(test.path, { recursive: true });
  return top;
}

function rewrite(top: string, change: object): void {
  const path = join(top, OWNER);
  const owner = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify({ ...owner, ...change }));
}

/** Puts the base folder back, so that it can be disposed. */
function sweeping(test: TestBase): string[] {
  removeOrphans(test.memory, test.log);
  Deno.mkdirSync(test.path, { recursive: true });
  return tree(test.memory);
}

Deno.test("removeOrphans() removes the memory folder of a base that was deleted after a kill, and says so", () => {
  using test = new TestBase();
  orphan(test);
  assert.deepEqual(sweeping(test), []);
  assert.deepEqual(test.log.events, ["info removed the memory folder of a base that is gone"]);
});

Deno.test("removeOrphans() removes the folder when another base has taken the place of the deleted one", () => {
  using test = new TestBase();
  orphan(test);
  Deno.mkdirSync(test.at(".krun"), { recursive: true });
  assert.deepEqual(sweeping(test), []);
});

Deno.test("removeOrphans() leaves the folder of a base that is there: the next start in it removes that", () => {
  using test = new TestBase();
  const { base, top } = secretIn(test);
  base.close({ keep: true });
  rewrite(top, { process: undefined });
  const before = tree(test.memory);
  assert.deepEqual(sweeping(test), before);
  test.run((next) => next.sweep());
  assert.deepEqual(tree(test.memory), []);
});

Deno.test("removeOrphans() leaves the folder of a krun that runs, although its base was deleted", () => {
  using test = new TestBase();
  const { base, top } = secretIn(test);
  rewrite(top, { process: undefined });
  Deno.removeSync(test.path, { recursive: true });
  assert.notDeepEqual(sweeping(test), [], "by its lock");
  base.close({ keep: true });
  assert.deepEqual(sweeping(test), [], "the control: the same without the lock");
});

Deno.test("removeOrphans() leaves the folder of a program that has taken krun's place, although its base was deleted", () => {
  using test = new TestBase();
  const { base, top } = secretIn(test);
  base.close({ keep: true });
  Deno.removeSync(test.path, { recursive: true });
  assert.notDeepEqual(sweeping(test), [], "by its process, which is this one");
  rewrite(top, { process: undefined });
  assert.deepEqual(sweeping(test), [], "the control: the same without the process");
});

Deno.test("removeOrphans() leaves what it cannot judge or what is not krun's", () => {
  const attacks: Record<string, (top: string, test: TestBase) => void> = {
    "made where paths mean something else": (top) => rewrite(top, { view: "mnt:[1] 2@3" }),
    "without its file": (top) => Deno.removeSync(join(top, OWNER)),
    "with an empty file": (top) => Deno.writeTextFileSync(join(top, OWNER), ""),
    "with a file that is no owner": (top) => Deno.writeTextFileSync(join(top, OWNER), '{"state":"/x"}'),
    "with a link in the place of its file": (top, test) => {
      // Its own file, so that nothing but the link can be the reason.
      const elsewhere = join(test.memory, "elsewhere");
      Deno.renameSync(join(top, OWNER), elsewhere);
      Deno.symlinkSync(elsewhere, join(top, OWNER));
    },
    "of another name": (top) => Deno.renameSync(top, join(top, "..", "krun-mine")),
  };
  for (const [name, attack] of Object.entries(attacks)) {
    using test = new TestBase();
    attack(orphan(test), test);
    const before = tree(test.memory);
    assert.deepEqual(sweeping(test), before, name);
    assert.deepEqual(test.log.events, [], name);
  }
});

Deno.test("removeOrphans() does not follow a link that is named as a folder", () => {
  using test = new TestBase();
  const top = orphan(test);
  const elsewhere = join(test.outside("elsewhere"), "folder");
  new Deno.Command("mv", { args: [top, elsewhere] }).outputSync();
  Deno.symlinkSync(elsewhere, join(test.memory, memoryFolderName()));
  const before = [tree(test.memory), tree(elsewhere)];
  assert.deepEqual([sweeping(test), tree(elsewhere)], before);
});

Deno.test("removeOrphans() says nothing aloud where there is no memory file system", () => {
  using test = new TestBase();
  removeOrphans("/nonexistent", test.log);
  assert.deepEqual(test.log.events, []);
});

Deno.test("memoryFileSystem() is the path before the folder of a run, and undefined for any other", () => {
  const name = memoryFolderName();
  assert.equal(memoryFileSystem(`/dev/shm/${name}/db/..2031/x`), "/dev/shm");
  assert.equal(memoryFileSystem(`/dev/shm/${name}`), "/dev/shm");
  for (const path of ["/dev/shm", "/dev/shm/krun-x/db", "/srv/db", `/${name}/x`, ""]) {
    assert.equal(memoryFileSystem(path), undefined, path);
  }
});
