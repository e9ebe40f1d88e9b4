import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type ImpliedNamespace, namespaceOfAccount, namespaceOfProject } from "./google_namespace.ts";

interface Known {
  readonly email?: string;
  readonly project: string;
  readonly labels?: Record<string, string>;
}

for (const { id, why, input, expect } of loadVectors<Known, ImpliedNamespace>("google_namespace")) {
  Deno.test(`namespaceOfAccount() and namespaceOfProject() ${id}: ${why}`, () => {
    assert.deepEqual(namespaceOfAccount(input.email) ?? namespaceOfProject(input.project, input.labels), expect);
  });
}
