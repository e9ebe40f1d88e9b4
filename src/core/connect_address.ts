/**
 * Where `krun --connect` goes to, and in which of two ways. In: what the person, or ssh, wrote. Out: a peer of the mesh, or a front
 * end that ends TLS.
 *
 * An `https://` URL, and any host of run.app, is a front end: its port is the front end's own (443), and the port to reach
 * stands in the path of the tunnel. Everything else is a peer of the mesh. So `ssh -o ProxyCommand='krun --connect %h:%p'` works
 * for both.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { parseIp } from "./ip_address.ts";
import { quoted } from "./setting_invalid.ts";
import { portNumber } from "./setting_value.ts";

/** A peer that has an HBONE endpoint. */
export interface MeshAddress {
  readonly kind: "mesh";
  /** A name or an address, without brackets. */
  readonly host: string;
  /** The port to reach through the endpoint. */
  readonly port: number;
}

/** A front end that ends TLS, with a krun behind it. */
export interface FrontEndAddress {
  readonly kind: "front end";
  /** As in `https://web-abc.a.run.app`, which is also the audience of an ID token. */
  readonly origin: string;
  /** The port to reach by the tunnel. */
  readonly port: number;
  /** Whether the front end is Google's and wants an ID token. No other one must ever see it. */
  readonly takesIdToken: boolean;
}

/** ssh's, where nothing else is said. */
const DEFAULT_PORT = 22;

/**
 * Reads `HOST`, `HOST:PORT`, or `https://HOST[:PORT][/_hbone/PORT]`. An IPv6 address with a port stands in brackets.
 *
 * @throws {KrunError} `ArgumentInvalid`
 */
export function readConnectAddress(text: string): MeshAddress | FrontEndAddress {
  const address = text.includes("//") ? frontEnd(text) : hostAndPort(text);
  if (address !== undefined) return address;
  // A password has no place here, and must not come to light.
  const shown = text.replace(/\/\/.*@/s, "//...@");
  throw new KrunError(
    "ArgumentInvalid",
    `Cannot read address ${quoted(shown)} of --connect: it is not HOST, HOST:PORT or https://HOST`,
    "write for example krun --connect web.shop.svc:22, or krun --connect https://web-abc.a.run.app",
  );
}

function frontEnd(text: string): FrontEndAddress | undefined {
  const [, authority, digits = `${DEFAULT_PORT}`] =
    /^https:\/\/([A-Za-z0-9.:[\]-]+)(?:\/|\/_hbone\/(\d+))?$/.exec(text) ?? [];
  const port = portNumber(digits);
  const url = authority === undefined ? null : URL.parse(`https://${authority}`);
  if (!url || port === undefined) return undefined;
  return { kind: "front end", origin: url.origin, port, takesIdToken: isGoogles(url.hostname) };
}

function hostAndPort(text: string): MeshAddress | FrontEndAddress | undefined {
  if (parseIp(text)?.family === 6) return { kind: "mesh", host: text, port: DEFAULT_PORT };
  const [, bracketed, plain, digits = `${DEFAULT_PORT}`] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = portNumber(digits);
  if (host === undefined || host.startsWith("-") || port === undefined) return undefined;
  if (bracketed !== undefined && parseIp(bracketed) === undefined) return undefined;
  if (isGoogles(host)) return { kind: "front end", origin: `https://${host.toLowerCase()}`, port, takesIdToken: true };
  return { kind: "mesh", host, port };
}

/** Cloud Run's own domain, which Google alone serves. */
function isGoogles(host: string): boolean {
  return /^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.run\.app$/i.test(host);
}
