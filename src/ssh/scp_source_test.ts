import assert from "node:assert/strict";
import { ENDED, FAILED, ServedScp } from "../../tests/served_scp.ts";
import { waitFor } from "../../tests/wait.ts";
import { bytesOfText } from "../core/byte_text.ts";
import { systemClock } from "../pod/clock.ts";
import { MAX_DEPTH } from "./scp_source.ts";

Deno.test("serveScp() sends files, the times where they are wanted", async () => {
  await using served = new ServedScp();
  served.write("a", "hello");
  Deno.chmodSync(served.path("a"), 0o640);
  Deno.utimeSync(served.path("a"), 1_400_000_000, 1_500_000_000);
  const plain = await served.serve("scp -f a", "\0\0\0");
  assert.deepEqual(plain, { end: ENDED, told: "C0640 5 a\nhello\0" });
  Deno.utimeSync(served.path("a"), 1_400_000_000, 1_500_000_000);
  const kept = await served.serve(`scp -p -f ${served.folder}/./a`, "\0\0\0\0");
  assert.deepEqual(kept, { end: ENDED, told: "T1500000000 0 1400000000 0\nC0640 5 a\nhello\0" });
});

Deno.test("serveScp() sends folders with what is in them, and a folder named by its place by its own name", async () => {
  await using served = new ServedScp();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  Deno.writeTextFileSync(served.path("d", "x"), "x", { mode: 0o600 });
  const sent = "D0755 0 d\nC0600 1 x\nx\0E\n";
  assert.deepEqual(await served.serve("scp -r -f d/", "\0\0\0\0\0"), { end: ENDED, told: sent });
  assert.deepEqual(await served.serve("scp -r -f d/.", "\0\0\0\0\0"), { end: ENDED, told: sent });
  const refused = await served.serve("scp -f d", "\0");
  assert.deepEqual(refused, { end: FAILED, told: "\x01scp: d: not a regular file\n" });
});

Deno.test("serveScp() expands ~ and patterns as a shell does, in every part of a path", async () => {
  await using served = new ServedScp();
  for (const folder of ["home", "d1", "d2", ".d3"]) {
    Deno.mkdirSync(served.path(folder));
    served.write(`${folder}/x`, "");
    served.write(`${folder}/.x`, "");
  }
  served.write("d1/*", "");
  const sent = async (path: string) => {
    const { told } = await served.serve(`scp -f ${path}`, "\0".repeat(20));
    return told.split("\0").filter(Boolean).map((one) => one.trim().replace(/^C0\d+ 0 /, ""));
  };
  assert.deepEqual(await sent("d*/?"), ["*", "x", "x"]);
  assert.deepEqual(await sent("'d1'/[!a-w*]"), ["x"]);
  assert.deepEqual(await sent("d1/'*'"), ["*"]);
  assert.deepEqual(await sent(`${served.folder}/.d?/*`), ["x"]);
  assert.deepEqual(await sent("~/x"), ["x"]);
  assert.deepEqual(await sent("~/.x*"), [".x"]);
  assert.deepEqual(await sent("none* x"), [
    "\x01scp: none*: No such file or directory\n\x01scp: x: No such file or directory",
  ]);
  assert.deepEqual(await sent("~nobody/x"), ["\x01scp: ~nobody/x: No such file or directory"]);
});

Deno.test("serveScp() follows links, but none that leads back, and goes no deeper than it has descriptors for", async () => {
  await using served = new ServedScp();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  Deno.symlinkSync("..", served.path("d", "up"));
  Deno.symlinkSync(".", served.path("d", "self"));
  const { end, told } = await served.serve("scp -r -f d", "\0".repeat(40));
  assert.equal(end.kind, "ended");
  assert.match(told, /scp: d\/self: Links lead in a circle\n/);
  assert.match(told, /scp: d\/up\/d: Links lead in a circle\n/);
  Deno.mkdirSync(served.path("deep", ...Array.from({ length: MAX_DEPTH }, () => "d")), { recursive: true });
  const deep = await served.serve("scp -r -f deep", "\0".repeat(2 * MAX_DEPTH + 1));
  assert.deepEqual([deep.end, deep.told.split("D0755").length - 1], [FAILED, MAX_DEPTH]);
  assert.match(deep.told, /scp: [d/]{400}: folders lie too deep in each other\n/);
});

Deno.test("serveScp() goes on where the client does not agree, and ends where it ends", async () => {
  await using served = new ServedScp();
  for (const name of ["a", "b"]) served.write(name, name);
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  served.write("d/x", "");
  const one = await served.serve("scp -r -f a d b", "\0\x01no\n\x01no\n\0\0");
  assert.deepEqual(one, { end: FAILED, told: "C0644 1 a\nD0755 0 d\nC0644 1 b\nb\0" });
  const none = await served.serve("scp -f a b", "\0\x02no more\n");
  assert.deepEqual(none, { end: { kind: "cut" }, told: "C0644 1 a\n" });
  const other = await served.serve("scp -f a b", "\0C0644 1 x\n");
  assert.deepEqual(other.end, { kind: "malformed", why: "an answer is none" });
});

Deno.test("serveScp() refuses names that the protocol cannot carry, and what is no file", async () => {
  await using served = new ServedScp();
  Deno.mkdirSync(served.path("d"), { mode: 0o755 });
  served.write("d/a\nC0644 1 b", "");
  const line = await served.serve("scp -r -f d", "\0\0\0");
  assert.deepEqual(line, {
    end: FAILED,
    told: "D0755 0 d\n\x01scp: d/a?C0644 1 b: its name has a slash, a NUL or a line end\nE\n",
  });
  for (const [path, why] of [["/dev/zero", /not a regular file/], ["/", /it is not the name of a file/]] as const) {
    const { end, told } = await served.serve(`scp -r -f ${path}`, "\0");
    assert.deepEqual(end, FAILED);
    assert.match(told, why);
  }
  // Those of proc(5) would be krun's own.
  const environ = await served.serve("scp -f /proc/self/environ", "\0\0\0");
  assert.deepEqual([environ.end, environ.told], [FAILED, "\x01scp: /proc/self/environ: Permission denied\n"]);
});

Deno.test("serveScp() sends as many bytes as it has promised of a file that becomes shorter", async () => {
  await using served = new ServedScp();
  served.write("a", "x".repeat(300_000));
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0"));
  await waitFor("the promise", () => channel.written.length === 1);
  Deno.truncateSync(served.path("a"), 10);
  channel.send(bytesOfText("\0\0"));
  assert.deepEqual(await served.end, FAILED);
  const told = channel.text().replace(/x+\W+(?=\Wscp)/, (some) => `${some.length} bytes`);
  assert.equal(told, "C0644 300000 a\n300000 bytes\x01scp: a: it has become shorter meanwhile\n");
});

Deno.test("serveScp() reads no more of a file than the client takes, and closes it when the channel is cut", async () => {
  await using served = new ServedScp();
  served.write("a", "");
  await Deno.truncate(served.path("a"), 2 ** 40);
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0"));
  await waitFor("the promise", () => channel.written.length === 1);
  channel.fill();
  channel.send(bytesOfText("\0"));
  await waitFor("the first piece", () => channel.written.length === 2);
  // All that could go on without a timer has.
  for (let turn = 0; turn < 10; turn++) await systemClock.turn();
  assert.deepEqual([channel.written.length, served.openFiles()], [2, [served.path("a")]]);
  channel.reset();
  assert.deepEqual(await served.end, { kind: "cut" });
});

Deno.test("serveScp() stops sending a file when its client has ended, though somebody still takes the bytes", async () => {
  await using served = new ServedScp();
  served.write("a", "");
  await Deno.truncate(served.path("a"), 2 ** 40);
  const channel = served.begin("scp -f a");
  channel.send(bytesOfText("\0\0"));
  await waitFor("the first pieces", () => channel.written.length > 2);
  channel.send(undefined);
  assert.deepEqual(await served.end, { kind: "cut" });
});

Deno.test("serveScp() lets others have their turn while it looks for what a pattern means, and stops when nobody waits", async () => {
  let turns = 0;
  const turn = () => {
    if (++turns === 3) served.channel.reset();
    return Promise.resolve();
  };
  let nowMs = 0;
  await using served: ServedScp = new ServedScp({ ...systemClock, elapsedMs: () => nowMs += 5, sleep: turn });
  for (let file = 0; file < 20; file++) served.write(`${file}`, "");
  served.begin("scp -t *");
  assert.deepEqual([await served.end, turns], [{ kind: "cut" }, 3]);
});

Deno.test("serveScp() lets others have their turn also where it only looks whether paths are there, and stops there", async () => {
  let turns = 0;
  let nowMs = 0;
  let end = Infinity;
  const turn = () => {
    if (++turns === end) served.channel.reset();
    return Promise.resolve();
  };
  await using served: ServedScp = new ServedScp({ ...systemClock, elapsedMs: () => nowMs += 5, sleep: turn });
  for (let file = 0; file < 20; file++) served.write(`${file}`, "");
  assert.deepEqual((await served.serve("scp -f */a/a", "\0")).end, FAILED);
  const all = turns;
  assert.ok(all >= 1 + 22 + 20, `${all} turns`);
  turns = 0;
  end = all - 10;
  served.begin("scp -f */a/a").send(bytesOfText("\0"));
  assert.deepEqual([await served.end, turns], [{ kind: "cut" }, end]);
});

Deno.test("serveScp() refuses paths that are too long, as source and as sink, and goes on with the next", async () => {
  await using served = new ServedScp();
  served.write("a", "");
  const long = "*" + "/a".repeat(4060);
  const source = await served.serve(`scp -f ${long} a`, "\0\0\0");
  assert.equal(source.end.kind, "ended");
  assert.match(source.told, /^.scp: [a/]{400}: The name is too long\nC0\d+ 0 a\n/);
  const sink = await served.serve(`scp -t ${long}`);
  assert.equal(sink.end.kind, "ended");
  assert.match(sink.told, /^.scp: [a/]{400}: The name is too long\n$/);
});
