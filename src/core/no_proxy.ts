/**
 * Which servers a program reaches without the mesh's HTTP proxy. In: what was set before, the API server. Out: NO_PROXY.
 *
 * @module
 */

/** The machine itself, and what a workload's identity comes from: a proxy in between would be asked for it in its own name. */
const NEVER_BY_PROXY = [
  "127.0.0.1",
  "localhost",
  "::1",
  "169.254.169.254",
  "metadata.google.internal",
  ".googleapis.com",
];

/**
 * The value: these first, then the API server's host, then what was there. Hosts are separated by commas, without ports; a
 * leading dot means every host of a domain.
 */
export function meshNoProxy(before: string | undefined, apiServer: string | undefined): string {
  const host = apiServer === undefined ? undefined : URL.parse(apiServer)?.hostname.replace(/^\[|\]$/g, "");
  const others = (before ?? "").split(",").map((entry) => entry.trim());
  return [...new Set([...NEVER_BY_PROXY, ...host ? [host] : [], ...others])].filter((entry) => entry !== "").join(",");
}
