/**
 * Which proxy a request goes through, by the rules of Go's `http.ProxyFromEnvironment`, which kubectl follows: `NO_PROXY` is a
 * list of host names (with all below them), `.names` (only what is below), addresses, networks (`10.0.0.0/8`), each with a
 * port if wanted, or `*`. A server on the loopback interface is never reached through a proxy.
 *
 * Rules: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
 *
 * @module
 */
import type { Env } from "./pod_inputs.ts";
import { isReference } from "./reference_prefix.ts";
import { settingInvalid } from "./setting_invalid.ts";

/** The proxy variables of an environment, as they were found. */
export interface ProxySettings {
  /** HTTP_PROXY: for servers with an http URL. */
  readonly httpProxy?: string;
  /** HTTPS_PROXY: for servers with an https URL. */
  readonly httpsProxy?: string;
  /** NO_PROXY: servers that are reached directly. */
  readonly noProxy?: string;
}

/**
 * The proxies of an environment. Of a name in both cases the one in capitals counts, as in Go. One that is a reference is the program's:
 * its value is not known yet.
 */
export function proxySettings(env: Env): ProxySettings {
  const either = (name: string) => [env[name], env[name.toLowerCase()]].find((value) => value && !isReference(value));
  const [httpProxy, httpsProxy, noProxy] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].map(either);
  return { ...(httpProxy && { httpProxy }), ...(httpsProxy && { httpsProxy }), ...(noProxy && { noProxy }) };
}

/**
 * URL of the proxy for a server, `undefined` for none. A value without a scheme is an http proxy.
 *
 * @throws {KrunError} `SettingInvalid` when the value for that server is no URL of a proxy; one that is not used is not looked
 * at, as in Go.
 */
export function proxyFor(server: URL, { httpProxy, httpsProxy, noProxy = "" }: ProxySettings): string | undefined {
  const [name, proxy] = server.protocol === "https:" ? ["HTTPS_PROXY", httpsProxy] : ["HTTP_PROXY", httpProxy];
  if (!proxy) return undefined;
  const host = server.hostname.replace(/^\[|\]$/g, "");
  if (isLoopback(host)) return undefined;
  const port = server.port || (server.protocol === "https:" ? "443" : "80");
  const entries = noProxy.split(",").map((e) => e.trim().toLowerCase()).filter((e) => e !== "");
  if (entries.some((entry) => covers(entry, host, port))) return undefined;
  const url = proxy.includes("://") ? proxy : `http://${proxy}`;
  const isUsable = URL.canParse(url) && /^(https?|socks5h?):$/.test(new URL(url).protocol);
  // The value is not quoted: it may hold a password.
  if (!isUsable) throw settingInvalid(name, "it is not an http, https or socks5 URL", "http://proxy:3128");
  return url;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host) && addressBits(host) !== undefined;
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const network = /^(.+)\/(\d+)$/.exec(entry);
  if (network) return inNetwork(host, network[1]!, Number(network[2]));
  const [name, onlyPort] = splitPort(entry);
  if (onlyPort !== undefined && onlyPort !== port) return false;
  const bits = addressBits(name);
  if (bits !== undefined) return addressBits(host) === bits;
  const domain = name.replace(/^\*(?=\.)/, "");
  return domain.startsWith(".") ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}

function splitPort(entry: string): [name: string, port: string | undefined] {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry);
  if (bracketed) return [bracketed[1]!, bracketed[2]];
  const plain = /^([^:]+):(\d+)$/.exec(entry);
  return plain ? [plain[1]!, plain[2]] : [entry, undefined];
}

function inNetwork(host: string, network: string, prefix: number): boolean {
  const [a, b] = [addressBits(host), addressBits(network)];
  if (a === undefined || b === undefined || a.length !== b.length || prefix > a.length) return false;
  return a.slice(0, prefix) === b.slice(0, prefix);
}

/** An IPv4 or IPv6 address as a string of its bits, so that equal addresses are equal strings and a prefix is a prefix. */
function addressBits(text: string): string | undefined {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (four) return four.every((part) => part < 256) ? four.map((part) => bits(part, 8)).join("") : undefined;
  if (!text.includes(":") || !URL.canParse(`http://[${text}]/`)) return undefined;
  // The URL parser writes every IPv6 address in one way: lower case hexadecimal, at most one "::".
  const [head = "", tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split("::");
  const parts = (half: string) => half === "" ? [] : half.split(":").map((part) => bits(parseInt(part, 16), 16));
  const [first, last] = [parts(head), tail === undefined ? [] : parts(tail)];
  return [...first, ...Array(8 - first.length - last.length).fill(bits(0, 16)), ...last].join("");
}

function bits(value: number, length: number): string {
  return value.toString(2).padStart(length, "0");
}
