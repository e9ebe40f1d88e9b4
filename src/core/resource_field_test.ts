import type { V1Pod, V1ResourceFieldSelector } from "@kubernetes/client-node";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { NodeFacts } from "./pod_inputs.ts";
import { type ResourceFieldOptions, resourceFieldValue } from "./resource_field.ts";

type Input = Omit<ResourceFieldOptions, "pod" | "node"> & {
  selector: V1ResourceFieldSelector;
  pod?: V1Pod;
  allocatable?: NodeFacts["allocatable"];
};

/** The Pod of the vectors that give none, and the node of all. */
const POD: V1Pod = {
  spec: {
    containers: [
      {
        name: "app",
        resources: { limits: { cpu: "1500m", memory: "1Gi" }, requests: { cpu: "250m", memory: "100M" } },
      },
      { name: "bare" },
    ],
    initContainers: [{ name: "setup" }, { name: "limited", resources: { limits: { cpu: "2" } } }],
  },
};
const NODE: NodeFacts = {
  name: "node-1",
  ips: [],
  allocatable: { cpu: "4", memory: "8Gi", "ephemeral-storage": "20Gi", "hugepages-1Gi": "2Gi" },
};

for (const { id, why, input, expect } of loadVectors<Input, { value?: string; error?: string }>("resource_field")) {
  const { selector, pod = POD, allocatable = NODE.allocatable, ...rest } = input;
  Deno.test(`resourceFieldValue() ${id}: ${why}`, () => {
    const value = () => resourceFieldValue(selector, { ...rest, pod, node: { ...NODE, allocatable } });
    if (expect.error) {
      assert.throws(value, { code: expect.error });
    } else {
      assert.equal(value(), expect.value);
    }
  });
}
