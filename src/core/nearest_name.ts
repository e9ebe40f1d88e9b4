/**
 * "Did you mean ...?": a name and the names there are go in, the nearest one comes out.
 *
 * @module
 */

/**
 * The candidate that needs the fewest single-letter changes to become `name`; `undefined` when none is near.
 *
 * Near is: at most a third of the letters, and at most 4, differ. A candidate that ends in `<...>` stands for every name with
 * the same beginning. Among equals the first wins.
 */
export function nearestName(name: string, candidates: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let least = Infinity;
  for (const candidate of candidates) {
    const [head = "", placeholder] = candidate.split("<", 2);
    const distance = placeholder === undefined ? distances(head, name).at(-1)! : Math.min(...distances(head, name));
    const near = Math.min(4, name.length / 3, head.length / 3);
    if (distance < least && distance <= near) [nearest, least] = [candidate, distance];
  }
  return nearest;
}

/** Levenshtein distance from `from` to each beginning of `to`, the empty one first. */
function distances(from: string, to: string): number[] {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j++) {
      const change = row[j - 1]! + (to[j - 1] === letter ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row;
}
