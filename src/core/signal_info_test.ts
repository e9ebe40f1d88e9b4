import assert from "node:assert/strict";
import { isForProgram, parseSignalInfo, SIGNAL_INFO_BYTES, type SignalInfo } from "./signal_info.ts";

function info(signal: number, code: number, pid = 0): SignalInfo {
  const bytes = new Uint8Array(SIGNAL_INFO_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, signal, true);
  view.setInt32(8, code, true);
  view.setInt32(16, pid, true);
  return parseSignalInfo(bytes);
}

Deno.test("parseSignalInfo() tells a process, the kernel and krun's own timers apart", () => {
  assert.deepEqual(info(15, 0, 77), { signal: 15, from: "process", pid: 77 });
  assert.deepEqual(info(40, -1, 77), { signal: 40, from: "process", pid: 77 });
  assert.deepEqual(info(2, 0x80, 77), { signal: 2, from: "kernel", pid: 0 });
  assert.deepEqual(info(14, -2, 77), { signal: 14, from: "other", pid: 0 });
});

Deno.test("isForProgram() passes on what other processes and the terminal send, not what krun does to itself", () => {
  assert.equal(isForProgram(info(15, 0, 77), 5), true);
  assert.equal(isForProgram(info(15, 0, 0), 5), true, "from outside the PID namespace");
  assert.equal(isForProgram(info(2, 0x80), 5), true, "Ctrl-C while krun is the foreground group");
  assert.equal(isForProgram(info(13, 0, 5), 5), false, "SIGPIPE of krun's own log");
  assert.equal(isForProgram(info(25, 0x80), 5), false, "SIGXFSZ of krun's own file");
  assert.equal(isForProgram(info(14, -2), 5), false, "a timer");
});
