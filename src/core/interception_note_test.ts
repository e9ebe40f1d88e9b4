import assert from "node:assert/strict";
import fc from "fast-check";
import {
  familyBefore,
  hasMark,
  type InterceptionNote,
  isMark,
  madeBy,
  markOf,
  parseInterceptionNote,
  residues,
} from "./interception_note.ts";
import { parseSavedRules, removalSteps } from "./iptables_rules.ts";

const NOTE: InterceptionNote = {
  namespace: "net:[4026531840]",
  backend: { kind: "nft", suffix: "-nft" },
  mark: "KRUN_0a1b2c3d",
  before: [{ family: 4, tables: ["filter", "nat"], empty: ["nat"] }, { family: 6, tables: [], empty: [] }],
  loopback6: false,
};

Deno.test("parseInterceptionNote() reads what was written as JSON", () => {
  assert.deepEqual(parseInterceptionNote(JSON.parse(JSON.stringify(NOTE))), NOTE);
});

Deno.test("parseInterceptionNote() is undefined for anything else", () => {
  const wrong: readonly unknown[] = [
    ...[undefined, null, 1, "x", [], {}, { ...NOTE, namespace: 1 }, { ...NOTE, mark: "nat" }, { ...NOTE, before: {} }],
    ...[{ ...NOTE, backend: { kind: "nft", suffix: "-x" } }, { ...NOTE, backend: { kind: "ebpf", suffix: "" } }],
    ...[{ ...NOTE, before: [{ family: 5, tables: [], empty: [] }] }, {
      ...NOTE,
      before: [{ family: 4, tables: [1], empty: [] }],
    }],
    { ...NOTE, loopback6: "no" },
  ];
  for (const value of wrong) assert.equal(parseInterceptionNote(value), undefined, JSON.stringify(value));
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.equal(parseInterceptionNote(value), undefined)));
});

Deno.test("isMark() knows a mark of markOf(), and no other chain", () => {
  assert.ok(isMark(markOf("0a1b2c3d")));
  for (const name of ["KRUN_PROBE", "KRUN_0a1b2c3", "KRUN_0a1b2c3d4", "ISTIO_OUTPUT", "krun_0a1b2c3d"]) {
    assert.ok(!isMark(name), name);
  }
});

const APPLIED = `*nat
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:KRUN_0a1b2c3d - [0:0]
:KRUN_ffffffff - [0:0]
:KRUN_PROBE - [0:0]
-A INPUT -p 255 -j RETURN
-A OUTPUT -p 255 -j RETURN
-A OUTPUT -p tcp -j KRUN_0a1b2c3d
-A OUTPUT -j ISTIO_OUTPUT
COMMIT
`;

Deno.test("madeBy() means Istio's chains, krun's own and the trial rule of istio-iptables, and not another krun's mark", () => {
  const steps = removalSteps(parseSavedRules(APPLIED), madeBy(NOTE.mark)).map(({ args }) => args);
  assert.deepEqual(steps.filter((step) => step.startsWith("-D")), [
    "-D INPUT -p 255 -j RETURN",
    "-D OUTPUT -p tcp -j KRUN_0a1b2c3d",
    "-D OUTPUT -j ISTIO_OUTPUT",
  ]);
  assert.deepEqual(steps.filter((step) => step.startsWith("-X")), [
    "-X ISTIO_OUTPUT",
    "-X KRUN_0a1b2c3d",
    "-X KRUN_PROBE",
  ]);
});

Deno.test("hasMark() sees a mark in whatever table", () => {
  const saved = parseSavedRules("*raw\n:KRUN_0a1b2c3d - [0:0]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n");
  assert.ok(hasMark(saved, NOTE.mark));
  assert.ok(!hasMark(saved, "KRUN_ffffffff"));
});

Deno.test("residues() are tables that krun may have made and that hold nothing", () => {
  const empty = "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
  const saved = parseSavedRules(`${empty}*raw\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n`);
  const nothing = { family: 4, tables: [], empty: [] } as const;
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
