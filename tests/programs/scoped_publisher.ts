/**
 * Gives up what krun gives up when it is not root, then publishes: run with `--allow-write=/,.` in an empty folder. Prints one
 * line of JSON: what was still possible.
 *
 * Arguments: memory folder, a folder outside the working directory.
 */
import { basename, dirname, join } from "node:path";
import { openBase } from "../../src/pod/base_folder.ts";
import { Folder } from "../../src/pod/folder.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { realPath } from "../../src/pod/libc_files.ts";
import { claimTarget } from "../../src/pod/mount_target.ts";
import { RecordingLog } from "../recording_log.ts";

const [memoryFolder, outside] = Deno.args as [string, string];
const cwd = Deno.cwd();

function outcome(action: () => unknown): string {
  try {
    action();
    return "done";
  } catch (error) {
    return (error as Error).name;
  }
}

const before = outcome(() => Deno.writeTextFileSync(join(outside, "before"), "x"));
loadLibc();
await Deno.permissions.revoke({ name: "write", path: "/" });
await Deno.permissions.revoke({ name: "ffi" });

const base = openBase({ base: cwd, log: new RecordingLog(), pid: Deno.pid, memoryFolder });
const options = { setting: "test", volume: "db", secret: true, ownership: { readers: [] } };
const target = claimTarget(base, join(cwd, "run/db"), options);
const read = ["1", "2"].map((text) => {
  target.publish(new Map([["password", { bytes: new TextEncoder().encode(text), mode: 0o600 }]]));
  // Deno refuses a scoped program what lies in /dev/shm, through a link too.
  const path = realPath(join(cwd, "run/db/password"))!;
  using folder = Folder.open(dirname(path));
  return new TextDecoder().decode(folder.read(basename(path)));
});
const result = {
  before,
  read,
  inMemory: target.inMemory,
  inside: outcome(() => Deno.writeTextFileSync(join(cwd, "file"), "x")),
  outside: outcome(() => Deno.writeTextFileSync(join(outside, "after"), "x")),
  dlopen: outcome(() => Deno.dlopen("libc.so.6", {})),
  symlink: outcome(() => Deno.symlinkSync("a", join(cwd, "link"))),
};
base.close({ keep: false });
console.log(JSON.stringify(result));
