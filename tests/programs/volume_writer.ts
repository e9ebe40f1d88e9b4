/**
 * Publishes volumes as fast as it can, until it is killed: what tests/live/volume_files_test.ts kills. Every file of one
 * version holds that version's number.
 *
 * Arguments: base folder, memory folder, process id to write into the lock is its own.
 */
import { join } from "node:path";
import type { Payload } from "../../src/core/payload.ts";
import { openBase } from "../../src/pod/base_folder.ts";
import { claimEmptyDir, claimSubPath, claimTarget, claimVolume } from "../../src/pod/mount_target.ts";
import { RecordingLog } from "../recording_log.ts";

const [folder, memoryFolder] = Deno.args as [string, string];
const base = openBase({ base: folder, log: new RecordingLog(), pid: Deno.pid, memoryFolder });
base.sweep();

const options = { setting: "test", ownership: { readers: [] } };
const plain = { ...options, volume: "app", secret: false };
const secret = { ...options, volume: "db", secret: true };
const hidden = claimVolume(base, secret);
const targets = [
  claimTarget(base, join(folder, "x/app"), plain),
  claimTarget(base, join(folder, "db"), secret),
  claimTarget(base, join(folder, "etc/one"), { ...secret, single: "a" }),
  hidden,
];
const work = claimEmptyDir(base, join(folder, "work"), { ...options, volume: "work", memory: false });
const subPath = claimSubPath(base, join(folder, "sub"), { setting: "test", volume: hidden, subPath: "b/c" });
Deno.writeTextFileSync(join(work.folder, "file"), "of the program");
for (let version = 1;; version++) {
  const bytes = new TextEncoder().encode(`${version}`);
  // Names come and go, so that links do.
  const names = ["a", "b/c", "b/d", version % 2 ? "odd" : "even"];
  const payload: Payload = new Map(names.map((name) => [name, { bytes, mode: 0o644 }]));
  for (const target of targets) target.publish(payload);
  subPath.resolve();
  if (version === 1) console.log("ready");
}
