/**
 * Which URLs are Google's. In: a URL. Out: whether a token may be sent there.
 *
 * No setting redirects one: the hosts stand in krun's code, and what comes from a file is held against this.
 *
 * @module
 */

/** A host of Google's APIs, `undefined` when the text is none: below googleapis.com, without a port. */
export function googleHost(host: string): string | undefined {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.googleapis\.com$/.test(host)
    ? host
    : undefined;
}

/** Whether a URL is https and at a host of Google's APIs, or at accounts.google.com, on the usual port. */
export function isGoogleUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.protocol !== "https:" || url.port !== "" || url.username !== "" || url.password !== "") {
    return false;
  }
  return googleHost(url.hostname) !== undefined || url.hostname === "accounts.google.com";
}

/** Addresses that only this machine, or the link that it hangs on, has: no proxy leads there. */
export function isLocalHost(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  return name === "localhost" || name === "::1" || name === "metadata.google.internal" || name === "metadata" ||
    name === "fd00:ec2::254" || /^127(\.\d{1,3}){3}$/.test(name) || /^169\.254(\.\d{1,3}){2}$/.test(name) ||
    /^fe80:/i.test(name);
}
