import assert from "node:assert/strict";
import { emptyDirInMemory } from "./empty_dir_volume.ts";

Deno.test("emptyDirInMemory() is true for medium Memory, and says PodInvalid naming the volume for one that krun has not", () => {
  assert.equal(emptyDirInMemory({ medium: "Memory", sizeLimit: "1Mi" }, "v"), true);
  assert.equal(emptyDirInMemory({ medium: "" }, "v"), false);
  assert.equal(emptyDirInMemory({}, "v"), false);
  for (const medium of ["HugePages", "HugePages-2Mi", "memory"]) {
    assert.throws(() => emptyDirInMemory({ medium }, "v"), { code: "PodInvalid", message: /"v".*"(HugePages|memory)/ });
  }
});
