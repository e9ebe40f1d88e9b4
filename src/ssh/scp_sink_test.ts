import assert from "node:assert/strict";
import { ENDED, FAILED, ServedScp } from "../../tests/served_scp.ts";
import { waitFor } from "../../tests/wait.ts";
import { exists, tree } from "../../tests/workspace.ts";
import { bytesOfText } from "../core/byte_text.ts";
import { systemClock } from "../pod/clock.ts";

function modeOf(path: string): string {
  return (Deno.statSync(path).mode! & 0o7777).toString(8);
}

Deno.test("serveScp() receives a file into a folder that is there, or as the name that is not", async () => {
  await using served = new ServedScp();
  const into = await served.serve("scp -t .", "C0640 5 a\n", "hel", "lo\0");
  assert.deepEqual(into, { end: ENDED, told: "\0\0\0" });
  const as = await served.serve("scp -t b", "C0400 2 other\nhi\0");
  assert.deepEqual(as, { end: ENDED, told: "\0\0\0" });
  assert.deepEqual(tree(served.folder), ["a", "b"]);
  assert.deepEqual([served.read("a"), served.read("b"), modeOf(served.path("b"))], ["hello", "hi", "400"]);
});

Deno.test("serveScp() writes no more and leaves no more than what comes, and keeps the mode of what is there", async () => {
  await using served = new ServedScp();
  served.write("a", "something longer");
  Deno.chmodSync(served.path("a"), 0o600);
  const { end } = await served.serve("scp -t a", "C0644 2 a\nhi\0");
  assert.deepEqual([end, served.read("a"), modeOf(served.path("a"))], [ENDED, "hi", "600"]);
});

Deno.test("serveScp() receives folders with their times and modes, a mode that forbids writing as well", async () => {
  await using served = new ServedScp();
  const { end, told } = await served.serve(
    "scp -r -p -t d",
    "T1500000000 0 1400000000 0\nD0550 0 d\n",
    "T1600000000 0 1600000000 0\nC4711 1 x\nx\0",
    "D0700 0 e\nE\nE\n",
  );
  assert.deepEqual([end, told], [ENDED, "\0".repeat(9)]);
  assert.deepEqual(tree(served.folder), ["d/", "d/e/", "d/x"]);
  const [folder, file] = [Deno.statSync(served.path("d")), Deno.statSync(served.path("d", "x"))];
  assert.deepEqual([folder.mtime?.getTime(), file.mtime?.getTime()], [1_500_000_000_000, 1_600_000_000_000]);
  assert.deepEqual([modeOf(served.path("d")), modeOf(served.path("d", "x"))], ["550", "4711"]);
});

Deno.test("serveScp() without -p takes neither setuid nor more than the umask lets", async () => {
  await using served = new ServedScp();
  const { end } = await served.serve("scp -r -t .", "D6577 0 d\nC6755 0 x\n\0E\n");
  assert.equal(end.kind, "ended");
  const umask = Deno.umask();
  assert.equal(modeOf(served.path("d", "x")), (0o755 & ~umask).toString(8));
  assert.equal(modeOf(served.path("d")), (0o577 & ~umask).toString(8));
});

for (
  const [what, said] of Object.entries({
    "a file above the target": "C0644 1 ../x\nx\0",
    "the folder above the target": "D0755 0 ..\nC0644 1 x\nx\0",
    "a folder above one that it is in": "D0755 0 d\nD0755 0 ..\nD0755 0 ..\nC0644 1 x\nx\0",
    "a path": "C0644 1 /tmp/krun-scp-hostile\nx\0",
    "an empty name": "C0644 1 \nx\0",
    "a size that is none": "C0644 99999999999999999999 x\n",
    "a negative size": "C0644 -1 x\n",
    "a mode that is none": "C9999 1 x\nx\0",
    "an answer to nothing": "\0",
    "the end of no folder": "E\n",
    "a line without an end": "C".repeat(9000),
    "another protocol": "GET / HTTP/1.1\r\n\r\n",
  })
) {
  Deno.test(`serveScp() ends at ${what}, and nothing is written outside of the target`, async () => {
    await using served = new ServedScp();
    const { end, told } = await served.serve("scp -r -t .", said);
    assert.equal(end.kind, "malformed");
    assert.match(told.slice(told.indexOf("\x02") + 1), /^scp: protocol error: [^\n]+\n$/);
    assert.deepEqual(tree(served.root).filter((name) => !/^in\/(?:d\/)?$/.test(name)), []);
    assert.equal(exists("/tmp/krun-scp-hostile"), false);
  });
}

Deno.test("serveScp() ends at more bytes than were told of, and at a folder that was not asked for", async () => {
  await using served = new ServedScp();
  const more = await served.serve("scp -t .", "C0644 2 x\nhello\0");
  assert.deepEqual([more.end.kind, served.read("x")], ["malformed", "he"]);
  const folder = await served.serve("scp -t .", "D0755 0 d\nE\n");
  assert.deepEqual([folder.end, exists(served.path("d"))], [{ kind: "malformed", why: "a folder, without -r" }, false]);
});

Deno.test("serveScp() closes a file whose bytes do not all come", async () => {
  await using served = new ServedScp();
  const { end } = await served.serve("scp -t .", "C0644 9007199254740991 x\nhello");
  assert.deepEqual([end, served.read("x")], [{ kind: "cut" }, "hello"]);
  assert.deepEqual(served.events.at(-1)?.fields, { path: "./x", readBytes: 0, writtenBytes: 5 });
});

Deno.test("serveScp() tells why a file or folder cannot be, and goes on with the next", async () => {
  await using served = new ServedScp();
  served.write("file", "");
  Deno.mkdirSync(served.path("folder"));
  const { end, told } = await served.serve(
    "scp -r -t .",
    "D0755 0 file\n",
    "C0644 1 folder\n",
    "D0755 0 " + "x".repeat(300) + "\n",
    "\x01scp: mine: No such file\n",
    "C0644 2 y\nhi\x01scp: mine: Input/output error\n",
    "C0644 1 z\nz\0",
  );
  assert.deepEqual([end, served.read("z")], [FAILED, "z"]);
  assert.deepEqual(told.split("\n").map((line) => line.replace(/x{300}/, "xxx")), [
    "\0\x01scp: ./file: A part of the path is not a directory",
    "\x01scp: ./folder: It is a directory",
    "\x01scp: ./xxx: The name is too long",
    "\0\0\0\0",
  ]);
});

Deno.test("serveScp() takes all bytes of a file that it cannot write", async () => {
  await using served = new ServedScp();
  const { end, told } = await served.serve("scp -t /dev/full", "C0644 5 x\nhello\0C0644 1 y\ny\0");
  const refused = "\x01scp: /dev/full: No space left on device\n";
  assert.deepEqual([end, told], [FAILED, `\0\0${refused}\0${refused}`]);
});

Deno.test("serveScp() with -d receives into folders alone, and never into more than one place", async () => {
  await using served = new ServedScp();
  served.write("a", "");
  served.write("b", "");
  const none = await served.serve("scp -d -t c");
  assert.deepEqual(none, { end: FAILED, told: "\x02scp: c: A part of the path is not a directory\n" });
  const two = await served.serve("scp -t ?");
  assert.deepEqual(two, { end: FAILED, told: "\x02scp: a: this is not the only target\n" });
  const one = await served.serve("scp -t [b]", "C0644 1 x\nx\0");
  assert.deepEqual([one.end, served.read("b")], [ENDED, "x"]);
});

Deno.test("serveScp() looks at nothing more of a client that reads no answers", async () => {
  await using served = new ServedScp();
  const channel = served.begin("scp -t .");
  await waitFor("the first answer", () => channel.written.length === 1);
  channel.fill();
  channel.send(...Array.from({ length: 1000 }, () => bytesOfText("T1 0 1 0\n")));
  await waitFor("the second answer", () => channel.written.length === 2);
  for (let turn = 0; turn < 10; turn++) await systemClock.turn();
  assert.deepEqual([channel.written.length, channel.unread], [2, 999]);
});
