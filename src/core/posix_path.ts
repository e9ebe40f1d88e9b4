/**
 * Paths of Linux: what `posix` of node:path does, for the functions krun needs. Importing any `node:` module costs a start
 * 8 ms (docs/decisions.md); the tests compare each function with node's own.
 *
 * @module
 */

/** Resolves `.` and `..` and doubled slashes by the text alone; keeps a final slash. The empty path is `.`. */
export function normalize(path: string): string {
  const isAbsolute = path.startsWith("/");
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else if (!isAbsolute) kept.push("..");
  }
  const body = kept.join("/");
  const tail = path.endsWith("/") && body !== "" ? "/" : "";
  if (isAbsolute) return `/${body}${tail}`;
  return body === "" ? (path.endsWith("/") ? "./" : ".") : body + tail;
}

/** The parts with slashes between them, normalized; empty parts are left out. */
export function join(...parts: readonly string[]): string {
  return normalize(parts.filter((part) => part !== "").join("/"));
}

/** `path` as seen from the folder `from`, which is absolute; normalized, without a final slash. */
export function resolve(from: string, path: string): string {
  return normalize(path.startsWith("/") ? path : `${from}/${path}`).replace(/(?<=.)\/$/, "");
}

/** The folder that a path lies in. */
export function dirname(path: string): string {
  const trimmed = path.replace(/(?<=.)\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  if (slash < 0) return ".";
  return trimmed.slice(0, slash).replace(/(?<=.)\/+$/, "") || "/";
}

/** The last part of a path. */
export function basename(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

/** How `to` is reached from the folder `from`; both absolute. Empty when they are the same. */
export function relative(from: string, to: string): string {
  const [here, there] = [from, to].map((path) => resolve("/", path).split("/").filter((part) => part !== ""));
  let shared = 0;
  while (shared < here!.length && here![shared] === there![shared]) shared++;
  return [...here!.slice(shared).map(() => ".."), ...there!.slice(shared)].join("/");
}
