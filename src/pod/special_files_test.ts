import assert from "node:assert/strict";
import { join } from "node:path";
import { anyFile } from "./special_files.ts";
import { loadLibc } from "./libc.ts";

/** As krun with its own permissions: Deno opens nothing below /dev, /proc and /sys. */
const permissions: Deno.TestDefinition["permissions"] = { read: true, write: true, ffi: true };

Deno.test({
  name: "anyFile reads below /proc, where Deno refuses to, and everywhere else",
  permissions,
  async fn() {
    loadLibc();
    const status = "/proc/self/status";
    assert.throws(() => Deno.readTextFileSync(status), Deno.errors.NotCapable);
    assert.match(anyFile.textSync(status), /^Name:/);
    assert.match(await anyFile.text(status), /^Name:/);
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(join(folder, "plain"), "é");
    assert.equal(anyFile.textSync(join(folder, "plain")), "é");
    assert.equal(await anyFile.text(join(folder, "plain")), "é");
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: "anyFile says NotFound of a file that is not there, wherever that is, and why else it cannot be read",
  permissions,
  async fn() {
    loadLibc();
    for (const path of ["/proc/none/a", "/proc/self/none", "/dev/none", import.meta.filename + ".none"]) {
      assert.throws(() => anyFile.textSync(path), Deno.errors.NotFound);
      await assert.rejects(anyFile.text(path), Deno.errors.NotFound);
    }
    assert.throws(() => anyFile.textSync("/proc/self/fd"), { name: "FileError", code: "EISDIR" });
    await assert.rejects(anyFile.text("/proc/self/fd"), { name: "FileError" });
  },
});
