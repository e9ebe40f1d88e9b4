/**
 * Header fields in node's forms and in krun's. In: what node gives for a message. Out: fields in order; and back.
 *
 * @module
 */
import type { IncomingHttpHeaders } from "node:http2";
import type { Field } from "../core/proxy_fields.ts";

/** Fields of a message of HTTP/1.1: names and values in turn. */
export function fieldsOfRaw(raw: readonly string[]): Field[] {
  return Array.from({ length: raw.length >> 1 }, (_, at) => [raw[2 * at]!, raw[2 * at + 1]!]);
}

/** Fields of a message of HTTP/2, without what is its own (`:path` and the like). Cookies are one field, as HTTP/1.1 has them. */
export function fieldsOfHeaders(headers: IncomingHttpHeaders): Field[] {
  return Object.entries(headers).flatMap(([name, value]): Field[] => {
    if (name.startsWith(":") || value === undefined) return [];
    return Array.isArray(value) ? value.map((one) => [name, one]) : [[name, `${value}`]];
  });
}

/** What node sends; fields of one name stay in order. */
export function headersOf(fields: readonly Field[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    const before = headers[lower];
    headers[lower] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}
