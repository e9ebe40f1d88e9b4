/**
 * Where a program's name is looked up. In: an environment. Out: folders, in order.
 *
 * @module
 */
import type { Env } from "./pod_inputs.ts";

/** PATH where the environment has none (containerd, docker and runc agree). */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The folders of PATH. */
export function searchPath(env: Env): string[] {
  return (env.PATH ?? DEFAULT_PATH).split(":").map((folder) => folder === "" ? "." : folder);
}
