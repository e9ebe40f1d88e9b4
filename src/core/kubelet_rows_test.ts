/**
 * Holds the fact sheet and the vectors together: every row and every case of sections 1.1 to 1.7 of the sheet on the
 * kubelet has a vector whose id names it. Sections 2 and 3 are counted in `kubelet_volume_rows_test.ts`.
 *
 * Rows without a vector, since no pure rule of this folder carries them: 1.1 "computed at each start" (a test of
 * `container_env_test.ts`), 1.1 image variables, 1.1 "until the Service cache has been read", and 1.4 "no expansion" of
 * hooks, workingDir, mountPath, subPath, image and probe paths (nothing expands them: there is no function to call).
 */
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";

const UNITS = ["expansion", "service_env", "field_path", "resource_field", "container_env", "container_text"];

const BOTH = ["env", "volume"];
const FORMS = ["secretKeyRef", "configMapKeyRef"];
const SOURCES = ["envFrom-secretRef", "envFrom-configMapRef"];

/** Section → ids below it. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  "1.1": [
    ...[0, 1, 2, 3, 4].map((step) => `step-${step}`),
    ...["precedence", "precedence-last-duplicate", "only-literals-expanded", "literal-sees", "optional-skip-keeps"],
    ...["env-from-binary-data", "secret-bytes"],
    ...below("vector", ["prefix", "late", "override", "duplicate", "no-value", "service"]),
  ],
  "1.2": [
    ...below("api-check", ["accepted", "equals", "non-ascii", "empty", "control", "prefix-accepted", "prefix-refused"]),
    ...["env-from-keys", "older-nodes"],
    ...below("object-keys", ["slash", "dots", "dot", "long", "longest"]),
  ],
  "1.3": [
    ...["my-svc", "six", "kubernetes", "kubernetes-when-links-off", "own-kubernetes-replaces", "other-namespace"],
    ...["cluster-ip-none", "cluster-ip-empty", "name-part"],
    ...below("row", ["service-host", "service-port", "service-port-name", "port", "port-number-protocol"]),
    "row/proto-port-addr",
  ],
  "1.4": [
    ...["known", "escaped", "escaped-then-known", "not-scanned-again", "unknown", "three-escapes", "no-nesting"],
    ...["unclosed", "only-openers", "other-dollars", "trailing-dollar", "empty-value", "no-backslash-escape"],
    ...["empty-name", "double-dollar"],
    ...below("field", ["env-value", "command", "probe", "sub-path-expr", "sub-path-expr-missing"]),
  ],
  "1.5": [
    ...[
      ...["metadata.name", "metadata.namespace", "metadata.uid"],
      ...["metadata.labels-key", "metadata.annotations-key", "metadata.labels-absent", "metadata.annotations-absent"],
      ...["metadata.labels-whole", "metadata.annotations-whole"],
      ...["spec.nodeName", "spec.host", "spec.serviceAccountName"],
      ...["status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"],
    ].flatMap((field) => below(`row/${field}`, BOTH)),
    ...["no-quotes", "double-quotes", "not-qualified", "other-field"].flatMap((form) =>
      below(`subscript/${form}`, BOTH)
    ),
    ...below("subscript", ["first-split", "annotation-lower-case"]),
    ...below("pod-ips", ["podIP", "podIPs", "ipv6-first", "one-per-family", "canonical"]),
    "api-version",
  ],
  "1.6": [
    ...below("run", ["limits.cpu", "limits.cpu-1m", "requests.cpu", "limits.memory", "limits.memory-1Mi"]),
    ...below("run", ["limits.memory-1M", "requests.memory-1Mi", "requests.memory-1Gi"]),
    ...below("resources", ["ephemeral-storage", "hugepages-limit", "hugepages-request", "unknown"]),
    ...below("divisor", ["zero", "unset", "cpu-1", "cpu-other", "memory-1m", "memory-1024"]),
    ...below("ceil", ["exact", "up", "cpu-fraction"]),
    ...below("allocatable", ["cpu", "memory", "ephemeral-storage", "zero-limit", "volume", "missing-request"]),
    ...below("allocatable", ["pod-level-env", "pod-level-volume"]),
    ...below("container-name", [
      "env-default",
      "env-named",
      "volume-missing",
      "init-in-volume",
      "init-own",
      "init-named",
    ]),
  ],
  "1.7": [
    ...["not-optional", "optional"].flatMap((word) => [
      ...FORMS.flatMap((form) => below(`${word}/${form}`, ["404", "403", "timeout", "key-absent"])),
      ...SOURCES.flatMap((form) => below(`${word}/${form}`, ["404", "403"])),
      `${word}/configMapKeyRef/binary-data`,
    ]),
    ...["failure/all-at-once", "value-and-value-from"],
  ],
};

for (const [section, rows] of Object.entries(ROWS)) {
  Deno.test(`vectors have each of the ${rows.length} rows of section ${section} of the facts on the kubelet`, () => {
    const ids = new Set(UNITS.flatMap((unit) => loadVectors(unit)).map(({ id }) => id));
    assert.deepEqual(rows.map((row) => `${section}/${row}`).filter((id) => !ids.has(id)), []);
  });
}

Deno.test("vectors of sections 1.1 to 1.7 have one id each", () => {
  const ids = UNITS.flatMap((unit) => loadVectors(unit)).map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
});

function below(folder: string, names: readonly string[]): string[] {
  return names.map((name) => `${folder}/${name}`);
}
