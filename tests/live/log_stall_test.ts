/** A log that nobody reads: krun goes on, and stops its program in time. */
import assert from "node:assert/strict";
import { SIGTERM } from "../../src/core/signals.ts";
import { descendants } from "../../src/core/proc_stat.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { krunArgv } from "../krun_process.ts";
import { unlessItHangs, waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const libc = loadLibc();

Deno.test("krun kills a program that ignores SIGTERM also while its log's reader sleeps", async () => {
  await using workspace = await Workspace.create();
  const [krun, ...words] = krunArgv();
  // The program's child fills the pipe that is krun's standard error too.
  const script = 'trap "" TERM; yes >&2 & echo up; while :; do sleep 0.1; done';
  const { HOME = "/", DENO_DIR } = Deno.env.toObject();
  const child = new Deno.Command(krun, {
    args: [...words, "sh", "-c", script],
    cwd: workspace.folder,
    env: { ...workspace.env(), K8S_SECRET_db: "./db", KRUN_GRACE_PERIOD: "1", HOME, ...(DENO_DIR && { DENO_DIR }) },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    await waitFor("the writer to wait for the pipe", () => {
      const writer = descendants(readProcesses(libc), child.pid)
        .find(({ pid }) => libc.procText(`/proc/${pid}/cmdline`) === "yes\0");
      return writer?.state === "S";
    });
    libc.kill(child.pid, SIGTERM);
    const { code } = await unlessItHangs("krun's end", child.status, { seen: () => "" });
    assert.equal(code, 137);
    assert.ok(!Array.from(Deno.readDirSync(workspace.folder)).some(({ name }) => name === "db"), "its files are gone");
  } finally {
    for (const { pid } of descendants(readProcesses(libc), child.pid)) libc.kill(pid, 9);
    libc.kill(child.pid, 9);
    await Promise.all([child.stdout.cancel(), child.stderr.cancel(), child.status]);
  }
});
