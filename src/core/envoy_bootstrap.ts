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
import { ENVOY_EXTENSION, ENVOY_LOG, httpListener, socketAddress, staticCluster } from "./envoy_resource.ts";

/** A value that the agent fills in, with its quotation marks or as it is. */
const filled = (expression: string) => `{{ ${expression} }}`;
const RAW = /"<<(.*?)>>"/g;
const raw = (expression: string) => `<<${expression}>>`;

const LOCALHOST = filled(".localhost"), WILDCARD = filled(".wildcard");

/** The whole template. */
export function envoyBootstrapTemplate(): string {
  const template = {
    application_log_config: ENVOY_LOG,
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
        typed_config: { "@type": `${ENVOY_EXTENSION}.bootstrap.internal_listener.v3.InternalListener` },
      },
    ],
    // The agent marks the end of a cluster's name by a semicolon, since the name may hold dots.
    stats_config: { stats_tags: [{ tag_name: "cluster_name", regex: String.raw`^cluster(\.(.+);)` }] },
    admin: { address: socketAddress(LOCALHOST, raw(".config.ProxyAdminPort")) },
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
          "@type": `${ENVOY_EXTENSION}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
          max_active_downstream_connections: raw(".global_downstream_max_connections"),
        },
      }],
    },
  };
  return JSON.stringify(template, null, 1).replaceAll(RAW, (_, expression: string) => filled(expression));
}

const ADS = { ads: {}, initial_fetch_timeout: "0s", resource_api_version: "V3" };

function clusters() {
  const options = `${ENVOY_EXTENSION}.upstreams.http.v3.HttpProtocolOptions`;
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
    staticCluster("prometheus_stats", socketAddress(LOCALHOST, raw(".config.ProxyAdminPort"))),
    staticCluster("agent", socketAddress(LOCALHOST, raw(".config.StatusPort"))),
    staticCluster("sds-grpc", { pipe: { path: sockets } }, http2),
    staticCluster("xds-grpc", { pipe: { path: `${filled(".config.ConfigPath")}/XDS` } }, {
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
  return httpListener(to, { address: socketAddress(WILDCARD, port), routes: [{ match, route: { cluster: to } }] });
}
