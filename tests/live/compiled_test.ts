import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleProgram, compileProgram } from "../../scripts/compile.ts";
import { liveTool } from "../../scripts/live_tools.ts";
import { NOBODY, rootFs, staticProgram } from "./compiled.ts";
import { waitFor } from "../wait.ts";

// The harness is tried with the static program in krun's place: these say what it gives, before any test of krun builds on it.
const program = await staticProgram();

Deno.test("rootFs() starts a program as PID 1 that sees nothing but the root file system", async (t) => {
  await using root = await rootFs({ krun: program });
  for (const uid of [0, NOBODY]) {
    await t.step(`as user ${uid}`, async () => {
      await using process = root.start({ args: ["describe", "a b"], env: { ONE: "1" }, uid });
      const { code, stdout, stderr } = await process.end;
      assert.equal(code, 0, stderr);
      const seen = JSON.parse(stdout);
      assert.deepEqual(
        {
          args: seen.args,
          env: seen.env,
          pid: seen.pid,
          sid: seen.sid,
          uid: seen.uid,
          gid: seen.gid,
          groups: seen.groups,
          cwd: seen.cwd,
        },
        {
          args: ["a b"],
          env: { PATH: "/", ONE: "1" },
          pid: 1,
          sid: 1,
          uid,
          gid: uid,
          groups: null,
          cwd: uid === 0 ? "/" : "/home",
        },
      );
    });
  }
  await t.step("and no shell, no /dev, no /etc", async () => {
    await using process = root.start({ args: ["ls", "/"] });
    assert.deepEqual(Object.keys(JSON.parse((await process.end).stdout)).sort(), ["/", "/home", "/krun", "/program"]);
  });
});

Deno.test("PidOne.kill() reaches PID 1, whose handler decides", async (t) => {
  await using root = await rootFs({ krun: program });
  for (const uid of [0, NOBODY]) {
    await t.step(`as user ${uid}`, async () => {
      await using process = root.start({ args: ["wait", "exit=15:42"], uid });
      await process.sees("stdout", /ready/);
      process.kill("SIGHUP");
      await process.sees("stdout", /signal 1\n/);
      process.kill("SIGTERM");
      assert.equal((await process.end).code, 42);
    });
  }
});

Deno.test("PidOne leaves nothing behind when it is disposed of", async () => {
  await using root = await rootFs({ krun: program });
  for (const uid of [0, NOBODY]) {
    const process = root.start({ args: ["wait", "ignore=15,2"], uid });
    await process.sees("stdout", /ready/);
    const pid = await process.hostPid();
    await process[Symbol.asyncDispose]();
    assert.throws(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
  }
});

Deno.test("rootFs() mounts what is asked for, seen from inside only", async () => {
  await using root = await rootFs({
    krun: program,
    mounts: [{ target: "/small", tmpfs: "size=64k,mode=1777" }, { target: "/dev/null", bind: "/dev/null" }],
  });
  await using fits = root.start({ args: ["write", "/small/one", "x"] });
  assert.equal((await fits.end).code, 0);
  await using full = root.start({ args: ["write", "/small/big", "x".repeat(70_000)] });
  assert.match((await full.end).stderr, /no space left/);
  await using device = root.start({ args: ["write", "/dev/null", "x"] });
  assert.equal((await device.end).code, 0);
  assert.deepEqual([...Deno.readDirSync(`${root.path}/small`)], []);
});

Deno.test("rootFs() that is read-only refuses writes but below /home", async () => {
  await using root = await rootFs({ krun: program, readOnly: true });
  await using refused = root.start({ args: ["write", "/new", "x"] });
  assert.match((await refused.end).stderr, /read-only file system/);
  await using allowed = root.start({ args: ["write", "/home/new", "x"], uid: NOBODY });
  assert.equal((await allowed.end).code, 0);
});

Deno.test("orphans stay zombies below a PID 1 that does not reap", async () => {
  // The negative control for every test of reaping: `wait` never waits for children that it did not start.
  await using root = await rootFs({ krun: program });
  await using process = root.start({ args: ["wait"] });
  await process.sees("stdout", /ready/);
  const orphans = JSON.parse((await process.exec(["/program", "orphans", "2", "0"])).stdout) as number[];
  assert.equal(orphans.length, 2);
  await waitFor("two zombies", async () => {
    const zombies = JSON.parse((await process.exec(["/program", "zombies"])).stdout) as number[];
    return orphans.every((pid) => zombies.includes(pid));
  });
});

Deno.test("compileProgram() keeps what a program does, every using included", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const entry = fileURLToPath(new URL("../testdata/disposal/main.ts", import.meta.url));
    const [deno, denort] = [await liveTool("deno-2.6"), await liveTool("denort-2.6")];
    const compiled = await compileProgram({ entry, out: `${folder}/disposal`, deno, denort });
    const outputs = [[compiled], [Deno.execPath(), "run", "--quiet", "--no-config", entry]].map(([program, ...args]) =>
      new TextDecoder().decode(new Deno.Command(program!, { args }).outputSync().stdout)
    );
    assert.match(outputs[0]!, /^close third$/m);
    assert.equal(outputs[0], outputs[1]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** What a bundled file loads before it runs, by way of others too; `lazily`: with what it imports later. */
async function loadedBy(file: string, { lazily }: { lazily: boolean }): Promise<Set<string>> {
  const loaded = new Set<string>();
  const visit = async (name: string, pattern: RegExp): Promise<void> => {
    if (loaded.has(name)) return;
    loaded.add(name);
    if (name.startsWith("node:")) return;
    const imports = (await Deno.readTextFile(name)).matchAll(pattern);
    for (const [, path = ""] of imports) await visit(path.startsWith("./") ? join(dirname(file), path) : path, STATIC);
  };
  const STATIC = /\b(?:from|import)\s*"([^"]+)"/g;
  await visit(file, lazily ? /\b(?:from|import)\s*\(?\s*"([^"]+)"/g : STATIC);
  return loaded;
}

Deno.test("bundleProgram() leaves node's modules to what is loaded lazily, since the first costs a start 25 ms", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const main = await bundleProgram(fileURLToPath(new URL("../../main.ts", import.meta.url)), folder);
    const files = [...Deno.readDirSync(dirname(main))].map(({ name }) => join(dirname(main), name));
    const ofNode = async (name: string, lazily = false) => {
      const file = files.find((path) => basename(path).startsWith(name))!;
      return [...await loadedBy(file, { lazily })].filter((path) => path.startsWith("node:"));
    };
    // main.js awaits what it imports lazily; the containers are loaded by every start of a program.
    assert.deepEqual([await ofNode("main.js", true), await ofNode("run_containers")], [[], []]);
    assert.ok((await ofNode("node_transport")).includes("node:https"), "the negative control");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
