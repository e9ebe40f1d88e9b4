/**
 * Holds the fact sheet and the tests together: every table row of sections 2 and 3 of the sheet on the kubelet, and every
 * rule that is a line of its list, has a vector or a test whose id names it. Section 1 is counted in `kubelet_rows_test.ts`.
 *
 * Not here, since krun has no such thing: 2.1 how the kubelet waits and where volumes lie on its host, 2.5 clusterTrustBundle
 * and podCertificate beyond their refusal, 2.6 how the API server adds kube-api-access.
 */
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";

const UNITS = ["payload_path", "volume_payload", "volume_ownership", "volume_plan", "atomic_writer"];

/** Tests on a real folder that have no data, or more than data. */
const TEST_FILES = ["../pod/atomic_writer_test.ts"];

/** Row of a table, or line of a list → the ids that are about it; each must exist. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  "2.1 modes": ["2.1/secret/defaultMode", "2.1/projected/mode-of-an-item"],
  "2.1 items": ["2.1/secret/every-key", "2.1/secret/items-one-key-twice", "2.1/configMap/every-key"],
  "2.1 object missing": [
    "2.1/secret/missing-object",
    "2.1/secret/missing-object-optional",
    "2.1/configMap/missing-object",
  ],
  "2.1 key missing": ["2.1/secret/missing-key", "2.1/secret/missing-key-optional", "2.1/configMap/missing-key"],
  "2.1 projected": ["2.1/projected/all-sources-tried", "2.1/projected/optional-sources"],
  "2.1 configMap": ["2.1/configMap/one-key-in-both-no-items", "2.1/configMap/one-key-in-both-items"],
  "2.1 same path": ["2.1/secret/same-path-twice", "2.1/projected/same-path-twice"],
  "2.2 table: API": ["2.2/api/absolute", "2.2/api/element-of-two-dots", "2.2/api/leading-two-dots"],
  "2.2 table: AtomicWriter": [
    ...["empty", "absolute", "4097-bytes", "doubledot-1", "doubledot-2", "element-of-256-bytes", "reserved-path"].map((
      row,
    ) => `2.2/writer/${row}`),
  ],
  "2.2 table: gap in both": ["2.2/gap/./..x", "2.2/gap/././/..data"],
  "2.3 FsUser": [
    ...["of-the-Pod", "container-wins", "one-container-names-none", "they-differ", "init-container-differs"].map((
      row,
    ) => `2.3/fsUser/${row}`),
    "2.3/fsUser/ephemeral-container-differs",
  ],
  "2.3 fsGroup": [
    "2.3/fsGroup",
    "2.3/file-with-fsGroup/0400",
    "2.3/file-with-fsGroup/0644",
    "2.3/file-with-fsGroup/0640",
  ],
  "2.3 folders": ["2.3/folder-with-fsGroup/0755", "2.3/volume-root-with-fsGroup/0777"],
  "2.3 table: nothing set": ["2.3/token/nothing-set"],
  "2.3 table: runAsUser": ["2.3/token/runAsUser-1000-everywhere", "2.3/token-in-a-volume/runAsUser"],
  "2.3 table: fsGroup": ["2.3/token/fsGroup-2000", "2.3/token-in-a-volume/fsGroup"],
  "2.3 table: both": ["2.3/token/both"],
  "2.4 files": ["2.4/downwardAPI/labels", "2.4/downwardAPI/no-annotations", "2.4/downwardAPI/one-label"],
  "2.5 serviceAccountToken": ["2.5/token/defaults", "2.5/token/audience"],
  "2.5 others": ["2.5/clusterTrustBundle", "2.5/podCertificate"],
  "2.6 table: token": ["2.6/kube-api-access/token"],
  "2.6 table: ca.crt": ["2.6/kube-api-access/ca.crt", "2.6/kube-api-access/ca.crt-missing"],
  "2.6 table: namespace": ["2.6/kube-api-access/namespace"],
  "3.1 algorithm": [
    ...["first-version", "no-change", "content-changes", "nested", "name-added", "name-removed"].map((row) =>
      `3.1/${row}`
    ),
    ...["file-removed-below-a-name-that-stays", "empty-folder-is-stale", "something-else-at-a-name"].map((row) =>
      `3.1/${row}`
    ),
  ],
  "3.3 table: left-over ..data_tmp": ["3.3/left-over-data_tmp", "3.3/left-over-data_tmp-nothing-to-write"],
  "3.3 table: error in 6 or 7": ["3.3/error-in-step-6-or-7"],
  "3.3 table: error in 8 or 9": ["3.3/error-in-step-8-or-9"],
  "3.3 table: crash before 10": ["3.3/crash-before-step-10"],
  "3.3 table: entry changes kind": ["3.3/file-becomes-folder", "3.3/folder-becomes-file"],
  "3.3 table: empty payload": ["3.3/empty-payload-after-data"],
  "3.3 table: real directory": ["3.3/real-directory-at-a-visible-name"],
  "3.3 table: umask": ["3.3/umask-077"],
  "3.3 table: mode bits": ["3.3/mode-bits-above-0777"],
  "3.4 table: TestNewAtomicWriter": ["3.4/TestNewAtomicWriter"],
  "3.4 table: TestValidatePath": [
    "3.4/TestValidatePath/valid-1",
    "3.4/TestValidatePath/valid-2",
    ...["4097-bytes", "element-of-256-bytes", "absolute", "reserved-path", "doubledot-1", "doubledot-2", "empty"].map((
      row,
    ) => `2.2/writer/${row}`),
  ],
  "3.4 table: TestValidatePayload": [
    ...["valid-payload", "over-4096", "absolute", "reserved", "doubledot", "empty", "unclean"].map((row) =>
      `3.4/TestValidatePayload/${row}`
    ),
  ],
  "3.4 table: TestPathsToRemove": [
    ...["simple", "simple-2", "subdirs-1", "subdirs-2", "subdirs-3", "subdirs-4", "subdirs-5"].map((row) =>
      `3.4/TestPathsToRemove/${row}`
    ),
  ],
  "3.4 table: TestWriteOnce": [
    ...["invalid-payload-1", "invalid-payload-2", "basic-1", "basic-2", "basic-mode-1", "dotfiles", "dotfiles-mode"],
    ...["subdirectories-1", "subdirectories-mode-1", "subdirectories-2", "subdirectories-3", "kitchen-sink"],
  ].map((row) => `3.4/TestWriteOnce/${row}`),
  "3.4 table: TestUpdate": [
    ...[
      "update",
      "no-update",
      "no-update-2",
      "add-1",
      "add-2",
      "add-3",
      "delete-1",
      "delete-2",
      "delete-3",
      "delete-4",
    ],
    ...["delete-all", "add-and-delete-1"],
  ].map((row) => `3.4/TestUpdate/${row}`),
  "3.4 table: TestMultipleUpdates": [
    ...["update-1", "update-2", "clear-sentinel", "subdirectories-2", "add-1", "add-2", "remove-1"].map((row) =>
      `3.4/TestMultipleUpdates/${row}`
    ),
  ],
  "3.4 table: TestCreateUserVisibleFiles": [
    ...["simple-path", "simple-nested-path", "unclean-nested-path"].map((row) =>
      `3.4/TestCreateUserVisibleFiles/${row}`
    ),
  ],
  "3.4 table: TestSetPerms": ["3.4/TestSetPerms"],
  "3.4 table: TestWriteAgainAfterUnexpectedExit": ["3.4/TestWriteAgainAfterUnexpectedExit"],
};

Deno.test("vectors and tests have each row of sections 2 and 3 of the facts on the kubelet", () => {
  const ids = new Set(UNITS.flatMap((unit) => loadVectors(unit)).map(({ id }) => id));
  const source = TEST_FILES.map((file) => Deno.readTextFileSync(new URL(file, import.meta.url))).join();
  const missing = Object.entries(ROWS).flatMap(([row, wanted]) =>
    wanted.filter((id) => !ids.has(id) && !source.includes(` ${id} `)).map((id) => `${row}: ${id}`)
  );
  assert.deepEqual(missing, []);
});
