import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { POD_FIELDS, type PodObject } from "./pod_fields.ts";
import { parsePodManifest } from "./pod_manifest.ts";
import { withoutNulls } from "./shape.ts";

type Expect = { readonly warns: readonly string[] } | { readonly error: string; readonly says: string };

for (const { id, why, input, expect } of loadVectors<unknown, Expect>("pod_manifest")) {
  Deno.test(`parsePodManifest() ${id}: ${why}`, () => {
    if ("warns" in expect) {
      const { pod, warnings } = parsePodManifest(input, "pod.yaml");
      assert.deepEqual(warnings, expect.warns);
      assert.deepEqual(pod, withoutNulls(input));
      return;
    }
    assert.throws(() => parsePodManifest(input, "pod.yaml"), (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(error.message.startsWith('Cannot read Pod "pod.yaml": '), error.message);
      assert.ok(`${error.message}; ${error.hint}`.includes(expect.says), error.message);
      return true;
    });
  });
}

Deno.test("parsePodManifest() throws nothing but PodInvalid when given any data", () => {
  const anything = fc.anything({ maxDepth: 4 });
  const near = fc.record({
    apiVersion: fc.constant("v1"),
    kind: fc.constant("Pod"),
    metadata: fc.option(fc.record({ name: anything, labels: anything }, { requiredKeys: [] })),
    spec: fc.record({
      containers: fc.array(fc.record({ name: fc.constantFrom("a", "b"), env: anything, volumeMounts: anything }, {
        requiredKeys: ["name"],
      })),
      volumes: fc.oneof(anything, fc.array(fc.record({ name: fc.constantFrom("a", "b"), secret: anything }))),
    }, { requiredKeys: ["containers"] }),
  });
  fc.assert(fc.property(fc.oneof(anything, near), (data) => {
    try {
      parsePodManifest(data, "x");
    } catch (error) {
      assert.ok(error instanceof KrunError && error.code === "PodInvalid", String(error));
      assert.doesNotMatch(error.message, /[\n\0]/);
    }
  }));
});

/** Path → what becomes of each of its fields. */
const OBJECTS: [string, PodObject][] = Object.entries(POD_FIELDS);

/** A Pod with every field that krun ignores. */
function vainPod(): unknown {
  const forms: Record<string, unknown> = {
    hostIP: "10.0.0.1",
    hostPort: 80,
    readOnly: true,
    resources: { limits: { cpu: 1 } },
  };
  const vain = (path: string) => {
    const fields = Object.keys(OBJECTS.find(([other]) => other === path)?.[1].ignored ?? {});
    return Object.fromEntries(fields.map((field) => [field, forms[field] ?? "vain"]));
  };
  const container = {
    name: "app",
    ...vain("spec.containers[]"),
    securityContext: vain("spec.containers[].securityContext"),
    ports: [{ containerPort: 1, ...vain("spec.containers[].ports[]") }],
    volumeMounts: [{ name: "a", mountPath: "/a", ...vain("spec.containers[].volumeMounts[]") }],
    lifecycle: vain("spec.containers[].lifecycle"),
  };
  const volumes = [{ name: "a", emptyDir: vain("spec.volumes[].emptyDir") }];
  const spec = { ...vain("spec"), securityContext: vain("spec.securityContext"), containers: [container], volumes };
  return { apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, spec };
}

Deno.test("parsePodManifest() names every field that its table calls ignored, in one line", () => {
  const { warnings } = parsePodManifest(vainPod(), "pod.yaml");
  assert.equal(warnings.length, 1);
  const [head, list = ""] = warnings[0]!.split(" have no effect: ");
  assert.equal(head, "these fields of the Pod in pod.yaml");
  const ignored = OBJECTS.flatMap(([path, object]) =>
    Object.keys(object.ignored ?? {}).map((field) => `${path.replaceAll("[]", "")}.${field}`)
  );
  assert.deepEqual(list.split(", ").sort(), ignored.sort());
});

Deno.test("docs/pod.md has a row for every field of the table, and no other", () => {
  const page = Deno.readTextFileSync(new URL("../../docs/pod.md", import.meta.url));
  const sections = page.split(/^## /m).filter((section) => section.includes("| Field |"));
  const told = sections.map((section) => [
    section.split("\n")[0],
    ...[...section.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map(([, field, effect]) => `${field} ${effect}`),
  ]);
  const rows = (fields: object | undefined, effect: string) =>
    Object.keys(fields ?? {}).map((field) => `${field} ${effect}`);
  assert.deepEqual(
    told,
    OBJECTS.map(([path, { honoured, ignored, moot, refused }]) => [
      ...[path, ...rows(honoured, "yes"), ...rows(ignored, "no")],
      ...[...rows(moot, "moot"), ...rows(refused, "error")],
    ]),
  );
});
