import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type ExecFailure, execFailure } from "./exec_failure.ts";

interface Expect {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

for (const { id, why, input, expect } of loadVectors<ExecFailure, Expect>("exec_failure")) {
  Deno.test(`execFailure() ${id}: ${why}`, () => {
    const { code, message, hint } = execFailure(input);
    assert.deepEqual({ code, message, hint }, expect);
  });
}

Deno.test("execFailure() is transient when processes or memory are short, and only then", () => {
  const transient = (errno: number) =>
    execFailure({ name: "server", path: "/server", errno, machine: "x86_64" }).transient;
  assert.deepEqual([1, 2, 8, 11, 12, 13].filter(transient), [11, 12]);
});
