/**
 * The URIs among a certificate's subject alternative names. In: the certificate's DER. Out: the URIs, each as it stands there.
 *
 * Read from the bytes, and not from the text that the runtime makes of them: Deno 2.9 joins the names with commas and quotes
 * none, so that a DNS name `x, URI:spiffe://...` reads like two names.
 *
 * @module
 */

import { printable } from "./setting_invalid.ts";

/** One element of DER (ITU-T X.690, 8.1). */
interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
}

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
const OCTET_STRING = 0x04;
/** `[3] EXPLICIT Extensions` of a TBSCertificate (RFC 5280, 4.1). */
const EXTENSIONS = 0xa3;
/** `[6] IA5String`, the URI among the GeneralNames (RFC 5280, 4.2.1.6). */
const URI = 0x86;
/** `[2] IA5String`, a DNS name, and `[7] OCTET STRING`, an address, among them. */
const DNS_NAME = 0x82, IP_ADDRESS = 0x87;
/** 2.5.29.17, subjectAltName. */
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];

const ascii = new TextDecoder();

/**
 * The URIs of a certificate's subjectAltName, in order; none where it has no such extension. `undefined` when the bytes are no
 * certificate, when it has the extension twice, or when a URI is not ASCII. Never throws.
 */
export function certificateUris(der: Uint8Array): readonly string[] | undefined {
  const value = subjectAltName(der);
  return value === "none" ? [] : value && urisOf(value);
}

/**
 * All names of a certificate that a server is known by, for a person to read: DNS names, IP addresses, URIs, in order. What cannot
 * be read is left out. Nothing is to be decided by them. Never throws.
 */
export function certificateNames(der: Uint8Array): string[] {
  const value = subjectAltName(der);
  const names = value === "none" ? [] : elements(value && only(value, SEQUENCE)) ?? [];
  return names.flatMap(({ tag, content }) => {
    if (tag === IP_ADDRESS) return content.length === 4 ? [content.join(".")] : [ip6Text(content)];
    return tag === DNS_NAME || tag === URI ? [printable(ascii.decode(content))] : [];
  });
}

/** Names as a list for one line. */
export function namesText(names: readonly string[]): string {
  const LISTED = 6;
  if (names.length === 0) return "no name";
  return names.slice(0, LISTED).join(", ") + (names.length > LISTED ? ` and ${names.length - LISTED} more` : "");
}

function ip6Text(bytes: Uint8Array): string {
  return (bytes.toHex().match(/.{1,4}/g) ?? []).join(":");
}

/** The content of the extension; `none`: there is none. `undefined`: the bytes are no certificate, or have it twice. */
function subjectAltName(der: Uint8Array): Uint8Array | "none" | undefined {
  const certificate = only(der, SEQUENCE);
  const parts = certificate && elements(certificate);
  if (parts === undefined || parts[0]?.tag !== SEQUENCE) return undefined;
  const fields = elements(parts[0].content);
  const list = fields?.filter(({ tag }) => tag === EXTENSIONS) ?? [];
  if (fields === undefined || list.length > 1) return undefined;
  if (list.length === 0) return "none";
  const extensions = elements(only(list[0]!.content, SEQUENCE));
  const values = extensions?.map(subjectAltNameOf).filter((value) => value !== undefined);
  if (values === undefined || values.length > 1) return undefined;
  return values[0] ?? "none";
}

/** The content of an extension's value if it is the one that is looked for. */
function subjectAltNameOf({ content }: Element): Uint8Array | undefined {
  const parts = elements(content) ?? [];
  const [id, value] = [parts[0], parts.at(-1)];
  if (id?.tag !== OBJECT_IDENTIFIER || !SUBJECT_ALT_NAME.every((byte, at) => id.content[at] === byte)) return undefined;
  if (id.content.length !== SUBJECT_ALT_NAME.length) return undefined;
  // One that cannot be read must not look like none.
  return value?.tag === OCTET_STRING ? value.content : new Uint8Array();
}

function urisOf(value: Uint8Array): readonly string[] | undefined {
  const names = elements(only(value, SEQUENCE));
  const uris = names?.filter(({ tag }) => tag === URI).map(({ content }) => content);
  if (uris === undefined || uris.some((uri) => uri.some((byte) => byte > 0x7f))) return undefined;
  return uris.map((uri) => ascii.decode(uri));
}

/** The content of the bytes' one element, which has that tag. */
function only(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  const [element, ...more] = elements(bytes) ?? [];
  return element?.tag === tag && more.length === 0 ? element.content : undefined;
}

/** Element after element, to the end of the bytes; `undefined` when they do not end with one. */
function elements(bytes: Uint8Array | undefined): Element[] | undefined {
  const found: Element[] = [];
  for (let at = 0; bytes !== undefined && at < bytes.length;) {
    const [length, from] = lengthAt(bytes, at + 1);
    if (from + length > bytes.length) return undefined;
    found.push({ tag: bytes[at]!, content: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return bytes && found;
}

/** A definite length and where the content begins; more than there is when the length cannot be read (X.690, 8.1.3). */
function lengthAt(bytes: Uint8Array, at: number): readonly [length: number, from: number] {
  const first = bytes[at] ?? 0x80;
  if (first < 0x80) return [first, at + 1];
  const count = first & 0x7f;
  if (count === 0 || count > 3) return [Infinity, at];
  let length = 0;
  for (let digit = 1; digit <= count; digit++) length = length * 256 + (bytes[at + digit] ?? Infinity);
  return [length, at + 1 + count];
}
