import assert from "node:assert/strict";
import fc from "fast-check";
import {
  claimedMarks,
  claimName,
  type FamilyBefore,
  familyBefore,
  hasMark,
  type InterceptionNote,
  isMark,
  madeBy,
  type MarkContent,
  markContent,
  markOf,
  marksIn,
  parseInterceptionNote,
  residues,
} from "./interception_note.ts";
import { parseSavedRules, removalSteps } from "./iptables_rules.ts";

const NOTE: InterceptionNote = {
  namespace: "net:[4026531840]",
  backend: { kind: "nft", suffix: "-nft" },
  mark: "KRUN_40000a1b2c3d_150",
};
const CONTENT: MarkContent = {
  run: 0x4000_0a1b_2c3d_0000n,
  before: [{ family: 4, raw: "absent", nat: "empty" }, { family: 6, raw: "empty", nat: "used" }],
  loopback6: false,
};

Deno.test("parseInterceptionNote() reads what was written as JSON", () => {
  assert.deepEqual(parseInterceptionNote(JSON.parse(JSON.stringify(NOTE))), NOTE);
});

Deno.test("parseInterceptionNote() is undefined for anything else", () => {
  const wrong: readonly unknown[] = [
    ...[undefined, null, 1, "x", [], {}, { ...NOTE, namespace: 1 }, { ...NOTE, mark: "nat" }],
    ...[{ ...NOTE, backend: { kind: "nft", suffix: "-x" } }, { ...NOTE, backend: { kind: "ebpf", suffix: "" } }],
  ];
  for (const value of wrong) assert.equal(parseInterceptionNote(value), undefined, JSON.stringify(value));
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.equal(parseInterceptionNote(value), undefined)));
});

const PLAIN = { noNullPrototype: true };

Deno.test("markOf() names the run and what was there before, which markContent() reads", () => {
  assert.equal(markOf(CONTENT), NOTE.mark);
  assert.deepEqual(markContent(NOTE.mark), CONTENT);
  const was = fc.constantFrom(...["absent", "empty", "used"] as const);
  const before = (family: 4 | 6) => fc.record({ family: fc.constant(family), raw: was, nat: was }, PLAIN);
  const content = fc.record({
    run: fc.bigInt({ min: 0n, max: 2n ** 47n - 1n }).map((number) => number << 16n),
    before: fc.tuple(fc.option(before(4)), fc.option(before(6))).map((both) => both.filter((one) => one !== null)),
    loopback6: fc.boolean(),
  }, PLAIN);
  fc.assert(fc.property(content, (value) => {
    const mark = markOf(value);
    assert.deepEqual(markContent(mark), value);
    assert.ok(mark.length <= 28, "the kernel allows no more");
  }));
});

Deno.test("isMark() knows a mark of markOf(), and no other chain", () => {
  assert.ok(isMark(markOf(CONTENT)));
  const others = [
    "KRUN_PROBE",
    "KRUN_0a1b2c3d",
    `${NOTE.mark}0`,
    NOTE.mark.replace("_15", "_95"),
    NOTE.mark.toLowerCase(),
  ];
  for (const name of [...others, "ISTIO_OUTPUT", ""]) {
    assert.ok(!isMark(name), name);
    assert.equal(markContent(name), undefined, name);
  }
});

Deno.test("marksIn() gives each mark once", () => {
  const saved = parseSavedRules(
    `*raw\n:${NOTE.mark} - [0:0]\nCOMMIT\n*nat\n:${NOTE.mark} - [0:0]\n:KRUN_PROBE - [0:0]\nCOMMIT\n`,
  );
  assert.deepEqual(marksIn(saved), [NOTE.mark]);
});

Deno.test("claimedMarks() reads who lives out of /proc/net/unix", () => {
  const line = (path: string) => `0000000000000000: 00000002 00000000 00000000 0001 01 7436 ${path}\n`;
  const other = NOTE.mark.replace("4000", "5000");
  const text = "Num       RefCount Protocol Flags    Type St Inode Path\n" + line(`@${claimName(NOTE.mark)}`) +
    line("/run/dbus") + line("@krun/x") + line(`/tmp/ @${claimName(other)}x`) + line(`/tmp/${claimName(other)}`);
  assert.deepEqual([...claimedMarks(text)], [NOTE.mark]);
  fc.assert(fc.property(fc.string(), (text) => void claimedMarks(text)));
});

const APPLIED = `*nat
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:KRUN_40000a1b2c3d_150 - [0:0]
:KRUN_ffffffffffff_000 - [0:0]
:KRUN_PROBE - [0:0]
-A INPUT -p 255 -j RETURN
-A OUTPUT -p 255 -j RETURN
-A OUTPUT -p tcp -j KRUN_40000a1b2c3d_150
-A OUTPUT -j ISTIO_OUTPUT
COMMIT
`;

Deno.test("madeBy() means Istio's chains, krun's own and the trial rule of istio-iptables, and not another krun's mark", () => {
  const steps = removalSteps(parseSavedRules(APPLIED), madeBy(NOTE.mark)).map(({ args }) => args);
  assert.deepEqual(steps.filter((step) => step.startsWith("-D")), [
    "-D INPUT -p 255 -j RETURN",
    "-D OUTPUT -p tcp -j KRUN_40000a1b2c3d_150",
    "-D OUTPUT -j ISTIO_OUTPUT",
  ]);
  assert.deepEqual(steps.filter((step) => step.startsWith("-X")), [
    "-X ISTIO_OUTPUT",
    "-X KRUN_40000a1b2c3d_150",
    "-X KRUN_PROBE",
  ]);
});

Deno.test("hasMark() sees a mark in whatever table", () => {
  const saved = parseSavedRules("*raw\n:KRUN_40000a1b2c3d_150 - [0:0]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n");
  assert.ok(hasMark(saved, NOTE.mark));
  assert.ok(!hasMark(saved, "KRUN_ffffffffffff_000"));
});

Deno.test("residues() are tables that krun may have made and that hold nothing", () => {
  const empty = "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
  const saved = parseSavedRules(`${empty}*raw\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n`);
  const nothing: FamilyBefore = { family: 4, raw: "absent", nat: "absent" };
  assert.deepEqual(residues(nothing, saved), [
    { table: "raw", chains: ["OUTPUT"], isNew: true },
    { table: "nat", chains: ["OUTPUT"], isNew: true },
  ]);
  // Its table was there: what iptables-save prints must not change, and does not when a chain without rules goes.
  assert.deepEqual(residues(familyBefore(4, parseSavedRules(empty)), parseSavedRules(empty)), [
    { table: "nat", chains: ["OUTPUT"], isNew: false },
  ]);
  const used = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n";
  assert.deepEqual(
    residues(familyBefore(4, parseSavedRules(used)), parseSavedRules(empty)),
    [],
    "it was not empty before",
  );
  assert.deepEqual(residues(nothing, parseSavedRules(used)), [], "it is not empty now");
});
