/**
 * Which folder of the project may import which, as one table. The lint plugin asks it for every import.
 *
 * Paths come in relative to the project's root, with forward slashes; a verdict in words goes out.
 *
 * @module
 */
import { posix } from "node:path";

const BELOW_LAUNCH = ["pod", "mesh", "refs", "ssh", "services"];

/**
 * Folder below src/ → the folders below src/ that it may import. Siblings are not in each other's row: launch/ wires them.
 * pod/ knows a cluster by the interface in core/cluster.ts only, so that every kind of cluster gets the same engine.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  net: ["core"],
  kube: ["core"],
  gcp: ["kube", "core"],
  pod: ["core"],
  mesh: ["net", "kube", "gcp", "core"],
  refs: ["kube", "gcp", "core"],
  ssh: ["net", "kube", "gcp", "core"],
  services: ["kube", "gcp", "core"],
  launch: [...BELOW_LAUNCH, "net", "kube", "gcp", "core"],
};

/** A file that only tests load: it may import anything. */
export function isTestFile(path: string): boolean {
  return /_test\.ts$/.test(path) || path.startsWith("tests/");
}

/** Folder below src/ that a file lies in; `undefined` for main.ts, src/mod.ts and what is not below src/. */
export function layerOf(path: string): string | undefined {
  return /^src\/([^/]+)\/[^/]+$/.exec(path)?.[1];
}

/** True when the file is part of the program or the library, and no test. */
export function isProgramFile(path: string): boolean {
  return (path === "main.ts" || path.startsWith("src/")) && !isTestFile(path);
}

/** Why `from` may not import `specifier`; `undefined` when it may. Only relative imports are judged. */
export function forbiddenImport(from: string, specifier: string): string | undefined {
  if (!isProgramFile(from)) return undefined;
  if (!specifier.startsWith(".")) return undefined;
  const to = posix.join(posix.dirname(from), specifier);
  // The version has one home.
  if (to === "deno.json") return undefined;
  if (!to.startsWith("src/")) return `${from} is part of the program and may import only from src/, not ${to}`;
  if (from === "main.ts" || from === "src/mod.ts") return undefined;
  const layer = layerOf(from);
  if (layer === undefined) return `${from} lies in no folder of the layout: src/<layer>/<file>.ts`;
  const allowed = MAY_IMPORT[layer];
  if (allowed === undefined) return `src/${layer}/ is not in the table of scripts/layers.ts`;
  const target = layerOf(to);
  if (target === layer || (target !== undefined && allowed.includes(target))) return undefined;
  return `src/${layer}/ may import from ${[layer, ...allowed].join(", ")}, not from ${to}`;
}
