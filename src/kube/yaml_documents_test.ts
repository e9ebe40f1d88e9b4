import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { SourceFault } from "../core/source_document.ts";
import { loadYamlParser } from "./yaml_documents.ts";

const parse = await loadYamlParser();

function typeOf(value: unknown): string {
  return value === null ? "null" : typeof value === "string" ? "text" : typeof value;
}

for (const { id, why, input, expect } of loadVectors<string, string>("yaml_documents")) {
  Deno.test(`loadYamlParser() reads ${id} as ${expect}: ${why}`, () => {
    const [document] = parse(`a: ${input}\n`);
    assert.equal(typeOf((document!.value as { a: unknown }).a), expect);
  });
}

Deno.test("loadYamlParser() reads numbers as kubectl counts them", () => {
  const [document] = parse("[1_000, 0x1F, 0b11, 0o17, 0777, -12, +1, 1e3, .5, 12e-1]");
  assert.deepEqual(document!.value, [1000, 31, 3, 15, 511, -12, 1, 1000, 0.5, 1.2]);
});

Deno.test("loadYamlParser() tells the line of each field, through documents, lists and block texts", () => {
  const text = [
    "# one", // 1
    "a: 1", // 2
    "b:", // 3
    "  c:", // 4
    "    - x", // 5
    "    - d: 1", // 6
    "      e: |", // 7
    "        text", // 8
    "---", // 9
    "", // 10
    "q: &q {x: 1}", // 11
    "r: *q", // 12
  ].join("\n");
  const [first, second] = parse(text);
  const lines = [[], ["a"], ["b"], ["b", "c"], ["b", "c", 0], ["b", "c", 1], ["b", "c", 1, "e"]];
  assert.deepEqual(lines.map((path) => first!.lineOf(path)), [2, 2, 3, 4, 5, 6, 7]);
  // What is not written has the line of what is around it.
  assert.deepEqual([["b", "none"], ["b", "c", 9], ["none", "x"]].map((path) => first!.lineOf(path)), [3, 4, 2]);
  assert.deepEqual([[], ["q", "x"], ["r", "x"]].map((path) => second!.lineOf(path)), [11, 11, 12]);
});

Deno.test("loadYamlParser() faults with line and reason, without the text", () => {
  for (
    const [text, line, reason] of [
      ["a: 1\nb: 2\na: 3\n", 3, "duplicated mapping key"],
      ["a:\n  - !local x\n", 2, "a tag that is not known (text that begins with ! needs quotes)"],
      ["a: [", 1, "unexpected end of the stream within a flow collection"],
      ["? {a: b}\n: c\n", 1, "object-based map does not support complex keys"],
      ["null: a\n", 1, "a key is empty"],
    ] as const
  ) {
    assert.throws(() => parse(text), { name: "SourceFault", reason, line }, text);
  }
});

Deno.test("loadYamlParser() tells of a password without quotes where it is, and never what it is", () => {
  const characters = "S3cr!*&%@`'\"{}[]<>|:,?#-t \\/~^".split("");
  const value = fc.tuple(
    fc.constantFrom("*", "!", "!<", "!a!", "&", "%", "@", "`", "|", "{", "[", "'", '"', "<<: ", "!!int ", ""),
    fc.string({ unit: fc.constantFrom(...characters), minLength: 4, maxLength: 30 }),
    fc.constantFrom("", "!", "\n", "\n\t- x", "\npassword: b"),
  );
  fc.assert(
    fc.property(value, ([first, password, end]) => {
      const value = first + password.trim();
      fc.pre(password.trim().length >= 4);
      try {
        parse(`a: 1\npassword: ${value}${end}\n`);
      } catch (error) {
        assert(error instanceof SourceFault, `${error}`);
        assert(error.line !== undefined && error.column !== undefined, error.message);
        assert(!`${error.message} ${error.reason}`.includes(password.trim()), error.message);
        assert.equal(error.cause, undefined);
      }
    }),
    { numRuns: 3000 },
  );
  for (
    const [text, reason] of [
      ["a: *S3cr3t!pw", /^an alias without its anchor/],
      ["a: !S3cr3t!pw", /^a tag that is not known/],
      ["a: !S3cr3t", /^a tag that is not known/],
      ["a: !<S3cr3t> [b]", /^a tag that is not known/],
      ["a: !S3cr3t {b: c}", /^a tag that is not known/],
      ["a: !!int S3cr3t", /^a tag that is not known/],
      ["a: !<!S3cr3t^> b", /^a tag that is not known/],
      ["%TAG !S3cr3t! a\n%TAG !S3cr3t! b\n---\na", /^it is not valid YAML$/],
    ] as const
  ) {
    assert.throws(() => parse(text), (error: Error & { line?: number; column?: number }) => {
      assert.match(error.message, reason);
      assert.doesNotMatch(error.message, /S3cr3t/);
      return error.line !== undefined && error.column !== undefined;
    }, text);
  }
});

Deno.test("loadYamlParser() reads its own JSON back, whatever the data", () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
    const text = JSON.stringify(value);
    // JSON spells these three characters as they are; YAML 1.2 takes them for line ends or refuses them.
    fc.pre(!/[\u0085\u2028\u2029\u007f-\u009f\ufeff\ufffe\uffff]|[\ud800-\udfff]/u.test(text));
    assert.deepEqual(JSON.parse(JSON.stringify(parse(text)[0]!.value)), JSON.parse(text));
  }));
});

Deno.test("loadYamlParser() fails only with SourceFault, and tells a line for every path it is asked for", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.array(fc.oneof(fc.string(), fc.nat())), (text, path) => {
    try {
      for (const document of parse(text)) document.lineOf(path);
    } catch (error) {
      assert(error instanceof SourceFault, `${error}`);
    }
  }));
});
