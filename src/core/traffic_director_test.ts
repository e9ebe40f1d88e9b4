import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { isTrafficDirector, networkIdentifier, readTrafficDirector, type TrafficDirector } from "./traffic_director.ts";

interface Input {
  readonly mesh: string;
  readonly projectNumber?: string;
}

type Expect = TrafficDirector & { readonly identifier: string } | { readonly error: string };

function read({ mesh, projectNumber }: Input): TrafficDirector {
  return readTrafficDirector({ env: "MESH", text: mesh }, projectNumber);
}

for (const { id, why, input, expect } of loadVectors<Input, Expect>("traffic_director")) {
  Deno.test(`readTrafficDirector() ${id}: ${why}`, () => {
    assert.ok(isTrafficDirector(input.mesh));
    if ("error" in expect) {
      assert.throws(() => read(input), (error: unknown) => {
        assert.ok(error instanceof KrunError, String(error));
        assert.equal(error.code, "SettingInvalid");
        assert.ok(`${error.message}; ${error.hint}`.includes(expect.error), `${error.message}; ${error.hint}`);
        return true;
      });
      return;
    }
    const { identifier, ...value } = expect;
    const found = read(input);
    assert.deepEqual(JSON.parse(JSON.stringify(found)), value);
    assert.equal(networkIdentifier(found), identifier);
  });
}

const name = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,20}$/);
const number = fc.stringMatching(/^[1-9]\d{0,17}$/);

Deno.test("readTrafficDirector() gives back what it is given, in whatever order", () => {
  const values = fc.record(
    { projects: number, network: name, place: fc.record({ kind: fc.constantFrom("mesh", "scopes"), name }) },
    { requiredKeys: [] },
  );
  fc.assert(fc.property(values, fc.boolean(), ({ projects, network, place }, reversed) => {
    const parts = [
      ...projects === undefined ? [] : [`projects=${projects}`],
      ...network === undefined ? [] : [`network=${network}`],
      ...place === undefined ? [] : [`${place.kind}=${place.name}`],
    ];
    const found = read({ mesh: `td:${(reversed ? parts.reverse() : parts).join("&")}`, projectNumber: "7" });
    assert.equal(found.projectNumber, projects ?? "7");
    assert.equal(found.network, network ?? (place === undefined ? "default" : undefined));
    assert.equal(found.mesh, place?.kind === "mesh" ? place.name : undefined);
    assert.equal(found.scope, place?.kind === "scopes" ? place.name : undefined);
  }));
});

Deno.test("readTrafficDirector() throws nothing but SettingInvalid of one line, and lets nothing through that ends a path", () => {
  const word = fc.oneof(
    fc.constantFrom("projects=", "network=", "mesh=", "scopes=", "&", "=", "1", "a", "..", "/", "%2F", ":"),
    // Not fast-check's "binary" texts: making their alphabet takes a second.
    fc.constantFrom("\n", "\0", "é", "\ud800", "\u2028"),
    fc.string({ unit: "grapheme-ascii", maxLength: 4 }),
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 8 }), (words) => {
    try {
      const found = read({ mesh: `td:${words.join("")}`, projectNumber: "7" });
      assert.match(`projects/${found.projectNumber}/networks/${networkIdentifier(found)}`, /^[\w/:-]+$/);
      assert.equal(networkIdentifier(found).split("/").length, 1);
    } catch (error) {
      assert.ok(error instanceof KrunError && error.code === "SettingInvalid", String(error));
      assert.doesNotMatch(error.message + error.hint, /[\n\0]/);
    }
  }));
});
