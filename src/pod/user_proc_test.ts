import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { ownUser } from "./user.ts";
import { userProc } from "./user_proc.ts";

const libc = loadLibc();

Deno.test("userProc() reads /proc as its user, and krun is itself again after that", () => {
  const self = ownUser(libc);
  const own = userProc(libc, self);
  assert.ok(own.pids().includes(Deno.pid));
  const uid = /^Uid:\t\d+\t(\d+)/m;
  assert.equal(uid.exec(own.text("/proc/self/status")!)?.[1], `${self.uid}`);
  assert.equal(own.text("/proc/self/none"), undefined);
  // What root alone may read is nobody else's; who is not root becomes nobody else.
  const other = userProc(libc, { uid: 54321, gid: 54321, groups: [] });
  assert.equal(other.pids().includes(Deno.pid), self.uid === 0);
  assert.equal(uid.exec(other.text("/proc/thread-self/status") ?? "")?.[1], self.uid === 0 ? "54321" : undefined);
  assert.equal(own.text("/proc/self/environ") === undefined, false);
  assert.equal(other.text("/proc/1/environ"), undefined);
  assert.deepEqual(ownUser(libc), self);
});
