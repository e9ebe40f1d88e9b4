import assert from "node:assert/strict";
import { denoFiles, readFailure } from "./deno_files.ts";

Deno.test("readFailure() says in krun's words why a file cannot be read, without errno and path", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/file`, "");
    await Deno.symlink("loop", `${folder}/loop`);
    for (
      const [path, state] of [
        ["none", "it does not exist"],
        ["", "it is a folder"],
        ["file/x", "a part of its path is no folder"],
        ["loop", "its links lead in a circle"],
        ["n".repeat(300), "File name too long"],
      ] as const
    ) {
      assert.throws(() => denoFiles.textSync(`${folder}/${path}`), (cause) => {
        assert.equal(readFailure(cause), state);
        return true;
      });
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assert.equal(readFailure(Object.assign(new Error("open /x: EACCES"), { code: "EACCES" })), "permission denied");
});
