import assert from "node:assert/strict";
import { join } from "node:path";
import { type Child, type ChildCall, may, must, startChild } from "./child.ts";
import { AT_FDCWD, bytesOf, ECANCELED, loadLibc, O_RDONLY, PR_GET_DUMPABLE } from "./libc.ts";
import { hasChild } from "./process_table.ts";

const libc = loadLibc();
const SIGSTOP = 19, SIGABRT = 6, EACCES = 13, ENOENT = 2;

/** A child that becomes /bin/true, without arguments and environment, and with no signal blocked. */
function child(...calls: ChildCall[]): Child {
  const [mask, pid] = [bytesOf(new BigUint64Array(1)), bytesOf(new Int32Array(1))];
  return { calls, mask, path: "/bin/true", argv: 0n, env: 0n, pid };
}

function start(...calls: ChildCall[]): number {
  return startChild(libc, child(...calls));
}

/** The wait status of a child that ends. */
function statusOf(pid: number): number {
  const status = new Int32Array(1);
  assert.equal(libc.call("wait4", pid, bytesOf(status), 0, 0), pid);
  return status[0]!;
}

/** How many descriptors this process has, and whether it is dumpable. */
function state() {
  return [libc.procNames("/proc/self/fd").length, libc.call("prctl", PR_GET_DUMPABLE), hasChild(libc)];
}

Deno.test("startChild() makes the calls in their order, and tells the kernel's id of the child in memory too", () => {
  const before = state();
  const spec = child(must("setsid"), may("setpgid", 0, -5), must("chdir", "/"));
  const pid = startChild(libc, spec);
  assert.ok(pid > 0, `${pid}`);
  assert.equal(new Int32Array(spec.pid.buffer)[0], pid);
  assert.equal(statusOf(pid), 0);
  assert.deepEqual(state(), before);
});

Deno.test("startChild() gives the errno of the call that failed, and leaves no child, no descriptor and no trace in krun", () => {
  const before = state();
  for (let times = 0; times < 20; times++) {
    assert.equal(start(must("chdir", "/nothing/here")), -ENOENT);
    assert.equal(startChild(libc, { ...child(), path: "/etc/passwd" }), -EACCES);
    assert.equal(start(must("chdir", "/proc"), must("chdir", "nothing"), must("setsid")), -ENOENT);
  }
  assert.deepEqual(state(), before);
  assert.notEqual(Deno.cwd(), "/proc");
});

Deno.test("startChild() of a child that is killed before it is a program gives its pid, and its end says so", () => {
  const pid = start(must("setsid"), must("kill", 0, SIGABRT));
  assert.ok(pid > 0, `${pid}`);
  // Without the bit that says that a core was written.
  assert.equal(statusOf(pid), SIGABRT);
});

Deno.test("startChild() does not wait for a child that somebody stopped before it was a program", () => {
  const before = state();
  assert.equal(start(must("setsid"), must("kill", 0, SIGSTOP)), -ECANCELED);
  assert.deepEqual(state(), before);
});

Deno.test("startChild() waits for a child that takes long and was not stopped", async () => {
  const folder = await Deno.makeTempDir({ prefix: "krun-child-" });
  const fifo = join(folder, "fifo");
  await new Deno.Command("mkfifo", { args: [fifo] }).output();
  const opener = new Deno.Command("sh", { args: ["-c", 'sleep 0.5; : > "$0"', fifo] }).spawn();
  assert.equal(statusOf(start(must("openat", AT_FDCWD, fifo, O_RDONLY, 0))), 0);
  assert.equal((await opener.status).code, 0);
  await Deno.remove(folder, { recursive: true });
});
