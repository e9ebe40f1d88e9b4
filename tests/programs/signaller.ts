/**
 * A user who tries to signal somebody (signal 0 of kill(2), which does nothing). Arguments: user id, process id. Prints a line for
 * each batch of tries: how many were allowed. Ends when its input does.
 */
import { loadLibc } from "../../src/pod/libc.ts";
import { becomeUser } from "../../src/pod/user.ts";

const TRIES = 5_000;
const [uid = NaN, pid = NaN] = Deno.args.map(Number);
const libc = loadLibc();
if (becomeUser(libc, { uid, gid: uid, groups: [] }) !== 0) throw new Error("needs root");
const over = new Response(Deno.stdin.readable).text().then(() => true);
const turn = () => new Promise<false>((resolve) => setTimeout(() => resolve(false), 0));
do {
  let allowed = 0;
  for (let tries = 0; tries < TRIES; tries++) if (libc.kill(pid, 0) === 0) allowed++;
  console.log(allowed);
} while (!await Promise.race([over, turn()]));
