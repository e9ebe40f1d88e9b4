/**
 * Where Envoy listens. In: the answer of its admin endpoint, `/listeners?format=json`. Out: addresses.
 *
 * @module
 */
import { jsonObject } from "./mesh_objects.ts";
import type { HostPort } from "./mesh_settings.ts";

/** All addresses with a port; empty for whatever is no such answer. */
export function envoyListeners(text: string): HostPort[] {
  const { listener_statuses: listeners } = jsonObject(parsed(text));
  return (Array.isArray(listeners) ? listeners : []).flatMap((listener) => {
    const socket = jsonObject(jsonObject(jsonObject(listener).local_address).socket_address);
    const { address, port_value: port } = socket;
    return typeof address === "string" && typeof port === "number" ? [{ host: address, port }] : [];
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
