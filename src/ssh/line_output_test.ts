import assert from "node:assert/strict";
import { accountNames } from "../core/account_names.ts";
import type { Clock } from "../core/clock.ts";
import type { UserFiles } from "../core/user_files.ts";
import { systemClock } from "../pod/clock.ts";
import { LineOutput } from "./line_output.ts";
import { runCommandLine } from "./look_around.ts";
import { SharedTurns } from "./shared_turns.ts";

/** A clock on which every look at it costs a fifth of a millisecond, and what was written. */
function rig() {
  const seen = { turns: 0, elapsedMs: 0, pieces: [] as string[], over: new AbortController() };
  const turn = () => (seen.turns++, Promise.resolve());
  const clock: Clock = { ...systemClock, elapsedMs: () => seen.elapsedMs += 0.2, turn, sleep: turn };
  const write = (bytes: Uint8Array) => Promise.resolve(void seen.pieces.push(new TextDecoder().decode(bytes)));
  return { seen, clock, write };
}

Deno.test("LineOutput writes lines in pieces, with turns of others between them, and takes control characters out for a terminal", async () => {
  for (const isTerminal of [false, true]) {
    const { seen, clock, write } = rig();
    const output = new LineOutput({ isTerminal, write }, new SharedTurns(new AbortController().signal, clock));
    const lines = Array.from({ length: 10_000 }, (_, at) => `\x1b${at}`);
    for (const line of lines) await output.line(line);
    await output.flush();
    await output.flush();
    const text = seen.pieces.join("");
    assert.equal(text.includes("\x1b"), !isTerminal);
    assert.equal(text.split("\n").length, 10_001);
    assert.ok(seen.pieces.length > 1 && seen.pieces.every(({ length }) => length < 33_000), `${seen.pieces.length}`);
    assert.ok(seen.turns > 300, `${seen.turns} turns`);
  }
});

Deno.test("ps is by number, written in pieces, and ends when nobody waits any more", async () => {
  const { seen, clock, write } = rig();
  const looked: number[] = [];
  const text = (path: string) => {
    const [, pid, name] = /^\/proc\/(\d+)\/(\w+)$/.exec(path)!;
    if (name === "stat") looked.push(Number(pid));
    if (name === "stat") return `${pid} (app) S 1 5 5 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n`;
    return name === "cmdline" ? "/app\0" : "Uid:\t0\t0\t0\t0\n";
  };
  const ps = () =>
    runCommandLine("ps", {
      world: {
        ...{ files: {} as UserFiles, env: {}, home: "/", clock },
        user: { uid: 0, gid: 0, groups: [] },
        accounts: accountNames({ passwd: "", group: "" }),
        proc: { pids: () => Array.from({ length: 3000 }, (_, at) => 3000 - at), text },
      },
      cwd: "/",
      run: () => Promise.resolve(undefined),
      output: { isTerminal: false, signal: seen.over.signal, write, error: write },
    });
  assert.equal(await ps(), 0);
  const shown = seen.pieces.join("").trimEnd().split("\n").slice(1).map((line) => Number(line.split(/\s+/)[1]));
  assert.deepEqual(shown, Array.from({ length: 3000 }, (_, at) => at + 1));
  assert.ok(seen.pieces.length > 3 && seen.turns > 100, `${seen.pieces.length} pieces, ${seen.turns} turns`);
  seen.over.abort();
  looked.length = 0;
  assert.equal(await ps(), 130);
  assert.deepEqual(looked, []);
});
