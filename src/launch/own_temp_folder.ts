/**
 * A folder of krun's own beside temporary files, for a user who may write nowhere else. In: user and folders. Out: a path.
 *
 * @module
 */
import { join, resolve } from "../core/posix_path.ts";
import { loadLibc } from "../pod/libc.ts";
import { checkWritable, FileError } from "../pod/libc_files.ts";

/** Options of {@linkcode ownTempFolder}. */
export interface OwnTempFolderOptions {
  /** Absolute; where it can be written in, that is the place. */
  readonly cwd: string;
  readonly tempFolder: string;
  readonly uid: number;
}

/**
 * `<tempFolder>/krun-<uid>`, where the working directory cannot be written in; `undefined` where it can, or where that name is somebody
 * else's. The next krun of that user finds there what a killed one left.
 */
export function ownTempFolder({ cwd, tempFolder, uid }: OwnTempFolderOptions): string | undefined {
  loadLibc();
  if (isWritable(cwd)) return undefined;
  const folder = join(resolve(cwd, tempFolder), `krun-${uid}`);
  try {
    const { isDirectory, uid: owner, mode } = Deno.lstatSync(folder);
    // Whoever else may write in it could put another folder in the place of krun's.
    return isDirectory && owner === uid && mode !== null && (mode & 0o022) === 0 ? folder : undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? folder : undefined;
  }
}

function isWritable(path: string): boolean {
  try {
    checkWritable(path);
    return true;
  } catch (error) {
    if (error instanceof FileError) return false;
    throw error;
  }
}
