/**
 * The description of a mesh: what ConfigMap `mesh-env` holds, or a file that MESH names. In: text. Out: name → value, the names
 * being those of krun's variables.
 *
 * @module
 */

/** Name → value. */
export type MeshEnv = ReadonlyMap<string, string>;

/** The values of a ConfigMap's `data`. What is no text counts for nothing. */
export function meshEnvOfData(data: unknown): MeshEnv {
  if (typeof data !== "object" || data === null) return new Map();
  return new Map(Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

/** The values of a parsed document: a ConfigMap's `data`, or the document itself where it is no Kubernetes object. */
export function meshEnvOfDocument(document: unknown): MeshEnv {
  if (typeof document !== "object" || document === null) return new Map();
  return meshEnvOfData("data" in document ? document.data : document);
}

/**
 * The values of lines `NAME=value`, as a shell's environment file has them: `export ` before a name and quotation marks
 * around a value are left out, as are empty lines and those that begin with `#`. `undefined`: some line is none, so the
 * text is something else.
 */
export function meshEnvOfLines(text: string): MeshEnv | undefined {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, name, value] = /^\s*(?:export\s+)?([A-Za-z_]\w*)=(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    values.set(name, /^(["']).*\1$/.test(value) && value.length > 1 ? value.slice(1, -1) : value);
  }
  return values;
}
