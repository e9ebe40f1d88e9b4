/**
 * Load on a mesh, and a server that ends as a good one does: the words that start them, and what they print, read.
 *
 * In: output of `tests/programs/mesh_load.py` and `mesh_server.py`. Out: counts.
 *
 * @module
 */

const program = (name: string) => ["python3", new URL(`../programs/${name}.py`, import.meta.url).pathname];

/** Words before `HTTP_PORT TCP_PORT [URL]`. */
export const MESH_SERVER: readonly string[] = program("mesh_server");

/** Words before the clients, such as `new:http://web/` and `held:web:9000`. */
export const MESH_LOAD: readonly string[] = program("mesh_load");

/** Client → outcome → how often. */
export type LoadTotals = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What all clients saw until the end of the load. @throws {Error} when it has not ended in order */
export function totalsOf(stdout: string): LoadTotals {
  return (lastLine(stdout) as { totals: LoadTotals }).totals;
}

/** How often any client saw something other than an answer. */
export function failuresIn(totals: LoadTotals): number {
  const outcomes = Object.values(totals).flatMap((seen) => Object.entries(seen));
  return outcomes.filter(([outcome]) => !GOOD.includes(outcome)).reduce((sum, [, count]) => sum + count, 0);
}

const GOOD = ["200", "ok"];

/** A request that was not answered as it should be. */
export interface LoadFailure {
  readonly client: string;
  readonly failure: string;
  /** What the server is told of it; `null` for a client that tells nothing. */
  readonly id: string | null;
}

/** Each request that failed. */
export function failedRequests(stdout: string): LoadFailure[] {
  return stdout.split("\n").filter((line) => line.startsWith('{"client"')).map((line) => JSON.parse(line));
}

/** What the server said as it ended. @throws {Error} when it has not ended in order */
export function serverEndIn(stdout: string): ServerEnd {
  return lastLine(stdout) as ServerEnd;
}

/** What a server that ends in order tells. */
export interface ServerEnd {
  readonly calls: Readonly<Record<string, number>>;
  readonly answered: number;
  /** Requests that reached it, of those that say which they are. */
  readonly loads: readonly string[];
}

function lastLine(stdout: string): unknown {
  const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
  return JSON.parse(lines.at(-1) ?? "null");
}
