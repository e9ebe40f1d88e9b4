import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { programKubeconfig, type ProgramKubeconfigOptions } from "./program_kubeconfig.ts";

for (const { id, why, input, expect } of loadVectors<ProgramKubeconfigOptions, unknown>("program_kubeconfig")) {
  Deno.test(`programKubeconfig() ${id}: ${why}`, () => {
    const { tokenFile } = input;
    assert.deepEqual(JSON.parse(programKubeconfig(input)), {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "krun", cluster: expect }],
      users: [{ name: "workload", user: { tokenFile, "token-file": tokenFile } }],
      contexts: [{ name: "krun", context: { cluster: "krun", user: "workload", namespace: "shop" } }],
      "current-context": "krun",
    });
  });
}
