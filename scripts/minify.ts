/**
 * Minifies a bundle that `deno bundle` has split into files. In: its first file, and an empty folder. Out: the same program,
 * smaller, in that folder.
 *
 * `deno bundle --minify` must not be used: the esbuild that Deno 2.9 carries (0.25) replaces a `using` variable that is read
 * once by its value, and then nothing is disposed of. krun leaked 34 open files a mount that way. 0.28.1 has that mended.
 *
 * @module
 */
// Not in deno.json: every task would fetch it, and only this one needs it.
// deno-lint-ignore no-import-prefix
import { build, type Plugin, stop } from "npm:esbuild@0.28.1";

/**
 * The bundler gives every file `createRequire` of `node:module`, for packages that are not modules. Only what is loaded lazily
 * is one, and that import costs each start 25 ms (Deno 2.9.6): it is put off until somebody requires something.
 */
const lateRequire: Plugin = {
  name: "late require",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:module$/ }, () => ({ path: "node:module", namespace: "late" }));
    onLoad({ filter: /^/, namespace: "late" }, () => ({
      contents: `export const createRequire = (from) => (name) =>
        process.getBuiltinModule("node:module").createRequire(from)(name);`,
    }));
  },
};

const [entry, outdir] = Deno.args;
if (entry === undefined || outdir === undefined) throw new TypeError("minify needs a file and a folder");
await build({
  entryPoints: [entry],
  outdir,
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  platform: "neutral",
  target: "esnext",
  legalComments: "none",
  external: ["node:*", "*.node"],
  plugins: [lateRequire],
});
await stop();
