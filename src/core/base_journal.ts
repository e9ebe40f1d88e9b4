/**
 * The journal of what krun made below its base, so that a next start can remove it after kill -9. In: lines of text. Out:
 * entries, and the other way round.
 *
 * A line is written before the thing is made. What is removed without a look inside (`tree`, `contents`, `volume`) is named
 * with its identity, in a second line once it is known; until then only the first one counts, which removes it when empty.
 *
 * What lies below the base is written as `./...`: the base may be moved, or be mounted elsewhere for the next krun.
 *
 * @module
 */

/** One thing that krun made, or is about to make. Paths are absolute and free of links. */
export type MadeEntry =
  /** A folder; removed when it is empty. */
  | { readonly made: "folder"; readonly path: string }
  /** A folder that versions of a volume were published in; only what bears krun's names is removed. */
  | { readonly made: "volume"; readonly path: string; readonly identity: string }
  /** A folder that is removed with all that is in it. */
  | { readonly made: "tree"; readonly path: string; readonly identity: string }
  /** A folder that was there, empty; all that is in it is removed. */
  | { readonly made: "contents"; readonly path: string; readonly identity: string }
  /** A symlink; removed when it has this text. */
  | { readonly made: "link"; readonly path: string; readonly to: string };

/** A fact that another part of krun keeps for the next run; a later one of the same key replaces it. */
export interface FactEntry {
  readonly fact: string;
  /** Any JSON value; `null` takes the fact back. */
  readonly value: unknown;
}

/** One line. */
export type JournalEntry = MadeEntry | FactEntry;

/** What {@linkcode parseJournal} found. */
export interface Journal {
  readonly entries: readonly JournalEntry[];
  /** Length of the lines that are complete; a writer goes on there. */
  readonly completeBytes: number;
}

/** The line of an entry, with its newline, in the journal of a base. */
export function journalLine(entry: JournalEntry, base: string): string {
  const below = base === "/" ? "/" : `${base}/`;
  const isInside = "made" in entry && entry.path.startsWith(below);
  return `${JSON.stringify(isInside ? { ...entry, path: `./${entry.path.slice(below.length)}` } : entry)}\n`;
}

/**
 * Reads the journal of a base. A last line without its newline is one that krun was killed over: the thing was not made yet.
 * A line that is no entry is left out. Never throws.
 */
export function parseJournal(bytes: Uint8Array, base: string): Journal {
  const completeBytes = bytes.lastIndexOf(10) + 1;
  const lines = new TextDecoder().decode(bytes.subarray(0, completeBytes)).split("\n");
  return { entries: lines.flatMap((line) => parseLine(line, base)), completeBytes };
}

function parseLine(line: string, base: string): JournalEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return [];
  }
  if (typeof value !== "object" || value === null) return [];
  const { path } = value as { path?: unknown };
  const isInside = typeof path === "string" && path.startsWith("./");
  const entry = isInside ? { ...value, path: `${base === "/" ? "" : base}${path.slice(1)}` } : value;
  return isEntry(entry) ? [entry] : [];
}

function isEntry(value: object): value is JournalEntry {
  const entry = value as Record<string, unknown>;
  if (typeof entry.fact === "string") return "value" in entry;
  if (!isPath(entry.path)) return false;
  switch (entry.made) {
    case "folder":
      return true;
    case "volume":
    case "tree":
    case "contents":
      return typeof entry.identity === "string" && entry.identity !== "";
    case "link":
      return typeof entry.to === "string";
  }
  return false;
}

function isPath(path: unknown): path is string {
  return typeof path === "string" && path.startsWith("/") && path !== "/" && !path.split("/").includes("..");
}

/** The facts in force, by key. */
export function factsOf(entries: readonly JournalEntry[]): Map<string, unknown> {
  const facts = new Map<string, unknown>();
  for (const entry of entries) {
    if (!("fact" in entry)) continue;
    if (entry.value === null) facts.delete(entry.fact);
    else facts.set(entry.fact, entry.value);
  }
  return facts;
}

/**
 * The shortest journal that means the same: facts in force once, each thing once, where it was first noted, and of a link that
 * was moved the two last texts, since a kill may have come before the last one was put there. Entries are the same objects.
 */
export function compacted(entries: readonly JournalEntry[]): JournalEntry[] {
  const seen = new Set<string>();
  const made = lastLinks(entries.filter((entry) => "made" in entry)).filter((entry) => {
    const line = JSON.stringify(entry);
    return !seen.has(line) && seen.add(line);
  });
  return [...made, ...[...factsOf(entries)].map(([fact, value]) => ({ fact, value }))];
}

function lastLinks(entries: readonly MadeEntry[]): MadeEntry[] {
  const texts = new Map<string, Set<string>>();
  return entries.toReversed().filter((entry) => {
    if (entry.made !== "link") return true;
    const last = texts.get(entry.path) ?? new Set();
    if (last.size < 2) last.add(entry.to);
    texts.set(entry.path, last);
    return last.has(entry.to);
  }).toReversed();
}
