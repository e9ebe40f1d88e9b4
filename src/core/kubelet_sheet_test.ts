/**
 * Holds the rules of the kubelet and the cases together. In: tests/testdata/kubelet/rows.json, each rule that krun keeps in
 * a sentence of its own, with the ids of its cases (`*` at the end: all that begin so). A case whose id begins with a
 * section is of exactly one rule, and each rule has a case, or says why it has none.
 *
 * That no case is lost is held by `kubelet_rows_test.ts` and `kubelet_volume_rows_test.ts`, which name them one by one.
 */
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";

interface Row {
  readonly row: string;
  readonly says: string;
  readonly vectors: readonly string[];
  /** Why no case shows it. */
  readonly untested?: string;
}

const TESTDATA = new URL("../../tests/testdata/", import.meta.url);
const ROWS: readonly Row[] = JSON.parse(Deno.readTextFileSync(new URL("kubelet/rows.json", TESTDATA)));

/** Ids of cases that name a section, in every unit's vectors and in the names of tests on a real folder. */
function sectionedIds(): Set<string> {
  const units = [...Deno.readDirSync(new URL("vectors/", TESTDATA))].map(({ name }) => name);
  const ids = units.flatMap((unit) => loadVectors(unit)).map(({ id }) => id);
  const tests = Deno.readTextFileSync(new URL("../pod/atomic_writer_test.ts", import.meta.url));
  const named = [...tests.matchAll(/AtomicWriter (\d\.\d\/\S+)/g)].map(([, id]) => id!);
  return new Set([...ids, ...named].filter((id) => /^\d+\.\d+\//.test(id)));
}

const covers = (pattern: string, id: string) =>
  pattern.endsWith("*") ? id.startsWith(pattern.slice(0, -1)) : id === pattern;

Deno.test("rows of the kubelet's rules each have a name, a sentence and a case, or the reason for none", () => {
  const ids = [...sectionedIds()];
  assert.equal(new Set(ROWS.map(({ row }) => row)).size, ROWS.length, "two rows of one name");
  for (const { row, says, vectors, untested } of ROWS) {
    assert.match(says, /^\S.{9,}\.$/, row);
    assert.notEqual(vectors.length === 0, untested === undefined, row);
    for (const pattern of vectors) assert.ok(ids.some((id) => covers(pattern, id)), `${row}: no case ${pattern}`);
  }
});

Deno.test("cases that name a section of the kubelet's rules each belong to one row of that section", () => {
  for (const id of sectionedIds()) {
    const rows = ROWS.filter(({ vectors }) => vectors.some((pattern) => covers(pattern, id))).map(({ row }) => row);
    assert.equal(rows.length, 1, `${id}: ${rows.join(", ") || "no row"}`);
  }
});
