import assert from "node:assert/strict";
import fc from "fast-check";
import { compacted, factsOf, type JournalEntry, journalLine, parseJournal } from "./base_journal.ts";

const encoder = new TextEncoder();
const BASE = "/srv/web";
const lineOf = (entry: JournalEntry) => journalLine(entry, BASE);

const path = fc.array(fc.string({ minLength: 1 }).filter((name) => !name.includes("/") && name !== ".."), {
  minLength: 1,
})
  .map((names) => `/${names.join("/")}`);
const identity = fc.string({ minLength: 1 });
const entry: fc.Arbitrary<JournalEntry> = fc.oneof(
  fc.record({ made: fc.constant("folder" as const), path }),
  fc.record({ made: fc.constantFrom("volume" as const, "tree" as const, "contents" as const), path, identity }),
  fc.record({ made: fc.constant("link" as const), path, to: fc.string() }),
  fc.record({ fact: fc.string(), value: fc.jsonValue() }),
).map((value) => JSON.parse(JSON.stringify(value)) as JournalEntry);

Deno.test("parseJournal() gives back what journalLine() wrote when given any entries", () => {
  fc.assert(fc.property(fc.array(entry), (entries) => {
    const bytes = encoder.encode(entries.map(lineOf).join(""));
    assert.deepEqual(parseJournal(bytes, BASE), { entries, completeBytes: bytes.length });
  }));
});

Deno.test("parseJournal() gives every entry but the one that was cut when krun was killed over a line", () => {
  fc.assert(fc.property(fc.array(entry), entry, fc.nat(), (entries, last, cut) => {
    const whole = encoder.encode(entries.map(lineOf).join(""));
    const line = encoder.encode(lineOf(last));
    const torn = line.subarray(0, cut % line.length);
    assert.deepEqual(parseJournal(new Uint8Array([...whole, ...torn]), BASE), { entries, completeBytes: whole.length });
  }));
});

Deno.test("parseJournal() never throws when given any bytes", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseJournal(bytes, BASE)));
});

Deno.test("parseJournal() leaves out what could name anything but a thing of krun's", () => {
  const lines = [
    "null",
    "[]",
    '"/x"',
    '{"made":"folder"}',
    '{"made":"folder","path":"relative"}',
    '{"made":"folder","path":"/"}',
    '{"made":"folder","path":"/a/../b"}',
    '{"made":"folder","path":"./a/../../b"}',
    '{"made":"tree","path":"/a"}',
    '{"made":"tree","path":"/a","identity":""}',
    '{"made":"contents","path":"/a","identity":7}',
    '{"made":"link","path":"/a"}',
    '{"made":"other","path":"/a"}',
    '{"fact":"x"}',
    "{",
  ];
  assert.deepEqual(parseJournal(encoder.encode(`${lines.join("\n")}\n`), BASE).entries, []);
});

Deno.test("parseJournal() finds what lies below the base where the base is now, and all else where it was", () => {
  fc.assert(fc.property(path, path, path, (from, to, inside) => {
    const entries: JournalEntry[] = [{ made: "folder", path: from + inside }, {
      made: "link",
      path: "/elsewhere",
      to: from,
    }];
    const bytes = encoder.encode(entries.map((entry) => journalLine(entry, from)).join(""));
    const found = parseJournal(bytes, to).entries;
    assert.deepEqual(found[0], { made: "folder", path: to + inside });
    if (!"/elsewhere".startsWith(`${from}/`)) assert.deepEqual(found[1], entries[1]);
  }));
});

Deno.test("factsOf() gives the last value of each key, and none that was taken back", () => {
  const facts = factsOf([
    { fact: "a", value: 1 },
    { made: "folder", path: "/a" },
    { fact: "b", value: [2] },
    { fact: "a", value: { three: 3 } },
    { fact: "b", value: null },
  ]);
  assert.deepEqual([...facts], [["a", { three: 3 }]]);
});

Deno.test("compacted() keeps the facts in force, each thing once, and nothing else is different, when given any entries", () => {
  fc.assert(fc.property(fc.array(entry), fc.array(fc.nat()), (some, repeats) => {
    const entries = [...some, ...repeats.flatMap((at) => some[at % some.length] ?? [])];
    const short = compacted(entries);
    assert.deepEqual(factsOf(short), factsOf(entries));
    assert.equal(new Set(short.map(lineOf)).size, short.length);
    const things = (all: readonly JournalEntry[]) =>
      new Set(all.filter((one) => "made" in one && one.made !== "link").map(lineOf));
    assert.deepEqual(things(short), things(entries));
    assert.deepEqual(compacted(short), short);
  }));
});

Deno.test("compacted() keeps a folder before what is in it, and the two last texts of a link", () => {
  const folder = { made: "folder", path: "/a" } as const;
  const inside = { made: "folder", path: "/a/b" } as const;
  const link = (to: string) => ({ made: "link", path: "/l", to }) as const;
  const fact = { fact: "x", value: 1 };
  assert.deepEqual(
    compacted([{ fact: "x", value: 0 }, folder, inside, link("1"), fact, folder, link("2"), link("3"), link("3")]),
    [folder, inside, link("2"), link("3"), fact],
  );
});
