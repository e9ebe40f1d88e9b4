import assert from "node:assert/strict";
import { requireRuntime } from "./runtime.ts";

Deno.test("requireRuntime() is RuntimeTooOld naming both versions when the runtime is older than needed", () => {
  requireRuntime("2.9.0", "tls-server-name", "2.9.0");
  assert.throws(() => requireRuntime("2.9.0", "tls-server-name", "2.6.10"), {
    code: "RuntimeTooOld",
    message: "Cannot use tls-server-name: it needs Deno 2.9.0 or later, and this krun has 2.6.10",
  });
});
