/**
 * Paths of files inside a volume. In: what a Pod or an object's key says. Out: a clean relative path, or `PathInvalid`.
 *
 * Rules: Kubernetes v1.34 pkg/volume/util/atomic_writer.go (validatePath), and the API's own stricter checks where they can
 * be slipped past: `./..x` is cleaned first and refused then.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { normalize } from "./posix_path.ts";

const MAX_PATH_BYTES = 4096;
const MAX_NAME_BYTES = 255;
const encoder = new TextEncoder();

/**
 * Cleans a path as Go's `filepath.Clean` does and checks that it stays inside its volume and off the reserved names.
 *
 * @throws {KrunError} `PathInvalid` when it is empty, absolute, over 4096 bytes, has a NUL, an element `..` or one over 255
 * bytes, or begins with `..`.
 */
export function cleanPayloadPath(path: string): string {
  const fault = pathFault(path);
  if (fault === undefined) return clean(path);
  throw new KrunError(
    "PathInvalid",
    `Cannot use path ${JSON.stringify(shorten(path))} in a volume: ${fault}`,
    "use a relative path that stays inside the volume and does not begin with two dots",
  );
}

function clean(path: string): string {
  return normalize(path).replace(/\/$/, "");
}

function pathFault(path: string): string | undefined {
  if (path === "") return "it is empty";
  if (path.includes("\0")) return "it holds a NUL character";
  if (path.startsWith("/")) return "it is absolute";
  if (encoder.encode(path).length > MAX_PATH_BYTES) return `it is longer than ${MAX_PATH_BYTES} bytes`;
  if (path.split("/").includes("..")) return 'it has the element ".."';
  const cleaned = clean(path);
  if (cleaned === ".") return "it names the volume itself";
  if (cleaned.startsWith("..")) return "names that begin with two dots are reserved";
  if (cleaned.split("/").some((name) => encoder.encode(name).length > MAX_NAME_BYTES)) {
    return `an element is longer than ${MAX_NAME_BYTES} bytes`;
  }
  return undefined;
}

function shorten(path: string): string {
  return path.length > 80 ? `${path.slice(0, 77)}...` : path;
}
