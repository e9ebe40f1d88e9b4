import assert from "node:assert/strict";
import "../../tests/load_libc.ts";
import { accountNames } from "../core/account_names.ts";
import type { Clock } from "../core/clock.ts";
import type { FolderEntry, OpenFolder, UserFiles } from "../core/user_files.ts";
import { systemClock } from "../pod/clock.ts";
import { listFolder } from "./folder_listing.ts";
import { runCommandLine } from "./look_around.ts";
import { SharedTurns } from "./shared_turns.ts";

/** A folder that gives some names at a time, each time of which takes a millisecond. */
class SlowFolder {
  readonly names: readonly string[];
  /** How many names were read, how often it was somebody else's turn, and how many folders are open. */
  readonly seen = { read: 0, turns: 0, open: 0 };
  readonly clock: Clock = {
    ...systemClock,
    elapsedMs: () => this.seen.read / 100,
    turn: () => (this.seen.turns++, Promise.resolve()),
    sleep: () => (this.seen.turns++, Promise.resolve()),
  };
  readonly files: UserFiles;

  constructor(count: number) {
    // None is where it belongs.
    this.names = Array.from({ length: count }, (_, at) => `n${String(count - at).padStart(6, "0")}`);
    const stat = {
      ...{ mode: 0o100644, sizeBytes: 1, uid: 0, gid: 0, links: 1 },
      ...{ accessedSeconds: 0, modifiedSeconds: 0 },
    };
    const openFolder = (): OpenFolder => {
      let at = 0;
      this.seen.open++;
      return {
        entries: (): FolderEntry[] => {
          const some = this.names.slice(at, at += 100).map((name) => ({ name, stat }));
          this.seen.read += some.length;
          return some;
        },
        close: () => void this.seen.open--,
      };
    };
    const linkStat = () => ({ ...stat, mode: 0o040755 });
    this.files = { openFolder, linkStat } as Partial<UserFiles> as UserFiles;
  }

  /** What is listed, and whether it was by name; `onShow`: what happens at each name. */
  async list(mostSorted: number, onShow: (name: string) => void = () => {}, broken = new AbortController().signal) {
    const names: string[] = [];
    const isSorted = await listFolder("/", {
      ...{ files: this.files, mostSorted, isShown: ({ name }) => !name.endsWith("7") },
      turns: new SharedTurns(broken, this.clock),
      show: ({ name }) => {
        names.push(name);
        onShow(name);
        return Promise.resolve();
      },
    });
    return { names, isSorted };
  }

  /** Runs a command line at it; `write`: where its output goes. */
  async run(line: string, write: (text: string) => Promise<void>): Promise<{ status: number; error: string }> {
    let error = "";
    const status = await runCommandLine(line, {
      world: {
        ...{ files: this.files, env: {}, home: "/", clock: this.clock },
        user: { uid: 0, gid: 0, groups: [] },
        accounts: accountNames({ passwd: "", group: "" }),
        proc: { pids: () => [], text: () => undefined },
      },
      cwd: "/",
      run: () => Promise.resolve(undefined),
      output: {
        isTerminal: false,
        signal: new AbortController().signal,
        write: (bytes) => write(new TextDecoder().decode(bytes)),
        error: (bytes) => Promise.resolve(void (error += new TextDecoder().decode(bytes))),
      },
    });
    return { status, error };
  }
}

Deno.test("listFolder() shows by name what it can hold, and everything else as the folder has it", async () => {
  const folder = new SlowFolder(1000);
  const shown = folder.names.filter((name) => !name.endsWith("7"));
  assert.deepEqual(await folder.list(900), { names: shown.toReversed(), isSorted: true });
  assert.deepEqual(await folder.list(899), { names: shown, isSorted: false });
  assert.equal(folder.seen.open, 0);
});

Deno.test("listFolder() holds no more than it may: what is more is shown before the next is read", async () => {
  const folder = new SlowFolder(10_000);
  let [shown, most] = [0, 0];
  await folder.list(300, () => {
    most = Math.max(most, folder.seen.read * 0.9 - shown);
    shown++;
  });
  assert.equal(shown, 9000);
  assert.ok(most <= 400, `${most} names were held`);
});

Deno.test("listFolder() gives others their turns while it reads", async () => {
  const folder = new SlowFolder(10_000);
  await folder.list(20_000);
  // A hundred milliseconds of work, and 4 ms a turn.
  assert.ok(folder.seen.turns >= 20, `${folder.seen.turns} turns`);
});

Deno.test("listFolder() ends when nobody waits any more, or what it is shown to fails, and leaves nothing open", async () => {
  for (const mostSorted of [100, 20_000]) {
    const folder = new SlowFolder(10_000);
    const over = new AbortController();
    const { names } = await folder.list(mostSorted, (name) => name.endsWith("5") && over.abort(), over.signal);
    assert.ok(names.length < 10, `${names.length} names`);
    const broken = new Error("cut");
    await assert.rejects(
      folder.list(mostSorted, () => {
        throw broken;
      }),
      broken,
    );
    assert.equal(folder.seen.open, 0);
  }
});

Deno.test("ls of a large folder is written in pieces, each when there is room for it, and says when it is not by name", async () => {
  for (const [count, isSorted] of [[20_000, true], [20_001, false]] as const) {
    const folder = new SlowFolder(count);
    const lines: string[] = [];
    let [largest, writing] = [0, 0];
    const { status, error } = await folder.run("ls -l /", async (text) => {
      assert.equal(writing++, 0, "a piece before the one before it was taken");
      largest = Math.max(largest, text.length);
      lines.push(...text.trimEnd().split("\n"));
      await Promise.resolve();
      writing--;
    });
    assert.deepEqual([status, error], [0, isSorted ? "" : "ls: /: too many names to sort them\n"]);
    const names = lines.map((line) => line.slice(line.lastIndexOf(" ") + 1));
    assert.deepEqual(names, isSorted ? folder.names.toReversed() : folder.names);
    assert.ok(largest < 40_000, `a piece of ${largest}`);
    assert.ok(folder.seen.turns >= 40, `${folder.seen.turns} turns`);
    assert.equal(folder.seen.open, 0);
  }
});

Deno.test("ls of many names gives others their turns", async () => {
  const folder = new SlowFolder(100);
  const { status } = await folder.run(`ls ${"/ ".repeat(100)}`, () => Promise.resolve());
  assert.deepEqual([status, folder.seen.turns >= 20], [0, true]);
});
