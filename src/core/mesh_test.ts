import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { mergedProxyConfig, type MeshFound, meshOf, meshRevision, revisionedName } from "./mesh.ts";
import type { JsonObject } from "./mesh_objects.ts";
import type { Env } from "./pod_inputs.ts";
import { parseSettings } from "./settings.ts";

interface Input {
  readonly env?: Env;
  readonly labels?: Readonly<Record<string, string>>;
  readonly found?: Omit<MeshFound, "description"> & { readonly description?: Readonly<Record<string, string>> };
  readonly proxyConfig?: JsonObject;
}

interface Failure {
  readonly error: string;
  readonly says: string;
}

function mesh({ env = {}, labels = {}, found: { description, ...found } = {}, proxyConfig = {} }: Input) {
  const { mesh: settings } = parseSettings(env);
  const described = description && { values: new Map(Object.entries(description)), where: "the description" };
  const revision = meshRevision(settings, labels);
  return meshOf({ settings, found: { ...found, description: described }, revision, proxyConfig, labels });
}

for (const { id, why, input, expect } of loadVectors<Input, Record<string, unknown> | Failure>("mesh")) {
  Deno.test(`meshOf() ${id}: ${why}`, () => {
    if ("error" in expect) {
      return assert.throws(() => mesh(input), (error) => {
        assert.ok(error instanceof KrunError);
        assert.equal(error.code, expect.error);
        assert.ok(`${error.message}; ${error.hint}`.includes(String(expect.says)), `${error.message}; ${error.hint}`);
        return true;
      });
    }
    const found = mesh(input) as unknown as Record<string, unknown>;
    for (const [field, value] of Object.entries(expect)) assert.deepEqual(found[field] ?? null, value, field);
  });
}

Deno.test("meshRevision() takes the variable, else the workload's label, else the default", () => {
  const label = { "istio.io/rev": "canary" };
  const revision = (env: Env, labels = {}) => meshRevision(parseSettings(env).mesh, labels);
  assert.deepEqual(revision({ MESH_REVISION: "1-31" }, label), { value: "1-31", rule: "MESH_REVISION" });
  assert.deepEqual(revision({}, label), { value: "canary", rule: "label istio.io/rev" });
  assert.deepEqual(revision({}, { "istio.io/rev": "" }), { value: "default", rule: "the default" });
});

Deno.test("revisionedName() adds a suffix for every revision but the default", () => {
  assert.deepEqual(["default", "", "1-31"].map((revision) => revisionedName("istio", revision)), [
    "istio",
    "istio",
    "istio-1-31",
  ]);
});

Deno.test("mergedProxyConfig() keeps each field of both, and of two the one above", () => {
  const config = fc.dictionary(fc.constantFrom("concurrency", "tracing", "x"), fc.jsonValue());
  fc.assert(fc.property(config, config, (below, above) => {
    assert.deepEqual(mergedProxyConfig(below, above), { ...below, ...above });
  }));
  const metadata = fc.dictionary(fc.string(), fc.string());
  fc.assert(fc.property(metadata, metadata, (below, above) => {
    const { proxyMetadata } = mergedProxyConfig({ proxyMetadata: below }, { proxyMetadata: above });
    assert.deepEqual(proxyMetadata, { ...below, ...above });
  }));
});
