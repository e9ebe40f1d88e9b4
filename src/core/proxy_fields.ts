/**
 * What a proxy passes on of a message's header fields, and what it keeps for itself. In: fields in order, as they came. Out: fields
 * in order.
 *
 * @module
 */

/** A name, in any case, and a value. */
export type Field = readonly [name: string, value: string];

/** Fields of one connection (RFC 9110, 7.6.1; Keep-Alive and Proxy-Connection by long custom). */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  // How the other side upgrades to HTTP/2 (RFC 7540, 3.2.1), which is refused.
  "http2-settings",
]);

/**
 * Who called, as Envoy says it to a program behind it (XFCC). Whoever calls from outside the mesh could say anything, so it never
 * gets past krun. Programs behind CGI rules take `_` for `-`.
 */
const CLIENT_CERTIFICATE = "x-forwarded-client-cert";

/** The fields of a request or an answer that concern more than one connection: not those that `Connection` names, either. */
export function endToEndFields(fields: readonly Field[]): Field[] {
  const named = fields.filter(([name]) => name.toLowerCase() === "connection").flatMap(([, value]) => tokens(value));
  const isFramed = fields.some(([name]) => name.toLowerCase() === "transfer-encoding");
  return fields.filter(([name]) => {
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || named.includes(lower)) return false;
    // RFC 9112, 6.3: where both are given, the length is not to be believed.
    return !(isFramed && lower === "content-length");
  });
}

/**
 * The fields of a request that its program may see: end to end, without what only the mesh may say, and without `Expect`, which
 * krun has answered.
 */
export function programFields(fields: readonly Field[]): Field[] {
  return endToEndFields(fields).filter(([name]) => !isMeshOnly(name) && name.toLowerCase() !== "expect");
}

/** The fields after a body that its program may see. */
export function programTrailers(fields: readonly Field[]): Field[] {
  return fields.filter(([name]) => !isMeshOnly(name));
}

function isMeshOnly(name: string): boolean {
  return name.toLowerCase().replaceAll("_", "-") === CLIENT_CERTIFICATE;
}

/** Whether the message says so of itself: `te: trailers`, without which some gRPC servers refuse a call. */
export function takesTrailers(fields: readonly Field[]): boolean {
  return fields.some(([name, value]) => name.toLowerCase() === "te" && tokens(value).includes("trailers"));
}

/** Whether a request wants a WebSocket and nothing else (RFC 6455, 4.1). */
export function wantsWebSocket(fields: readonly Field[]): boolean {
  const wanted = fields.filter(([name]) => name.toLowerCase() === "upgrade").flatMap(([, value]) => tokens(value));
  return wanted.length === 1 && wanted[0] === "websocket";
}

/** The value of a field that is there once. */
export function fieldValue(fields: readonly Field[], name: string): string | undefined {
  return fields.find(([other]) => other.toLowerCase() === name)?.[1];
}

/** The head of an answer of HTTP/1.1 (RFC 9112, 4 and 5). */
export function answerHead(status: number, fields: readonly Field[]): string {
  return [`HTTP/1.1 ${status} `, ...fields.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
}

/** The elements of a list without their parameters, in lower case. */
function tokens(value: string): string[] {
  return value.split(",").map((part) => part.split(";")[0]!.trim().toLowerCase()).filter((part) => part !== "");
}
