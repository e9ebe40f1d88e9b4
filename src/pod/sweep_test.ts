/**
 * What a kill leaves, and that the next start removes exactly that. A kill at the n-th call is played by making that call and
 * all later ones fail: what is on disk then is what a kill leaves, since nothing is held back in the process.
 */
import assert from "node:assert/strict";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import type { MadeEntry } from "../core/base_journal.ts";
import type { Payload } from "../core/payload.ts";
import type { BaseFolder } from "./base_folder.ts";
import { Folder } from "./folder.ts";
import { JournalFile } from "./journal_file.ts";
import { loadLibc } from "./libc.ts";
import { claimEmptyDir, claimSubPath, claimTarget, claimVolume } from "./mount_target.ts";
import { sweepEntries } from "./sweep.ts";

loadLibc();

const OWNERSHIP = { readers: [] };
const PLAIN = { setting: "KRUN_POD", volume: "v", secret: false, ownership: OWNERSHIP };
const SECRET = { ...PLAIN, secret: true };

function payload(text: string): Payload {
  return new Map(["a", "b/c"].map((path) => [path, { bytes: new TextEncoder().encode(text), mode: 0o644 }]));
}

/** Everything that a run can make. */
const RUNS: Readonly<Record<string, (base: BaseFolder, test: TestBase) => void>> = {
  "a volume with new parents": (base, test) => {
    const target = claimTarget(base, test.at("x/y/app"), PLAIN);
    for (const text of ["1", "2"]) target.publish(payload(text));
  },
  "a volume in an empty folder that is there": (base, test) => {
    const target = claimTarget(base, test.at("there"), PLAIN);
    for (const text of ["1", "2"]) target.publish(payload(text));
  },
  "a secret": (base, test) => {
    const target = claimTarget(base, test.at("db"), SECRET);
    for (const text of ["1", "2"]) target.publish(payload(text));
  },
  "one file": (base, test) => {
    const target = claimTarget(base, test.at("etc/one"), { ...SECRET, single: "a" });
    for (const text of ["1", "2"]) target.publish(payload(text));
  },
  "one file of a side process": (base, test) =>
    void claimTarget(base, test.at("etc/one"), { ...SECRET, single: "a", inPlace: true }).publish(payload("1")),
  "a subPath at two starts of its container": (base, test) => {
    const volume = claimVolume(base, SECRET);
    const mount = claimSubPath(base, test.at("sub"), { setting: "KRUN_POD", volume, subPath: "b/c" });
    for (const text of ["1", "2"]) {
      volume.publish(payload(text));
      mount.resolve();
    }
    claimSubPath(base, test.at("made"), { setting: "KRUN_POD", volume, subPath: "missing/too" }).resolve();
  },
  "emptyDirs": (base, test) => {
    const paths = [test.at("work"), test.at("there"), undefined, test.at("memory")];
    const folders = paths.map((path, at) => claimEmptyDir(base, path, { ...PLAIN, memory: at === 3 }).folder);
    for (const folder of folders) Deno.writeTextFileSync(`${folder}/file`, "of the program");
  },
};

for (const [name, run] of Object.entries(RUNS)) {
  Deno.test(`sweep() leaves nothing of ${name}, at whatever call the run was killed`, () => {
    const calls = killedAt(Infinity, run);
    assert.ok(calls > 10, "the run makes something");
    for (let call = 0; call <= calls; call++) killedAt(call, run);
  });
}

Deno.test("sweep() leaves nothing when it is itself killed, at whatever call", () => {
  const all = (base: BaseFolder, test: TestBase) => {
    for (const name of ["a volume with new parents", "one file", "emptyDirs"] as const) RUNS[name]!(base, test);
  };
  for (let call = 0, done = false; !done; call++) {
    using test = prepared();
    const base = test.open();
    all(base, test);
    base.close({ keep: true });
    done = !killedDuring(call, () => {
      const next = test.open();
      try {
        next.sweep();
      } finally {
        next.close({ keep: true });
      }
    });
    assertClean(test);
  }
});

Deno.test("close() leaves nothing that the next start does not remove when it is killed, at whatever call", () => {
  for (let call = 0, done = false; !done; call++) {
    using test = prepared();
    const base = test.open();
    RUNS["a secret"]!(base, test);
    done = !killedDuring(call, () => base.close({ keep: false }));
    assertClean(test);
  }
});

Deno.test("sweepEntries() does not follow a link that has taken the place of a folder on the way", () => {
  using test = new TestBase();
  const elsewhere = test.outside("elsewhere");
  const version = "..2031_05_06_07_08_09.1";
  Deno.mkdirSync(`${elsewhere}/db/${version}`, { recursive: true });
  Deno.symlinkSync(elsewhere, test.at("x"));
  using folder = Folder.open(elsewhere);
  const { identity } = folder.stat("db")!;
  const entries = (path: string): MadeEntry[] => [
    ...["contents", "tree", "volume"].map((made) => ({ made, path, identity }) as MadeEntry),
    { made: "folder", path: `${path}/${version}` },
  ];
  assert.deepEqual(sweepEntries(entries(test.at("x/db"))), { failed: [], occupied: [] });
  assert.deepEqual(tree(elsewhere), ["db/", `db/${version}/`]);
  // The negative control: without the link in the way they do remove it.
  sweepEntries(entries(`${elsewhere}/db`));
  assert.deepEqual(tree(elsewhere), []);
});

Deno.test("sweepEntries() leaves a link whose text is another, and a file or folder at the place of a link", () => {
  using test = new TestBase();
  Deno.symlinkSync("mine", test.at("link"));
  Deno.writeTextFileSync(test.at("file"), "x");
  Deno.mkdirSync(test.at("folder"));
  sweepEntries(["link", "file", "folder"].map((name) => ({ made: "link", path: test.at(name), to: "yours" })));
  sweepEntries([{ made: "folder", path: test.at("file") }, {
    made: "tree",
    path: test.at("folder"),
    identity: "other",
  }]);
  assert.deepEqual(test.left(), ["file", "folder/", "link -> mine"]);
});

/** A base with an empty folder that was there before any krun. */
function prepared(): TestBase {
  const test = new TestBase();
  Deno.mkdirSync(test.at("there"));
  return test;
}

/** Runs until the n-th call, then as the next krun would; the number of calls made. */
function killedAt(call: number, run: (base: BaseFolder, test: TestBase) => void): number {
  using test = prepared();
  let calls = 0;
  killedDuring(call, () => {
    const base = test.open();
    try {
      run(base, test);
    } finally {
      base.close({ keep: true }); // what the end of a process does: descriptors are closed, and the lock with them
    }
  }, (count) => calls = count);
  assertClean(test);
  return calls;
}

function assertClean(test: TestBase): void {
  test.run((base) => {
    base.sweep();
    assert.deepEqual(tree(base.stateFolder), ["journal", "lock"]);
  });
  assert.deepEqual(test.left(), ["there/"]);
  // The folder that is there has another mode than an emptyDir.
  assert.deepEqual(test.log.events.filter((event) => event !== "warn emptyDir is a folder that was there"), []);
}

class Killed extends Error {}

const FOLDER_CALLS = ["write", "makeFolder", "own", "link", "rename", "unlink", "removeFolder"] as const;
const JOURNAL_CALLS = ["append", "replace"] as const;

/** True when `action` got as far as the n-th call that changes the disk, which is then not made. */
function killedDuring(call: number, action: () => void, counted: (calls: number) => void = () => {}): boolean {
  let calls = 0;
  using restore = new DisposableStack();
  for (
    const [prototype, names] of [[Folder.prototype, FOLDER_CALLS], [JournalFile.prototype, JOURNAL_CALLS]] as const
  ) {
    const methods = prototype as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const name of names) {
      const original = methods[name]!;
      restore.defer(() => methods[name] = original);
      methods[name] = function (...args) {
        if (calls++ >= call) throw new Killed();
        return original.apply(this, args);
      };
    }
  }
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof Killed) return true;
    throw error;
  } finally {
    counted(calls);
  }
}
