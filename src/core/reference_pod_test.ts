import assert from "node:assert/strict";
import { plannedPod } from "../../tests/planned_pod.ts";
import { parseReference } from "./reference.ts";
import { secretOfReference, withReferences, type WithReferencesOptions } from "./reference_pod.ts";
import { KrunError } from "./errors.ts";

function optionsOf(
  values: Readonly<Record<string, string>>,
  more: Partial<WithReferencesOptions> = {},
): WithReferencesOptions {
  return {
    references: Object.entries(values).map(([name, value]) => parseReference(name, value)),
    faults: [],
    cwd: "/work",
    tempFolder: "/tmp",
    runId: "0123",
    self: { uid: 1000 },
    isSideProcess: false,
    ...more,
  };
}

const EXACT = {
  API_KEY: "sm://p/a",
  TLS: "sm://p/tls?destination=/etc/tls/key.pem&mode=0440",
  TMP: "berglas://bkt/x.json?destination=tempfile",
};

Deno.test("withReferences() gives the program a variable for each, and a file in a volume of its own where one is asked for", () => {
  const { pod, references, liveFiles, volumeUsers, origins } = withReferences(plannedPod({}), optionsOf(EXACT));
  const [container] = pod.spec!.containers;
  const ref = (name: string, key: string) => ({
    name,
    valueFrom: { secretKeyRef: { name: `$${name}`, key, optional: false } },
  });
  assert.deepEqual(container!.env, [ref("API_KEY", "value"), ref("TLS", "path"), ref("TMP", "path")]);
  const volumes = pod.spec!.volumes!;
  assert.deepEqual(volumes.map(({ name, secret }) => [name, secret?.secretName, secret?.defaultMode]), [
    ["reference-tls", "$TLS", 0o440],
    ["reference-tmp", "$TMP", 0o600],
  ]);
  assert.deepEqual(container!.volumeMounts!.map(({ mountPath }) => mountPath), [
    "/etc/tls/key.pem",
    "/tmp/krun-0123-TMP.json",
  ]);
  assert.deepEqual([...references!.volumes, ...liveFiles], [
    "reference-tls",
    "reference-tmp",
    "reference-tls",
    "reference-tmp",
  ]);
  assert.deepEqual([...volumeUsers.values()], [1000, 1000]);
  assert.equal(origins.get("reference-tls"), "TLS");
  assert.deepEqual(references!.variables, ["API_KEY", "TLS", "TMP"]);
});

Deno.test("withReferences() gives files to the program's own user", () => {
  const containers = [{ name: "app", securityContext: { runAsUser: 7 } }];
  assert.deepEqual([...withReferences(plannedPod({ containers }), optionsOf(EXACT)).volumeUsers.values()], [7, 7]);
  const ofPod = withReferences(plannedPod({ securityContext: { runAsUser: 8 } }), optionsOf(EXACT));
  assert.deepEqual([...ofPod.volumeUsers.values()], [8, 8]);
});

Deno.test("withReferences() gives nothing to another container, and leaves what KRUN_POD says of a variable", () => {
  const containers = [{ name: "app", env: [{ name: "API_KEY", value: "mine" }] }, { name: "side" }];
  const origins = new Map([["env:app/API_KEY", "KRUN_POD"]]);
  const faults = ["API_KEY", "BAD"].map((askedBy) => ({ error: new KrunError("ReferenceInvalid", "x", "y"), askedBy }));
  const { pod, references } = withReferences(plannedPod({ containers, origins }), optionsOf(EXACT, { faults }));
  const [app, side] = pod.spec!.containers;
  assert.deepEqual(app!.env!.map(({ name, value }) => value ?? name), ["mine", "TLS", "TMP"]);
  assert.equal(side!.env, undefined);
  assert.equal(side!.volumeMounts, undefined);
  assert.deepEqual([...references!.bySecret.keys()], ["$TLS", "$TMP"]);
  assert.deepEqual(references!.faults.map(({ askedBy }) => askedBy), ["BAD"]);
});

Deno.test("withReferences() takes the place of the KUBECONFIG that krun itself has given", () => {
  const containers = [{ name: "app", env: [{ name: "KUBECONFIG", value: "/dev/null" }] }];
  const origins = new Map([["env:app/KUBECONFIG", "the service account"]]);
  const { pod } = withReferences(
    plannedPod({ containers, origins }),
    optionsOf({ KUBECONFIG: "sm://p/k?destination=/k" }),
  );
  assert.deepEqual(pod.spec!.containers[0]!.env!.map(({ name, value }) => [name, value]), [["KUBECONFIG", undefined]]);
});

Deno.test("withReferences() makes files alone where there is no program, and says so", () => {
  const { references, warnings } = withReferences(plannedPod({}), optionsOf(EXACT, { isSideProcess: true }));
  assert.deepEqual([...references!.bySecret.keys()], ["$TLS", "$TMP"]);
  assert.deepEqual(warnings, ["API_KEY is not resolved: there is no program, and it names no destination"]);
});

Deno.test("withReferences() takes relative destinations below the working directory, and names volumes apart", () => {
  const values = {
    A_B: "sm://p/a?destination=x/y",
    "A-B": "sm://p/b?destination=../z",
    ODD: "sm://p/c?destination=tempfile",
  };
  const { pod } = withReferences(plannedPod({}), optionsOf(values, { tempFolder: "tmp" }));
  const mounts = pod.spec!.containers[0]!.volumeMounts!;
  assert.deepEqual(mounts.map(({ mountPath }) => mountPath), ["/work/x/y", "/z", "/work/tmp/krun-0123-ODD"]);
  assert.deepEqual(pod.spec!.volumes!.map(({ name }) => name), ["reference-a-b", "reference-a-b-2", "reference-odd"]);
});

Deno.test("secretOfReference() holds value and path, and is not there where there is no value", () => {
  const reference = parseReference("A", "sm://p/a");
  assert.deepEqual(secretOfReference(reference, new Uint8Array([255]))?.data, { value: "/w==" });
  assert.deepEqual(secretOfReference({ ...reference, path: "/x" }, new Uint8Array())?.data, {
    value: "",
    path: "L3g=",
  });
  assert.equal(secretOfReference(reference, undefined), undefined);
});
