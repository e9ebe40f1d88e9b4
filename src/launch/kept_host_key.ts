/**
 * krun's own host key, as an earlier start has kept it. In: the state folder. Out: the key, or why clients will see another one.
 *
 * @module
 */
import { join } from "../core/posix_path.ts";
import { SSH_HOST_KEY } from "../core/ssh_secret_names.ts";
import { type HostKey, readHostKey } from "../ssh/host_key.ts";
import type { Ssh2 } from "../ssh/ssh2.ts";
import { keptFile } from "./kept_file.ts";

/** A key, or the file that is there and of no use, and why. */
export type KeptHostKey = { readonly key: HostKey } | { readonly path: string; readonly fault: string };

/** What clients see where another key takes a kept one's place: ssh(1) says no more than that. */
export const OTHER_KEY_SEEN = "clients see another key: REMOTE HOST IDENTIFICATION HAS CHANGED";

/**
 * The kept key; `undefined` where there is none.
 *
 * @param uid krun's own
 */
export function keptHostKey(
  ssh2: Pick<Ssh2, "parseKey">,
  { stateFolder, uid }: { readonly stateFolder: string; readonly uid: number },
): KeptHostKey | undefined {
  const path = join(stateFolder, SSH_HOST_KEY);
  const kept = keptFile(path, uid, { isSecret: true });
  if (kept === undefined) return undefined;
  if ("fault" in kept) return { path, fault: kept.fault };
  const key = readHostKey(ssh2, kept.text);
  return typeof key === "string" ? { path, fault: key } : { key };
}
