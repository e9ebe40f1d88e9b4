/**
 * Runs the tests that need no root, no Go and no network beyond the package registry. Out: as {@linkcode runTests} has it, in
 * dist/junit/unit.
 *
 * @module
 */
import { ROOT, runTests } from "./test_runs.ts";

const LIBC = "--preload=tests/load_libc.ts";
const programs = [...Deno.readDirSync(`${ROOT}tests`)].map(({ name }) => name).filter((name) => /_test\.ts$/.test(name))
  .sort();
/** Every second one, from the first or the second on: each half takes as long as any other part. */
const half = (which: 0 | 1) => programs.filter((_, at) => at % 2 === which).map((name) => `tests/${name}`);

await runTests({
  tier: "unit",
  // Half of the time is waiting, for programs that start.
  atOnce: 3,
  parts: [
    { name: "programs", args: [LIBC, ...half(0)] },
    { name: "more-programs", args: [LIBC, ...half(1)] },
    { name: "core", args: ["--doc", "src/core"] },
    { name: "pod", args: [LIBC, "--doc", "src/pod"] },
    {
      name: "servers",
      args: [
        LIBC,
        "--doc",
        "src/mod.ts",
        ...["gcp", "kube", "launch", "mesh", "net", "refs", "ssh"].map((name) => `src/${name}`),
      ],
    },
  ],
});
