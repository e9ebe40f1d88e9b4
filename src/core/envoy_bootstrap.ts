/**
 * The template of Envoy's bootstrap, for an image that has pilot-agent and Envoy but not Istio's own template. Out: text for the
 * agent, which fills it in (Go text/template, with the values of pkg/bootstrap/option of Istio 1.31).
 *
 * It has what a sidecar needs: configuration and certificates from the agent's sockets, health on one port, metrics on
 * another. Tracing, the metrics and access log services of a mesh, and Istio's names for Envoy's metrics are in Istio's own
 * template alone.
 *
 * @module
 */

/** A value that the agent fills in, with its quotation marks or as it is. */
const filled = (expression: string) => `{{ ${expression} }}`;
const RAW = /"<<(.*?)>>"/g;
const raw = (expression: string) => `<<${expression}>>`;

const TYPE = "type.googleapis.com/envoy.extensions";
const LOCALHOST = filled(".localhost"), WILDCARD = filled(".wildcard");

/** The whole template. */
export function envoyBootstrapTemplate(): string {
  const template = {
    application_log_config: {
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
    },
    node: {
      id: filled(".nodeID"),
      cluster: filled(".cluster"),
      locality: { region: filled(".region"), zone: filled(".zone"), sub_zone: filled(".sub_zone") },
      metadata: raw(".meta_json_str"),
    },
    layered_runtime: {
      layers: [{ name: "global config", static_layer: raw(".runtime_flags") }, { name: "admin", admin_layer: {} }],
    },
    bootstrap_extensions: [
      {
        name: "envoy.bootstrap.internal_listener",
        typed_config: { "@type": `${TYPE}.bootstrap.internal_listener.v3.InternalListener` },
      },
    ],
    // The agent marks the end of a cluster's name by a semicolon, since the name may hold dots.
    stats_config: { stats_tags: [{ tag_name: "cluster_name", regex: String.raw`^cluster(\.(.+);)` }] },
    admin: { address: address(LOCALHOST, raw(".config.ProxyAdminPort")) },
    dynamic_resources: {
      lds_config: ADS,
      cds_config: ADS,
      ads_config: {
        api_type: filled(".xds_type"),
        transport_api_version: "V3",
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: "xds-grpc" } }],
      },
    },
    static_resources: { clusters: clusters(), listeners: listeners() },
    overload_manager: {
      resource_monitors: [{
        name: "envoy.resource_monitors.global_downstream_max_connections",
        typed_config: {
          "@type": `${TYPE}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
          max_active_downstream_connections: raw(".global_downstream_max_connections"),
        },
      }],
    },
  };
  return JSON.stringify(template, null, 1).replaceAll(RAW, (_, expression: string) => filled(expression));
}

const ADS = { ads: {}, initial_fetch_timeout: "0s", resource_api_version: "V3" };

function address(host: string, port: string) {
  return { socket_address: { address: host, port_value: port } };
}

function cluster(name: string, endpoint: unknown, more: Readonly<Record<string, unknown>> = {}) {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: endpoint } }] }] },
    ...more,
  };
}

function clusters() {
  const options = `${TYPE}.upstreams.http.v3.HttpProtocolOptions`;
  const http2 = {
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": options,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  };
  const limit = { max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 };
  const sockets = `./var/run/secrets/workload-spiffe-uds/${filled(".workload_identity_socket_file")}`;
  return [
    cluster("prometheus_stats", address(LOCALHOST, raw(".config.ProxyAdminPort"))),
    cluster("agent", address(LOCALHOST, raw(".config.StatusPort"))),
    cluster("sds-grpc", { pipe: { path: sockets } }, http2),
    cluster("xds-grpc", { pipe: { path: `${filled(".config.ConfigPath")}/XDS` } }, {
      ...http2,
      // One stream for everything: it may wait for no other.
      circuit_breakers: { thresholds: [limit, { priority: "HIGH", ...limit }] },
      upstream_connection_options: { tcp_keepalive: { keepalive_time: 300 } },
      max_requests_per_connection: 1,
    }),
  ];
}

/** Health is the agent's, metrics are the admin endpoint's; nothing else of either can be reached from outside. */
function listeners() {
  return [
    listener(raw(".envoy_prometheus_port"), { prefix: "/stats/prometheus" }, "prometheus_stats"),
    listener(raw(".envoy_status_port"), { prefix: "/healthz/ready" }, "agent"),
  ];
}

function listener(port: string, match: unknown, to: string) {
  return {
    name: `${to}_listener`,
    address: address(WILDCARD, port),
    ignore_global_conn_limit: true,
    bypass_overload_manager: true,
    filter_chains: [{
      filters: [{
        name: "envoy.filters.network.http_connection_manager",
        typed_config: {
          "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
          stat_prefix: to,
          route_config: {
            virtual_hosts: [{ name: "backend", domains: ["*"], routes: [{ match, route: { cluster: to } }] }],
          },
          http_filters: [{
            name: "envoy.filters.http.router",
            typed_config: { "@type": `${TYPE}.filters.http.router.v3.Router` },
          }],
        },
      }],
    }],
  };
}
