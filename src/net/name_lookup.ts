/**
 * Names of hosts that somebody else chooses. In: a name. Out: its addresses.
 *
 * Each look-up holds a thread of Deno's pool until a name server answers or is given up, and the pool has 32, which reading files
 * and every session need too.
 *
 * @module
 */
import { lookup } from "node:dns/promises";

/** So many look-ups are under way at once; the others wait for them. */
const MOST_AT_ONCE = 8;

/** Gives the addresses of a name, at least one. Rejects where there are none. */
export type NameLookup = (host: string) => Promise<readonly string[]>;

/** Look-ups by a function, a few of them at once. */
export function limitedLookup(look: NameLookup, most: number = MOST_AT_ONCE): NameLookup {
  const waiting: (() => void)[] = [];
  let underWay = 0;
  return async (host) => {
    if (underWay >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else underWay++;
    try {
      return await look(host);
    } finally {
      // The place goes to whoever waits.
      const next = waiting.shift();
      if (next) next();
      else underWay--;
    }
  };
}

/** The system's own, as /etc/hosts and name servers have it. Addresses are their own names. Rejects with {@linkcode Error} of node's. */
export const lookUpName: NameLookup = limitedLookup(async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address)
);
