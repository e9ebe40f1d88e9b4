import assert from "node:assert/strict";
import fc from "fast-check";
import { plannedPod } from "../../tests/planned_pod.ts";
import { programEnv } from "../core/app_env.ts";
import type { Env } from "../core/pod_inputs.ts";
import { isReference } from "../core/reference_prefix.ts";
import { parseSettings } from "../core/settings.ts";
import { findReferences, planReferences } from "./references.ts";
import type { Surroundings } from "./surroundings.ts";

function surroundings(env: Env): Surroundings {
  const nothing = () => {};
  const self = { uid: 0, gid: 0, groups: [] };
  return { args: [], env, cwd: "/", pid: 1, self, writeError: nothing, writeOutput: nothing };
}

/** What the program sees before values are there: `undefined` for a variable that is to be resolved. */
async function seen(env: Env): Promise<Env> {
  const outer = surroundings(env);
  const settings = parseSettings(env);
  const found = await findReferences(outer, { settings, google: undefined });
  const { references } = planReferences(plannedPod({}), found, { outer, settings, isSideProcess: false });
  return programEnv(env, {}, { passEnv: [], ownsKubernetesEnv: false, references: references!.variables });
}

const reference = fc.constantFrom(
  "sm://p/s",
  "sm://p/s?destination=tempfile#7",
  "berglas://bkt/o",
  "$SecretKeyRef:/secrets/a/keys/b",
  "$ConfigMapKeyRef:/projects/p/zones/z/clusters/c/namespaces/n/configmaps/a/keys/b?tempFile=true",
);
const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary-ascii" }), fc.constant("\udc80"));
const near = fc.tuple(fc.constantFrom(" ", "'", '"', "x", "\\", "\n", "$"), reference).map(([before, after]) =>
  before + after
);
const name = fc.constantFrom(..."ABCDEFGHIJKL").map((letter) => `PROGRAM_${letter}`);
const environment = fc.dictionary(name, fc.oneof(text, near, reference), { noNullPrototype: true });

Deno.test("no value that is not a reference is ever changed, whatever stands beside it", async () => {
  await fc.assert(fc.asyncProperty(environment, async (env) => {
    const after = await seen(env);
    for (const [name, value] of Object.entries(env)) {
      if (!isReference(value)) assert.equal(after[name], value, name);
      else assert.ok(!Object.hasOwn(after, name), name);
    }
    assert.deepEqual(Object.keys(after).filter((name) => !Object.hasOwn(env, name)), []);
  }));
});

Deno.test("with KRUN_REFS=off, or a list, nothing else is changed either", async () => {
  await fc.assert(
    fc.asyncProperty(environment, fc.subarray(["PROGRAM_A", "PROGRAM_B"], { minLength: 1 }), async (env, names) => {
      const own = (after: Env) =>
        Object.fromEntries(Object.entries(after).filter(([name]) => name.startsWith("PROGRAM_")));
      assert.deepEqual(own(await seen({ ...env, KRUN_REFS: "off" })), env);
      const limited = own(await seen({ ...env, KRUN_REFS: names.join() }));
      const kept = Object.fromEntries(
        Object.entries(env).filter(([name, value]) => !names.includes(name) || !isReference(value)),
      );
      assert.deepEqual(limited, kept);
    }),
  );
});

Deno.test("a reference that cannot be read is told with the others, and stays out of the environment", async () => {
  const outer = surroundings({ GOOD: "sm://p/s", BAD: "sm://p", WORSE: "berglas://" });
  const { references, faults } = await findReferences(outer, { settings: parseSettings(outer.env), google: undefined });
  assert.deepEqual(references.map(({ variable }) => variable), ["GOOD"]);
  assert.deepEqual(faults.map(({ askedBy, isListed }) => [askedBy, isListed]), [["BAD", true], ["WORSE", true]]);
});
