/**
 * Names of hosts that somebody else chooses. In: a name. Out: its addresses.
 *
 * Each look-up holds a thread of Deno's pool until a name server answers or is given up, and the pool has 32, which reading files
 * and every session need too.
 *
 * @module
 */
import { lookup } from "node:dns";
import { Turns } from "../core/turns.ts";

/** So many look-ups are under way at once; the others wait for them. */
const MOST_AT_ONCE = 8;

/** Gives the addresses of a name, at least one. Rejects where there are none. */
export type NameLookup = (host: string) => Promise<readonly string[]>;

/** Look-ups by a function, a few of them at once. */
export function limitedLookup(look: NameLookup, most: number = MOST_AT_ONCE): NameLookup {
  const turns = new Turns(most);
  return async (host) => {
    using _turn = await turns.take();
    return await look(host);
  };
}

/**
 * Look-ups by a function, where `localhost` and what is below it are loopback even if the function does not know them: an image without
 * /etc/hosts has nobody else to ask (RFC 6761, 6.3).
 */
export function lookupWithLocalhost(look: NameLookup): NameLookup {
  return async (host) => {
    try {
      return await look(host);
    } catch (cause) {
      if (!/^(?:.+\.)?localhost\.?$/i.test(host)) throw cause;
      return ["127.0.0.1", "::1"];
    }
  };
}

/** By callback: the lookup of node:dns/promises has Deno 2.6 say on standard error that its punycode is deprecated, which is no line of the log. */
function systemLookup(host: string): Promise<readonly string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  lookup(host, { all: true }, (error, found) => error ? reject(error) : resolve(found.map(({ address }) => address)));
  return promise;
}

/**
 * The system's own, as /etc/hosts and name servers have it, and `localhost` in any case. Addresses are their own names. Rejects with
 * {@linkcode Error} of node's.
 */
export const lookUpName: NameLookup = limitedLookup(lookupWithLocalhost(systemLookup));
