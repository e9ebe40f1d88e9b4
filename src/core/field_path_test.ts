import type { V1Pod } from "@kubernetes/client-node";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { envFieldValue, volumeFieldValue } from "./field_path.ts";
import type { NodeFacts } from "./pod_inputs.ts";

interface Input {
  place: "env" | "volume";
  fieldPath: string;
  apiVersion?: string;
  pod?: V1Pod;
  node?: NodeFacts;
}

/** The Pod and node of the vectors that give none. */
const POD: V1Pod = {
  metadata: {
    name: "web",
    namespace: "shop",
    uid: "u-1",
    labels: { tier: "web", app: 'a "b"' },
    annotations: { "Example.com/note": "n\n" },
  },
  spec: { containers: [], nodeName: "node-1", serviceAccountName: "robot" },
  status: { podIPs: [{ ip: "1.2.3.4" }, { ip: "fd00::6" }] },
};
const NODE: NodeFacts = { name: "node-2", ips: ["10.0.0.1", "fd00::1"], allocatable: {} };

for (const { id, why, input, expect } of loadVectors<Input, { value?: string; error?: string }>("field_path")) {
  const { place, fieldPath, apiVersion, pod = POD, node = NODE } = input;
  Deno.test(`${place}FieldValue() ${id}: ${why}`, () => {
    const value = () =>
      place === "env" ? envFieldValue(fieldPath, { pod, node, apiVersion }) : volumeFieldValue(fieldPath, pod);
    if (expect.error) {
      assert.throws(value, { code: expect.error });
    } else {
      assert.equal(value(), expect.value);
    }
  });
}
