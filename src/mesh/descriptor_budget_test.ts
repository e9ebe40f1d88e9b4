import assert from "node:assert/strict";
import { DescriptorBudget } from "./descriptor_budget.ts";

Deno.test("DescriptorBudget gives half to connections and half to streams, and what came back again", () => {
  const budget = new DescriptorBudget(5);
  for (const kind of ["connection", "stream"] as const) {
    const [one, two] = [budget[kind](), budget[kind]()];
    assert.ok(one && two);
    assert.equal(budget[kind](), undefined);
    one();
    const again = budget[kind]();
    assert.ok(again);
    assert.equal(budget[kind](), undefined);
  }
});
