/**
 * Where a mount lies on this machine. In: the path that a setting or a Pod names, and the base. Out: an absolute path below
 * the base, or `PathInvalid`.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { join, normalize, resolve } from "./posix_path.ts";

/** Name of krun's own folder below the base. */
export const STATE_FOLDER = ".krun";

/** Options of {@linkcode mountPath}. */
export interface MountPathOptions {
  /** The base folder; relative: below `cwd`. */
  readonly base: string;
  /** The working directory, absolute. */
  readonly cwd: string;
  /** Other absolute paths of the base, as through a link. @default {none} */
  readonly aliases?: readonly string[] | undefined;
}

const encoder = new TextEncoder();

/**
 * The final path of a mount: relative paths are below the base, absolute ones inside the base are used as they are, other
 * absolute ones are re-rooted below the base. Compares names only; links are the claim's matter.
 *
 * @throws {KrunError} `PathInvalid` when the path is empty, has a NUL or an element `..`, is too long for the system, or is
 * the base itself or krun's own folder.
 */
export function mountPath(path: string, options: MountPathOptions): string {
  const base = resolve(options.cwd, options.base);
  const below = base === "/" ? "/" : `${base}/`;
  const given = normalize(`${path}/`);
  const alias = given.startsWith(below) ? undefined : options.aliases?.find((name) => given.startsWith(`${name}/`));
  const cleaned = alias === undefined ? given : `${base}${given.slice(alias.length)}`;
  const full = join(cleaned.startsWith(below) || cleaned === `${base}/` ? "/" : base, cleaned).replace(
    /(?<=.)\/$/,
    "",
  );
  const fault = pathFault(path) ?? placeFault(full, { base, below });
  if (fault === undefined) return full;
  const [state, hint] = fault;
  throw new KrunError(
    "PathInvalid",
    `Cannot mount at ${JSON.stringify(path.length > 80 ? `${path.slice(0, 77)}...` : path)} below base ${
      JSON.stringify(base)
    }: ${state}`,
    hint,
  );
}

/**
 * The final path of a file that stands where it is named, also outside the base: the absolute path, cleaned.
 *
 * @throws {KrunError} `PathInvalid` when it has a NUL or is too long for the system.
 */
export function exactPath(path: string): string {
  const full = resolve("/", path);
  const fault = path.includes("\0") ? pathFault(path) : lengthFault(full);
  if (fault === undefined) return full;
  const [state, hint] = fault;
  const shown = JSON.stringify(path.length > 80 ? `${path.slice(0, 77)}...` : path);
  throw new KrunError("PathInvalid", `Cannot write file ${shown}: ${state}`, hint);
}

/** What is wrong with a path, and what to do. */
type PathFault = readonly [state: string, hint: string];

function pathFault(path: string): PathFault | undefined {
  if (path === "") return ["it is empty", "name a path below the base"];
  if (path.includes("\0")) return ["it holds a NUL character", "name a path without it"];
  if (path.split("/").includes("..")) return ['it has the element ".."', "name a path without two dots as an element"];
  return undefined;
}

function placeFault(full: string, { base, below }: { base: string; below: string }): PathFault | undefined {
  if (full === base) {
    return ["it is the base itself", "name a path below the base, or set MESH_BASE_DIR to a folder above"];
  }
  const [first] = full.slice(below.length).split("/");
  if (first === STATE_FOLDER) return [`${STATE_FOLDER} is krun's own folder`, "name another path below the base"];
  return lengthFault(full);
}

function lengthFault(full: string): PathFault | undefined {
  // PATH_MAX counts the final NUL, NAME_MAX does not (limits.h).
  if (encoder.encode(full).length > 4095) return ["it is longer than 4095 bytes", "name a shorter path"];
  if (full.split("/").some((name) => encoder.encode(name).length > 255)) {
    return ["an element is longer than 255 bytes", "name a path of shorter elements"];
  }
  return undefined;
}
