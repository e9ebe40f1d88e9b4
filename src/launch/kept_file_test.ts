import assert from "node:assert/strict";
import { join } from "node:path";
import { keptFile, keptText } from "./kept_file.ts";

Deno.test("keptFile() takes what krun alone could have written, and says why not", async () => {
  const folder = await Deno.makeTempDir();
  const path = join(folder, "kept"), uid = Deno.uid()!;
  const fault = (options?: Parameters<typeof keptFile>[2], of = uid) => {
    const found = keptFile(path, of, options);
    return found && ("fault" in found ? found.fault : `text ${found.text}`);
  };
  assert.equal(fault(), undefined, "there is none");
  assert.equal(keptFile(join(folder, "kept", "below"), uid), undefined);
  await Deno.writeTextFile(path, "x");
  await Deno.chmod(path, 0o644);
  assert.equal(fault(), "text x");
  assert.equal(keptText(path, uid), "x");
  assert.equal(fault({ isSecret: true }), "others could have read or changed it: its mode is 0644");
  assert.equal(keptText(path, uid, { isSecret: true }), undefined);
  assert.equal(fault({}, uid + 1), `it is user ${uid}'s, and krun is user ${uid + 1}`);
  await Deno.chmod(path, 0o622);
  assert.equal(fault(), "others could have changed it: its mode is 0622");
  await Deno.rename(path, join(folder, "elsewhere"));
  assert.equal(keptFile(join(folder, "elsewhere", "below"), uid), undefined, "a file is on its way");
  await Deno.symlink(join(folder, "elsewhere"), path);
  assert.equal(fault(), "it is a link");
  await Deno.remove(path);
  await Deno.mkdir(path);
  assert.equal(fault(), "it is no file");
  await Deno.remove(folder, { recursive: true });
});
