import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { loadLibc } from "./libc.ts";
import { claimEmptyDir, claimSubPath, type EmptyDirOptions } from "./mount_target.ts";

loadLibc();

const DISK: EmptyDirOptions = { setting: "KRUN_POD", volume: "work", memory: false, ownership: { readers: [] } };
const MEMORY: EmptyDirOptions = { ...DISK, memory: true };

function modeOf(path: string): number {
  return Deno.statSync(path).mode! & 0o7777;
}

/** What a program leaves behind: files, a folder that only its owner may list, links that lead out. */
function use(folder: string, elsewhere: string): void {
  Deno.mkdirSync(join(folder, "a/b"), { recursive: true });
  Deno.writeTextFileSync(join(folder, "a/b/file"), "x");
  Deno.symlinkSync(elsewhere, join(folder, "a/out"));
  Deno.symlinkSync("nothing", join(folder, "dangling"));
}

Deno.test("claimEmptyDir() makes a folder that everybody may write in, and removes it with what is in it, not what links lead to", () => {
  using test = new TestBase();
  const elsewhere = test.outside("elsewhere");
  Deno.writeTextFileSync(join(elsewhere, "precious"), "x");
  test.run((base) => {
    const { folder } = claimEmptyDir(base, test.at("tmp/work"), DISK);
    assert.equal(folder, test.at("tmp/work"));
    assert.equal(modeOf(folder), 0o777);
    use(folder, elsewhere);
  });
  assert.deepEqual(test.left(), []);
  assert.equal(Deno.readTextFileSync(join(elsewhere, "precious")), "x");
});

Deno.test("claimEmptyDir() uses an empty folder that is there as it is, and empties it at the end", () => {
  for (const options of [DISK, MEMORY]) {
    using test = new TestBase();
    Deno.mkdirSync(test.at("work"));
    Deno.chmodSync(test.at("work"), 0o750);
    test.run((base) => {
      use(claimEmptyDir(base, test.at("work"), options).folder, test.outside("elsewhere"));
      assert.equal(modeOf(test.at("work")), 0o750);
    });
    assert.deepEqual(test.left(), ["work/"]);
  }
});

Deno.test("claimEmptyDir() warns when the folder that is there is not what a Pod would have", () => {
  using test = new TestBase();
  for (const [name, mode] of [["shut", 0o750], ["open", 0o777]] as const) {
    Deno.mkdirSync(test.at(name));
    Deno.chmodSync(test.at(name), mode);
  }
  test.run((base) => {
    claimEmptyDir(base, test.at("open"), DISK);
    assert.deepEqual(test.log.lines.filter(({ level }) => level === "warn"), []);
    claimEmptyDir(base, test.at("shut"), MEMORY);
    const [warning] = test.log.lines.filter(({ level }) => level === "warn");
    assert.equal(warning?.fields["path"], test.at("shut"));
    assert.match(String(warning?.fields["differences"]), /its mode is 0750, not 0777/);
  });
});

Deno.test("claimEmptyDir() with medium Memory lies in memory, linked from its mount", () => {
  using test = new TestBase();
  test.run((base) => {
    const { folder } = claimEmptyDir(base, test.at("work"), MEMORY);
    assert.ok(folder.startsWith(`${test.memory}/krun-`));
    assert.equal(Deno.readLinkSync(test.at("work")), folder);
    assert.equal(modeOf(test.at("work")), 0o777);
    use(test.at("work"), test.outside("elsewhere"));
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimEmptyDir() is one folder at all its mounts", () => {
  for (const options of [DISK, MEMORY]) {
    for (const first of ["one", undefined]) {
      using test = new TestBase();
      test.run((base) => {
        const volume = claimEmptyDir(base, first && test.at(first), options);
        const mounts = [["two", ""], ["three", "sub/dir"]] as const;
        for (const [path, subPath] of mounts) {
          claimSubPath(base, test.at(path), { setting: "KRUN_POD", volume, subPath }).resolve();
        }
        Deno.writeTextFileSync(test.at("three/file"), "x");
        assert.equal(Deno.readTextFileSync(test.at("two/sub/dir/file")), "x");
        assert.equal(Deno.readTextFileSync(join(volume.folder, "sub/dir/file")), "x");
        assert.equal(modeOf(test.at("three")), 0o777);
      });
      assert.deepEqual(test.left(), []);
    }
  }
});

Deno.test("claimEmptyDir() says TargetInUse and touches nothing when the folder is not empty", () => {
  for (const options of [DISK, MEMORY]) {
    using test = new TestBase();
    Deno.mkdirSync(test.at("work"));
    Deno.writeTextFileSync(test.at("work/precious"), "x");
    test.run((base) => assert.throws(() => claimEmptyDir(base, test.at("work"), options), { code: "TargetInUse" }));
    assert.deepEqual(test.left(), ["work/", "work/precious"]);
  }
});

Deno.test("claimEmptyDir() of a killed run is removed by the next, unless somebody has put another folder there", () => {
  using test = new TestBase();
  const killed = test.open();
  for (const path of ["mine", "yours"]) use(claimEmptyDir(killed, test.at(path), DISK).folder, "/");
  killed.close({ keep: true });
  Deno.removeSync(test.at("yours"), { recursive: true });
  Deno.mkdirSync(test.at("yours"));
  Deno.writeTextFileSync(test.at("yours/precious"), "x");
  test.run((base) => base.sweep());
  assert.deepEqual(test.left(), ["yours/", "yours/precious"]);
});
