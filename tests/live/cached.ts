/**
 * Files that are made once for one state of what they are made of, and kept for the next test file and the next run.
 *
 * In: names of sources, and a way to make the file. Out: its path. Processes may ask for the same at the same time.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CACHE = fileURLToPath(new URL("../../dist/cache", import.meta.url));

/** What no run has begun to use for longer than a run takes is removed; one beside this one may use any other. */
const KEPT_MS = 2 * 3_600_000;

/** Digest of names and contents. */
async function digest(paths: readonly string[]): Promise<string> {
  const parts: BlobPart[] = [];
  for (const path of paths.toSorted()) parts.push(`${path}\0`, await Deno.readFile(path), "\0");
  const hash = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return new Uint8Array(hash).toHex().slice(0, 16);
}

/**
 * Path of the file (or folder) `name` that `make` makes of `sources`, paths of files: anew when any of them has changed.
 *
 * @param make writes it to `out`, in a folder that is there and empty, and may leave more beside it
 */
export async function cached(
  name: string,
  { sources, make }: { readonly sources: readonly string[]; make(out: string): Promise<unknown> },
): Promise<string> {
  const state = await digest(sources);
  const folder = join(CACHE, `${name}-${state}`);
  if (await use(folder)) return join(folder, name);
  await Deno.mkdir(CACHE, { recursive: true });
  await removeUnused();
  const work = await Deno.makeTempDir({ dir: CACHE, prefix: "work-" });
  try {
    await make(join(work, name));
    // Somebody edits: what was made may be of neither state.
    if (await digest(sources) !== state) return await cached(name, { sources, make });
    await Deno.chmod(work, 0o755);
    // Whole at once; it fails where another run was faster.
    await Deno.rename(work, folder).catch(() => {});
  } finally {
    await Deno.remove(work, { recursive: true }).catch(() => {});
  }
  if (!await use(folder)) throw new Error(`${folder} cannot be made`);
  return join(folder, name);
}

async function removeUnused(): Promise<void> {
  for await (const { name } of Deno.readDir(CACHE)) {
    const folder = join(CACHE, name);
    // Other runs do the same.
    const { mtime } = await Deno.stat(folder).catch(() => ({ mtime: null }));
    if (mtime && Date.now() - mtime.getTime() > KEPT_MS) await Deno.remove(folder, { recursive: true }).catch(() => {});
  }
}

/** Whether there is such a folder; from now on it counts as used. */
async function use(folder: string): Promise<boolean> {
  const now = new Date();
  return await Deno.utime(folder, now, now).then(() => true, () => false);
}
