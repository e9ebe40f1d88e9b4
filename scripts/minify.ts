/**
 * Minifies every JavaScript file of a folder in place. In: the folder. Out: smaller files.
 *
 * `deno bundle --minify` must not be used: the esbuild that Deno 2.9 carries (0.25) replaces a `using` variable that is read
 * once by its value, and then nothing is disposed of. krun leaked 34 open files a mount that way. 0.28.1 has that mended.
 *
 * @module
 */
import { join } from "node:path";
// Not in deno.json: every task would fetch it, and only this one needs it.
// deno-lint-ignore no-import-prefix
import { stop, transform } from "npm:esbuild@0.28.1";

const [folder] = Deno.args;
if (folder === undefined) throw new TypeError("minify needs a folder");
for (const { name } of [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".js"))) {
  const path = join(folder, name);
  const options = { minify: true, format: "esm", target: "esnext", legalComments: "none" } as const;
  const { code } = await transform(await Deno.readTextFile(path), options);
  await Deno.writeTextFile(path, code);
}
await stop();
