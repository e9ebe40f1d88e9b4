import assert from "node:assert/strict";
import { startRunner } from "../../tests/runner_process.ts";

/** Runs the runner in one-shot mode to its end. */
async function once(
  program: readonly string[],
  { options = [], under = [] }: { options?: string[]; under?: string[] } = {},
) {
  await using runner = startRunner({ options: ["--once", ...options], program, under });
  const { pid } = runner;
  return { pid, ...await runner.end };
}

Deno.test("execInPlace() replaces krun: same pid, the program's own status", async () => {
  const { pid, stdout, code } = await once(["sh", "-c", 'echo $$ "$1"; exit 42', "sh", "ä b"]);
  assert.equal(stdout, `${pid} ä b\n`);
  assert.equal(code, 42);
});

Deno.test("execInPlace() gives default signals, SIGPIPE too, and keeps what krun was started with", async () => {
  const program = ["cat", "/proc/self/status"];
  assert.deepEqual(signals((await once(program)).stdout), { blocked: 0n, ignored: 0n, caught: 0n });
  const under = ["env", "--block-signal=USR2", "sh", "-c", 'trap "" HUP; exec "$@"', "sh"];
  assert.deepEqual(signals((await once(program, { under })).stdout), { blocked: 1n << 11n, ignored: 1n, caught: 0n });
});

/** The signal sets of a /proc/<pid>/status, without 32 and 33: Deno's spawn ignores these two in every child. */
function signals(status: string) {
  const set = (name: string) => BigInt(`0x${new RegExp(`Sig${name}:\\t(\\w+)`).exec(status)?.[1]}`) & ~(3n << 31n);
  return { blocked: set("Blk"), ignored: set("Ign"), caught: set("Cgt") };
}

Deno.test("execInPlace() leaves no descriptor behind", async () => {
  const list = ["sh", "-c", "ls /proc/self/fd"];
  const direct = await new Deno.Command("sh", { args: list.slice(1), stdin: "null" }).output();
  assert.equal((await once(list)).stdout, new TextDecoder().decode(direct.stdout));
});

Deno.test("execInPlace() enters the working directory, and takes a relative program from there", async () => {
  assert.equal((await once(["pwd"], { options: ["--cwd=/usr/bin"] })).stdout, "/usr/bin\n");
  assert.equal((await once(["./env", "pwd"], { options: ["--cwd=/usr/bin"] })).stdout, "/usr/bin\n");
});

Deno.test("execInPlace() throws the reason when the program cannot be executed", async (t) => {
  for (
    const { name, program, options, status, says } of [
      { name: "missing", program: ["/no/such"], status: 127, says: /ProgramNotFound: .*no such file/ },
      { name: "not in PATH", program: ["no-such"], status: 127, says: /no such file in the folders of PATH/ },
      { name: "folder", program: ["/usr"], status: 126, says: /ProgramNotExecutable: .*it is a folder/ },
      {
        name: "folder to work in",
        program: ["true"],
        options: ["--cwd=/no"],
        status: 125,
        says: /PodInvalid: .*does not exist/,
      },
    ]
  ) {
    await t.step(name, async () => {
      const { code, stderr } = await once(program, options ? { options } : {});
      assert.equal(code, status, stderr);
      assert.match(stderr, says);
    });
  }
});
