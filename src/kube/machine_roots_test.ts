import assert from "node:assert/strict";
import { join } from "node:path";
import { machineRoots } from "./machine_roots.ts";

Deno.test("machineRoots() is the file that is named, and nothing when it cannot be read", async () => {
  const folder = await Deno.makeTempDir();
  const pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
  await Deno.writeTextFile(join(folder, "ca.crt"), pem);
  assert.deepEqual(await machineRoots(join(folder, "ca.crt")), [pem]);
  assert.deepEqual(await machineRoots(join(folder, "none")), []);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("machineRoots() without a file has CAs on every machine", async () => {
  assert.match((await machineRoots()).join("\n"), /-----BEGIN CERTIFICATE-----/);
});
