import assert from "node:assert/strict";
import { join } from "node:path";
import { loadLibc } from "../pod/libc.ts";
import { ownTempFolder } from "./own_temp_folder.ts";

loadLibc();

Deno.test("ownTempFolder() is a folder that nobody else may write in, where the working directory cannot be written in", async () => {
  const tempFolder = await Deno.makeTempDir();
  const uid = Deno.uid()!;
  // Nobody writes there, root neither.
  const look = (cwd = `${tempFolder}/gone`) => ownTempFolder({ cwd, tempFolder, uid });
  const folder = join(tempFolder, `krun-${uid}`);
  assert.equal(look(tempFolder), undefined, "it can be written in");
  assert.equal(look(), folder, "it is to be made");
  await Deno.mkdir(folder, { mode: 0o700 });
  assert.equal(look(), folder);
  for (const mode of [0o720, 0o702]) {
    await Deno.chmod(folder, mode);
    assert.equal(look(), undefined, mode.toString(8));
  }
  await Deno.remove(folder);
  await Deno.symlink(tempFolder, folder);
  assert.equal(look(), undefined, "a link leads anywhere");
  await Deno.remove(tempFolder, { recursive: true });
});
