/**
 * Odd input that Deno 2.6.10, the runtime of a compiled krun, treats otherwise: it ends before krun runs when an argument is no
 * UTF-8 (tests/live/compiled_odd_test.ts), and it opens folders below /dev/shm.
 *
 * @module
 */
import assert from "node:assert/strict";
import { HEX, hex, shell } from "./raw_bytes.ts";
import { Workspace } from "./workspace.ts";

Deno.test("krun hands on arguments that are no UTF-8, byte for byte, in both modes", async () => {
  await using workspace = await Workspace.create();
  for (const KRUN_REFRESH of ["always", "never"]) {
    const given = await workspace.run({
      under: shell(`exec "$@" "$(printf 'q\\377\\303\\251')" "$(printf '\\357\\277\\275')" last`),
      args: ["--", "/bin/sh", "-c", `printf '%s|' "$@" | ${HEX}`, "sh"],
      env: { KRUN_REFRESH },
    });
    assert.equal(given.stdout, hex("q", 0xff, "é|\ufffd|last|"), given.stderr);
  }
});

Deno.test("krun says what to do with a folder below /dev that the runtime does not open for it", async () => {
  await using workspace = await Workspace.create();
  const shm = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "krun-test-" });
  try {
    const args = ["--", "/bin/echo", "never"];
    for (
      const [env, says] of [
        [
          { KRUN_MANIFESTS: shm },
          /Cannot read manifests folder ".*": the runtime opens nothing below \/dev/,
        ],
        [
          { MESH_BASE_DIR: shm },
          /Cannot keep signing key ".*": the runtime opens nothing below \/dev.*; set MESH_BASE_DIR/,
        ],
      ] as const
    ) {
      const { code, stdout, stderr } = await workspace.run({ args, env });
      assert.equal(code, 125, stderr);
      assert.equal(stdout, "");
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /allow-all/);
    }
  } finally {
    await Deno.remove(shm, { recursive: true });
  }
});
