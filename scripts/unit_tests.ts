/**
 * Runs the tests that need no root, no Go and no network beyond the package registry. Out: as {@linkcode runTests} has it, in
 * dist/junit/unit.
 *
 * @module
 */
import { ROOT, runTests } from "./test_runs.ts";

const LIBC = "--preload=tests/load_libc.ts";
const programs = [...Deno.readDirSync(`${ROOT}tests`)].map(({ name }) => name).filter((name) =>
  /_test\.ts$/.test(name)
);

await runTests({
  tier: "unit",
  // Half of the time is waiting, for programs that start.
  atOnce: 3,
  parts: [
    { name: "programs", args: [LIBC, ...programs.sort().map((name) => `tests/${name}`)] },
    { name: "core", args: ["--doc", "src/core"] },
    { name: "pod", args: [LIBC, "--doc", "src/pod"] },
    {
      name: "servers",
      args: [LIBC, "--doc", "src/mod.ts", "src/gcp", "src/kube", "src/launch", "src/mesh", "src/refs"],
    },
  ],
});
