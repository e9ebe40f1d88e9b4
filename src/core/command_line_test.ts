import assert from "node:assert/strict";
import fc from "fast-check";
import { parseCommandLine } from "./command_line.ts";
import { KrunError } from "./errors.ts";

const run = (argv: string[]) => ({ action: "run", checkFormat: "text", argv });

Deno.test("parseCommandLine() gives the program everything from the first word without a dash", () => {
  assert.deepEqual(
    parseCommandLine(["./server", "--port", "8080", "--help"]),
    run(["./server", "--port", "8080", "--help"]),
  );
});

Deno.test("parseCommandLine() ends its own options at --", () => {
  assert.deepEqual(parseCommandLine(["--", "-odd", "--", "x"]), run(["-odd", "--", "x"]));
  assert.deepEqual(parseCommandLine(["--"]), run([]));
});

Deno.test("parseCommandLine() gives a side process when there is no program", () => {
  assert.deepEqual(parseCommandLine([]), run([]));
});

Deno.test("parseCommandLine() reads --check, --check=json, --help and --version before a program", () => {
  assert.deepEqual(parseCommandLine(["--check", "--", "./server"]), {
    action: "check",
    checkFormat: "text",
    argv: ["./server"],
  });
  assert.equal(parseCommandLine(["--check=json"]).checkFormat, "json");
  assert.equal(parseCommandLine(["-h"]).action, "help");
  assert.equal(parseCommandLine(["--version"]).action, "version");
});

Deno.test("parseCommandLine() refuses an option that is not krun's", () => {
  for (const arg of ["--chekc", "--port=1", "-x", "-"]) {
    assert.throws(() => parseCommandLine([arg]), (e) => e instanceof KrunError && e.code === "ArgumentInvalid");
  }
});

Deno.test("parseCommandLine() names the nearest of its options", () => {
  assert.throws(() => parseCommandLine(["--chek"]), /krun has no such option, the nearest is --check$/);
  assert.throws(() => parseCommandLine(["--check=jsn"]), /krun has no such option, the nearest is --check=json$/);
  assert.throws(() => parseCommandLine(["--port=1"]), /krun has no such option$/);
});

Deno.test("parseCommandLine() never changes a program's arguments", () => {
  fc.assert(fc.property(fc.array(fc.string()), (argv) => {
    assert.deepEqual(parseCommandLine(["--", ...argv]).argv, argv);
  }));
});

Deno.test("parseCommandLine() reads the address of --connect, and takes nothing behind it", () => {
  const connect = { action: "connect", checkFormat: "text", argv: [], address: "web.shop:22" };
  assert.deepEqual(parseCommandLine(["--connect", "web.shop:22"]), connect);
  assert.deepEqual(parseCommandLine(["--connect=web.shop:22"]), connect);
  for (
    const args of [["--connect"], ["--connect="], ["--connect", ""], ["--connect", "web", "ls"], [
      "--connect=web",
      "-v",
    ]]
  ) {
    assert.throws(
      () => parseCommandLine(args),
      (e) => e instanceof KrunError && e.code === "ArgumentInvalid",
      args.join(),
    );
  }
  assert.throws(() => parseCommandLine(["--conect"]), /the nearest is --connect$/);
  assert.deepEqual(parseCommandLine(["--", "--connect", "x"]), run(["--connect", "x"]), "a program's own");
});

Deno.test("parseCommandLine() takes the word after --kubeconfig for its file, and never for a program", () => {
  const { action, file, argv } = parseCommandLine(["--kubeconfig", "./config"]);
  assert.deepEqual({ action, file, argv }, { action: "kubeconfig", file: "./config", argv: [] });
  assert.equal(parseCommandLine(["--kubeconfig=./config"]).file, "./config");
  assert.equal(parseCommandLine(["--kubeconfig"]).file, undefined);
  assert.equal(parseCommandLine(["--exec-credential"]).action, "exec-credential");
  for (const args of [["--kubeconfig", "a", "b"], ["--kubeconfig=a", "b"]]) {
    assert.throws(() => parseCommandLine(args), (e) => e instanceof KrunError && e.code === "ArgumentInvalid");
  }
});
