import assert from "node:assert/strict";
import { runCommand } from "./run_command.ts";

const PATH = Deno.env.get("PATH") ?? "";

Deno.test("runCommand() gives status and output, and passes on what is to be read", async () => {
  const script = "cat; echo $A >&2; exit 7";
  const result = await runCommand(["sh", "-c", script], { env: { PATH, A: "b" }, stdin: "x".repeat(200_000) });
  assert.deepEqual(result, { code: 7, stdout: "x".repeat(200_000), stderr: "b\n" });
});

Deno.test("runCommand() hands nothing on that it was not given", async () => {
  const { stdout } = await runCommand(["env"], { env: { PATH, A: "b" } });
  assert.deepEqual(stdout.trim().split("\n").sort(), ["A=b", `PATH=${PATH}`]);
});

Deno.test("runCommand() is 127 for a program that the given PATH has not, and 126 for one that cannot be executed", async () => {
  assert.equal((await runCommand(["sh"], { env: { PATH: "/nonexistent" } })).code, 127);
  const { code, stderr } = await runCommand(["/etc/passwd"], { env: { PATH } });
  assert.equal(code, 126);
  assert.notEqual(stderr, "");
});

Deno.test("runCommand() lets a program end that does not read", async () => {
  assert.equal((await runCommand(["true"], { env: { PATH }, stdin: "x".repeat(1_000_000) })).code, 0);
});
