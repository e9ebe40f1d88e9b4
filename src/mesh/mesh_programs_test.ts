import assert from "node:assert/strict";
import { isFile, meshProgram } from "./mesh_programs.ts";

/** Makes a folder, with files of these names and modes. */
async function withFiles(
  files: Readonly<Record<string, number>>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, mode] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, "");
      await Deno.chmod(`${folder}/${name}`, mode);
    }
    await Deno.mkdir(`${folder}/krun-test-folder`);
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("meshProgram() finds the first program of PATH that may be executed, and nothing that is none", async () => {
  await withFiles({ "krun-test-text": 0o644 }, async (one) => {
    await withFiles({ "krun-test-text": 0o755, "krun-test-program": 0o755 }, (two) => {
      const path = `${one}:/no/such/folder:${two}`;
      assert.equal(meshProgram("krun-test-program", path), `${two}/krun-test-program`);
      assert.equal(meshProgram("krun-test-text", path), `${two}/krun-test-text`);
      assert.equal(meshProgram("krun-test-text", one), undefined);
      assert.equal(meshProgram("krun-test-folder", path), undefined);
      assert.equal(meshProgram("krun-test-other", path), undefined);
      return Promise.resolve();
    });
  });
});

Deno.test("meshProgram() takes no program of the working directory, which somebody else may have written", async () => {
  await withFiles({ "krun-test-program": 0o755 }, (folder) => {
    const before = Deno.cwd();
    Deno.chdir(folder);
    try {
      for (const path of ["", ".", ":", "::", "bin:."]) {
        assert.equal(meshProgram("krun-test-program", path), undefined, path);
      }
    } finally {
      Deno.chdir(before);
    }
    return Promise.resolve();
  });
});

Deno.test("isFile() is true for a file, and not for a folder or for what is not there", async () => {
  await withFiles({ "krun-test-text": 0o644 }, async (folder) => {
    assert.deepEqual(await Promise.all([`${folder}/krun-test-text`, folder, `${folder}/other`].map(isFile)), [
      true,
      false,
      false,
    ]);
  });
});
