import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { isPinned, parseReference, type Reference, referenceObjectId, referenceText } from "./reference.ts";
import { isReference, REFERENCE_PREFIXES } from "./reference_prefix.ts";

/** What a person must find in the one line. */
interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<string, Reference | Failure>("references")) {
  Deno.test(`parseReference() ${id}: ${why}`, () => {
    assert.ok(isReference(input));
    const parse = () => parseReference("V", input);
    if (!("error" in expect)) return assert.deepEqual(parse(), expect);
    assert.throws(parse, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(error.message.includes("V") && error.message.includes(expect.says), error.message);
      assert.ok(error.hint.includes("KRUN_REFS"), error.hint);
      return true;
    });
  });
}

const prefix = fc.constantFrom(...Object.values(REFERENCE_PREFIXES));
const piece = fc.oneof(
  fc.string({ unit: "binary-ascii" }),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom(
    "\udc80",
    "\ud800",
    "/",
    "?",
    "#",
    "&",
    "=",
    "%2F",
    "%",
    "projects/p",
    "/zones/z",
    "/clusters/c",
    "/namespaces/n",
  ),
  fc.constantFrom("/secrets/s", "/keys/k", "destination=", "tempfile", "json=.a", "mode=0600", "0x1", "..", "\0"),
);
const rest = fc.array(piece).map((pieces) => pieces.join(""));

Deno.test("parseReference() throws nothing but a KrunError of one line, which quotes no default, when given any text", () => {
  fc.assert(fc.property(prefix, rest, (before, after) => {
    try {
      parseReference("V", before + after);
    } catch (error) {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, "ReferenceInvalid");
      assert.doesNotMatch(error.message + error.hint, /[\n\r]/);
    }
  }));
  fc.assert(fc.property(prefix, rest, (before, after) => {
    const told = (value: string) => {
      try {
        return parseReference("V", value).warnings.join();
      } catch (error) {
        return String(error) + (error as KrunError).hint;
      }
    };
    const names = after.replaceAll(/[#&?]/g, "");
    for (const secret of ["hunter2", "x&hunter2", "x#hunter2", "x&hunter2#1", "hunter2&mode=0600"]) {
      for (const value of [`${names}?default=${secret}`, `${names}#3?default=${secret}`, `p/n?default=${secret}`]) {
        assert.ok(!told(before + value).includes("hunter2"), `${told(before + value)} of ${value}`);
      }
    }
  }));
});

Deno.test("parseReference() gives names alone that are safe in a URL and in a host's name", () => {
  fc.assert(fc.property(prefix, rest, (before, after) => {
    let reference;
    try {
      reference = parseReference("V", before + after);
    } catch {
      return;
    }
    const { object } = reference;
    if (object.system === "kubernetes") assert.match(`${object.namespace ?? ""}${object.name}`, /^[a-z0-9.-]+$/);
    if (object.system === "secretManager") assert.match(object.project + object.name + object.version, /^[\w.:-]+$/);
    if (object.system === "storage") assert.match(object.bucket, /^[\w.-]+$/);
  }));
});

Deno.test("parseReference() refuses a variable that no Pod can have, and a value that is too long", () => {
  for (
    const [name, value] of [["é", "sm://p/a"], ["a\nb", "sm://p/a"], [
      "V",
      `sm://p/a?default=${"x".repeat(40_000)}`,
    ]] as const
  ) {
    assert.throws(() => parseReference(name, value), { code: "ReferenceInvalid" });
  }
  assert.ok(parseReference("a.b-c d", "sm://p/a"), "the control");
});

Deno.test("referenceObjectId() is one for all keys of an object, and tells clusters, kinds and versions apart", () => {
  const id = (value: string) => referenceObjectId(parseReference("V", value).object);
  assert.equal(id("$SecretKeyRef:/secrets/a/keys/x"), id("$SecretKeyRef:secrets/a/keys/y?optional=true"));
  const gke = "/projects/p/zones/z/clusters/c/namespaces/n";
  const all = [
    "$SecretKeyRef:/secrets/a/keys/x",
    "$ConfigMapKeyRef:/configmaps/a/keys/x",
    "$SecretKeyRef:/namespaces/n/secrets/a/keys/x",
    `$SecretKeyRef:${gke}/secrets/a/keys/x`,
    "$SecretKeyRef:/contexts/c/namespaces/n/secrets/a/keys/x",
    "sm://p/a",
    "sm://p/a#1",
    "sm://p/a?location=europe-west3",
    "berglas://ppp/a",
    "berglas://ppp/a#1",
  ];
  assert.equal(new Set(all.map(id)).size, all.length);
  assert.equal(
    id(`$SecretKeyRef:${gke}/secrets/a/keys/x`),
    id(`$SecretKeyRef:${gke.replace("zones", "locations")}/secrets/a/keys/y`),
  );
});

Deno.test("isPinned() is true for a version's number and a generation, and for nothing else", () => {
  const pinned = (value: string) => isPinned(parseReference("V", value).object);
  assert.deepEqual(["sm://p/a#1", "berglas://ppp/a#5"].map(pinned), [true, true]);
  const moving = ["sm://p/a", "sm://p/a#latest", "sm://p/a#prod", "berglas://ppp/a", "$SecretKeyRef:/secrets/a/keys/x"];
  assert.deepEqual(moving.map(pinned), moving.map(() => false));
});

Deno.test("referenceText() names object, cluster and version, and the workload's namespace where none is named", () => {
  const text = (value: string) => referenceText(parseReference("V", value).object, "shop");
  assert.equal(text("$SecretKeyRef:/secrets/a/keys/x"), 'Secret "shop/a"');
  assert.equal(text("$SecretKeyRef:/contexts/c/namespaces/n/secrets/a/keys/x"), 'Secret "n/a" of context "c"');
  assert.equal(
    text("$ConfigMapKeyRef:/projects/p/zones/z/clusters/c/namespaces/n/configmaps/a/keys/x"),
    'ConfigMap "n/a" of cluster "projects/p/locations/z/clusters/c"',
  );
  assert.equal(text("sm://p/a?location=r#3"), 'secret "projects/p/locations/r/secrets/a/versions/3"');
  assert.equal(text("berglas://ppp/a/b#3"), 'object "ppp/a/b" of generation 3');
});
