/**
 * Files of a user in a process that may do nothing by Deno. Arguments: user id, working directory. In: one path a line on standard
 * input. Out: for each what it holds, or the number of its error; then whether a file could be written and made durable.
 */
import { FileFault } from "../../src/core/user_files.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { userFiles } from "../../src/pod/user_files.ts";

const [uid = NaN, cwd = "/"] = [Number(Deno.args[0]), Deno.args[1]];
const paths = (await new Response(Deno.stdin.readable).text()).trim().split("\n");
const libc = loadLibc();
for (const name of ["ffi", "read", "write", "run", "env", "sys"] as const) Deno.permissions.revokeSync({ name });
const files = userFiles(libc, { user: { uid, gid: uid, groups: [] }, cwd });

function read(path: string): string {
  try {
    const file = files.open(path, { read: true });
    const into = new Uint8Array(100);
    const length = file.read(into, 0);
    file.close();
    return new TextDecoder().decode(into.subarray(0, length)).trim();
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return `error ${error.errno}`;
  }
}

for (const path of paths) console.log(read(path));
const made = files.open("made", { write: true, create: true, truncate: true });
made.write(new TextEncoder().encode("by the user"), 0);
await made.sync();
made.close();
console.log(read("made"), files.stat("made").uid, libc.userIds().join());
