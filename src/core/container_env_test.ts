import type { V1Container, V1Pod, V1Service } from "@kubernetes/client-node";
import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { WatchedObject } from "./cluster.ts";
import { containerEnv, containerEnvNeeds, expandArgv, probeCommand, subPathExpr } from "./container_env.ts";
import { type ErrorCode, KrunError } from "./errors.ts";
import type { Env, PodInputs } from "./pod_inputs.ts";

interface EnvInput {
  container: V1Container;
  /** `Kind/name` → the object, or the code of the error with which the API answers; not there: 404. */
  objects?: Record<string, WatchedObject | ErrorCode>;
  services?: V1Service[];
  /** `null`: unset. */
  enableServiceLinks?: boolean | null;
}

type Expect = { env: Env } | { error: ErrorCode; message?: string; details?: string };

for (const { id, why, input, expect } of loadVectors<EnvInput, Expect>("container_env")) {
  Deno.test(`containerEnv() ${id}: ${why}`, () => {
    const make = () => containerEnv(input.container, { pod: podOf(input), inputs: inputsOf(input) });
    if ("env" in expect) {
      assert.deepEqual(Object.entries(make()).sort(), Object.entries(expect.env).sort());
    } else {
      assert.throws(make, failureLike(expect));
    }
  });
}

interface TextInput extends EnvInput {
  env: Env;
  argv?: string[];
  probe?: string[];
  subPathExpr?: string;
  /** Name of the variable of `container` that is looked at. */
  pick?: string;
}

type TextExpect = { argv: string[] } | { value: string } | { error: ErrorCode; message: string };

for (const { id, why, input, expect } of loadVectors<TextInput, TextExpect>("container_text")) {
  Deno.test(`texts of a container ${id}: ${why}`, () => {
    if ("error" in expect) {
      assert.throws(() => subPathExpr(input.subPathExpr!, input.env), failureLike(expect));
    } else if ("argv" in expect) {
      const words = input.probe ? probeCommand(input.probe, input.container) : expandArgv(input.argv!, input.env);
      assert.deepEqual(words, expect.argv);
    } else if (input.pick) {
      const env = containerEnv(input.container, { pod: podOf(input), inputs: inputsOf(input) });
      assert.equal(env[input.pick], expect.value);
    } else {
      assert.equal(subPathExpr(input.subPathExpr!, input.env), expect.value);
    }
  });
}

Deno.test("containerEnvNeeds() names each object once, optional only when every reference to it is", () => {
  const container: V1Container = {
    name: "app",
    envFrom: [{ configMapRef: { name: "both", optional: true } }, { secretRef: { name: "both" } }, { prefix: "P_" }],
    env: [
      { name: "A", value: "literal" },
      { name: "B", valueFrom: { configMapKeyRef: { name: "both", key: "k" } } },
      { name: "C", valueFrom: { secretKeyRef: { name: "maybe", key: "a", optional: true } } },
      { name: "D", valueFrom: { secretKeyRef: { name: "maybe", key: "b", optional: true } } },
      { name: "E", valueFrom: { secretKeyRef: { name: "sometimes", key: "a" } } },
      { name: "F", valueFrom: { secretKeyRef: { name: "sometimes", key: "b", optional: true } } },
      { name: "G", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
    ],
  };
  assert.deepEqual(containerEnvNeeds(container), {
    objects: [
      { kind: "ConfigMap", name: "both", optional: false },
      { kind: "Secret", name: "both", optional: false },
      { kind: "Secret", name: "maybe", optional: true },
      { kind: "Secret", name: "sometimes", optional: false },
    ],
    tokens: [],
  });
});

Deno.test("containerEnv() looks only at the objects that containerEnvNeeds() names", () => {
  const container: V1Container = {
    name: "app",
    envFrom: [{ secretRef: { name: "a" } }],
    env: [{ name: "B", valueFrom: { configMapKeyRef: { name: "b", key: "k", optional: true } } }],
  };
  const needed = containerEnvNeeds(container).objects.map(({ kind, name }) => `${kind}/${name}`);
  const asked: string[] = [];
  const inputs: PodInputs = {
    ...inputsOf({ container }),
    object(kind, name) {
      asked.push(`${kind}/${name}`);
      return { data: {} };
    },
  };
  containerEnv(container, { pod: podOf({ container }), inputs });
  assert.deepEqual(asked, needed);
});

Deno.test("containerEnv() gives new values at each call, for a container that is started again", () => {
  const container: V1Container = { name: "app", envFrom: [{ configMapRef: { name: "c" } }] };
  const envOf = (value: string) => {
    const input = { container, objects: { "ConfigMap/c": { data: { A: value } } } };
    return containerEnv(container, { pod: podOf(input), inputs: inputsOf(input) });
  };
  assert.deepEqual([envOf("old"), envOf("new")], [{ A: "old" }, { A: "new" }]);
});

Deno.test("containerEnv() never shows a value in a failure", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 8 }), fc.constantFrom("s", "none"), (bytes, name) => {
    const secret = String.fromCharCode(...bytes);
    const input: EnvInput = {
      container: {
        name: "app",
        env: [
          { name: "X", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
          { name: "Y", valueFrom: { secretKeyRef: { name, key: "other" } } },
        ],
      },
      objects: { "Secret/s": { data: { k: btoa(secret) } } },
    };
    const make = () => containerEnv(input.container, { pod: podOf(input), inputs: inputsOf(input) });
    assert.throws(make, (error: KrunError) => {
      const shown = `${error.message}${error.hint}${error.details}${error.cause}`;
      return error instanceof KrunError && !shown.includes(secret) && !shown.includes(btoa(secret));
    });
  }));
});

/** The Pod around a container. */
function podOf({ container, enableServiceLinks = false }: EnvInput): V1Pod {
  return {
    metadata: { namespace: "shop", name: "web", uid: "u-1", labels: { dollar: "$(A)" } },
    spec: { containers: [container], ...(enableServiceLinks === null ? {} : { enableServiceLinks }) },
  };
}

function inputsOf({ objects = {}, services = [] }: EnvInput): PodInputs {
  return {
    object(kind, name) {
      const found = objects[`${kind}/${name}`];
      if (typeof found === "string") throw new KrunError(found, "refused by the API", "ask for it");
      return found;
    },
    token: () => assert.fail("an environment holds no tokens"),
    services,
    node: { name: "node-1", ips: ["10.0.0.1"], allocatable: {} },
  };
}

function failureLike({ error, message, details }: { error: ErrorCode; message?: string; details?: string }) {
  return {
    code: error,
    ...(message === undefined ? {} : { message }),
    ...(details === undefined ? {} : { details }),
  };
}
