/**
 * What Envoy has before any control plane has told it something: its log, a cluster at a known address, a listener with HTTP
 * filters. In: values, or a template's placeholders for them. Out: JSON of Envoy's v3 API.
 *
 * @module
 */

/** A port, or what stands for it in a template. */
export type EnvoyPort = number | string;

/** Beginning of the types of Envoy's extensions. */
export const ENVOY_EXTENSION = "type.googleapis.com/envoy.extensions";

/** Envoy's log as lines of JSON, with the fields of the mesh agent's own: both go the same way into krun's log. */
export const ENVOY_LOG = {
  log_format: {
    json_format: {
      time: "%Y-%m-%dT%T.%fZ",
      level: "%l",
      scope: "envoy %n",
      msg: "%j",
      caller: "%g:%#",
      thread: "%t",
    },
  },
} as const;

/** A TCP address. */
export function socketAddress(host: string, port: EnvoyPort) {
  return { socket_address: { address: host, port_value: port } };
}

/** A cluster of one endpoint. */
export function staticCluster(name: string, endpoint: unknown, more: Readonly<Record<string, unknown>> = {}) {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: endpoint } }] }] },
    ...more,
  };
}

/** Options of {@linkcode httpListener}. */
export interface HttpListenerOptions {
  readonly address: unknown;
  /** Everything else is answered 404. */
  readonly routes: readonly unknown[];
  /** Before the router. @default {[]} */
  readonly filters?: readonly unknown[];
}

/** A listener for HTTP, which the limits for a program's own connections leave alone; `name` is that of its statistics. */
export function httpListener(name: string, { address, routes, filters = [] }: HttpListenerOptions) {
  return {
    name: `${name}_listener`,
    address,
    ignore_global_conn_limit: true,
    bypass_overload_manager: true,
    filter_chains: [{
      filters: [{
        name: "envoy.filters.network.http_connection_manager",
        typed_config: {
          "@type": `${ENVOY_EXTENSION}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
          stat_prefix: name,
          route_config: { virtual_hosts: [{ name: "backend", domains: ["*"], routes }] },
          http_filters: [...filters, {
            name: "envoy.filters.http.router",
            typed_config: { "@type": `${ENVOY_EXTENSION}.filters.http.router.v3.Router` },
          }],
        },
      }],
    }],
  };
}
