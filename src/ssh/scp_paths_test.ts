import assert from "node:assert/strict";
import fc from "fast-check";
import { FileFault, type UserFiles } from "../core/user_files.ts";
import { type PathLimits, PathSearch } from "./scp_paths.ts";

const ENOENT = 2;

/** A search in folders that are only told of. */
class Scene {
  /** What was asked of the files. */
  readonly asked: string[] = [];
  pauses = 0;
  open = 0;
  /** Nobody waits any more after so many pauses. */
  end = Infinity;
  readonly search: PathSearch;
  readonly #folders: Readonly<Record<string, readonly string[]>>;

  constructor(folders: Readonly<Record<string, readonly string[]>>, limits?: Partial<PathLimits>) {
    this.#folders = folders;
    this.search = new PathSearch({
      files: this.#files(),
      home: () => undefined,
      pause: () => ++this.pauses > this.end ? Promise.reject(new Error("nobody waits")) : Promise.resolve(),
      ...(limits && { limits: { paths: 100, characters: 10_000, steps: 1000, ...limits } }),
    });
  }

  expand(pattern: string): Promise<string[] | string> {
    return this.search.expand({ pattern });
  }

  #files(): UserFiles {
    const calls: Pick<UserFiles, "openFolder" | "linkStat"> = {
      openFolder: (path) => {
        this.asked.push(`list ${path}`);
        const names = this.#folders[path.replace(/(?<=.)\/$/, "")];
        if (names === undefined) throw new FileFault(ENOENT);
        const entries = [".", "..", ...names].map((name) => ({ name }));
        this.open++;
        return { entries: () => entries.splice(0, 50), close: () => void this.open-- };
      },
      linkStat: (path) => {
        this.asked.push(`stat ${path}`);
        const [, folder = ".", name = ""] = /^(?:(.*)\/)?([^/]+)\/?$/s.exec(path) ?? [];
        const isThere = path === "/" || (path.endsWith("/") ? path.slice(0, -1) in this.#folders : false) ||
          this.#folders[folder]?.includes(name);
        if (!isThere) throw new FileFault(ENOENT);
        return { mode: 0, sizeBytes: 0, uid: 0, gid: 0, links: 1, accessedSeconds: 0, modifiedSeconds: 0 };
      },
    };
    return calls as UserFiles;
  }
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${index}`);
}

Deno.test("PathSearch looks once for each path with all names behind a wildcard, however many they are", async () => {
  const scene = new Scene({ ".": ["d"], d: names(300) });
  const word = "d/*" + "/a".repeat(2000);
  assert.deepEqual(await scene.expand(word), [word]);
  assert.equal(scene.asked.length, 1 + 1 + 300);
  // The folder, what is in it with the two dots, and each with the rest of the path.
  assert.equal(scene.pauses, 1 + (1 + 302) + 300);
});

Deno.test("PathSearch takes no path further that is not there, so that a wildcard behind it lists nothing", async () => {
  const scene = new Scene({ ".": ["a", "b", "c"], b: ["x"], "b/x": ["1", "2"] });
  assert.deepEqual(await scene.expand("*/x/*"), ["b/x/1", "b/x/2"]);
  assert.deepEqual(scene.asked, ["list .", "stat a/x/", "stat b/x/", "stat c/x/", "list b/x/"]);
  assert.deepEqual(await scene.expand("none/*/*/*"), ["none/*/*/*"]);
  assert.deepEqual(scene.asked.slice(5), ["stat none/"]);
});

Deno.test("PathSearch refuses a path that no path can be as long as, in bytes, before anything is looked at", async () => {
  const scene = new Scene({ ".": ["d"], d: names(300) });
  const long = ["a".repeat(4096), "d/*" + "/a".repeat(4060), "*" + "\u00fc".repeat(2048), "\\a*".repeat(2048)];
  for (const word of [...long, "[" + "a".repeat(8000) + "]"]) {
    assert.equal(await scene.expand(word), "The name is too long");
  }
  assert.deepEqual([scene.asked, scene.pauses], [[], 0]);
  assert.deepEqual(await scene.expand("a".repeat(4095)), ["a".repeat(4095)]);
});

Deno.test("PathSearch refuses a name that no name can be as long as, before anything is listed", async () => {
  const scene = new Scene({ ".": ["a".repeat(255)] });
  assert.equal(await scene.expand("?".repeat(256)), "The name is too long");
  assert.deepEqual(scene.asked, []);
  assert.deepEqual(await scene.expand("?".repeat(255)), ["a".repeat(255)]);
});

Deno.test("PathSearch refuses more than its limits, all words of a command together", async () => {
  const folders = { ".": ["d"], d: names(60) };
  const paths = new Scene(folders, {});
  assert.equal((await paths.expand("d/*")).length, 60);
  assert.equal(await paths.expand("d/*"), "it means more than 100 paths");
  assert.equal((await paths.expand("d/[1-4]")).length, 4);
  assert.deepEqual(await paths.expand("d/7"), ["d/7"]);
  const characters = new Scene(folders, { characters: 300 });
  assert.equal((await characters.expand("d/*")).length, 60);
  assert.equal(await characters.expand("d/*"), "it means paths of more than 300 characters together");
  const steps = new Scene(folders, { steps: 100 });
  assert.deepEqual(await steps.expand("d/none*"), ["d/none*"]);
  assert.equal(await steps.expand("d/none*"), "more than 100 names would have to be looked at");
  assert.deepEqual([steps.pauses, steps.open], [100, 0]);
});

Deno.test("PathSearch refuses too many paths in the middle of a pattern too, and lists no more then", async () => {
  const scene = new Scene({ ".": names(50), ...Object.fromEntries(names(50).map((name) => [name, names(60)])) }, {});
  assert.equal(await scene.expand("*/*/none"), "it means more than 100 paths");
  assert.equal(scene.asked.filter((call) => call.startsWith("list")).length, 3);
  assert.equal(scene.open, 0);
});

Deno.test("PathSearch stops at any step where nobody waits any more, and leaves nothing open", async () => {
  const folders = { ".": names(5), ...Object.fromEntries(names(5).map((name) => [name, ["x", "y"]])) };
  const whole = new Scene(folders);
  assert.equal((await whole.expand("*/x")).length, 5);
  const all = whole.pauses;
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: all - 1 }), async (end) => {
    const scene = new Scene(folders);
    scene.end = end;
    await assert.rejects(scene.expand("*/x"), /nobody waits/);
    assert.deepEqual([scene.pauses, scene.open], [end + 1, 0]);
    // One call of each pause at most, but for a listing's later pieces.
    assert.ok(scene.asked.length <= end);
  }));
});
