/**
 * Envoy's bootstrap for Traffic Director, where no agent stands in between: Envoy itself speaks to Google, as the machine's Google
 * identity. In: a node, ports. Out: the whole file, as text.
 *
 * Source: Google's bootstrap for virtual machines, of which the original program had a copy (cloud-run-mesh
 * scripts/td_bootstrap.yaml). Otherwise than there: `google_default` credentials, which beside the metadata server also know a
 * key file and a user's own; Envoy waits for its first configuration without a limit, since it would else be called ready without
 * one; no tracing by OpenCensus, which Envoy has no more.
 *
 * @module
 */
import { ENVOY_EXTENSION, ENVOY_LOG, httpListener, socketAddress, staticCluster } from "./envoy_resource.ts";
import type { MeshPorts } from "./istio_proxy.ts";
import { TRAFFIC_DIRECTOR_SERVER } from "./traffic_director.ts";
import type { XdsNode } from "./traffic_director_node.ts";

/** Options of {@linkcode trafficDirectorEnvoyBootstrap}. */
export interface TrafficDirectorEnvoyOptions {
  readonly node: XdsNode;
  readonly ports: Pick<MeshPorts, "admin" | "ready" | "prometheus">;
  /** `host:port`. @default {TRAFFIC_DIRECTOR_SERVER} */
  readonly server?: string | undefined;
}

/** Where `ports.ready` is asked for health: the path of a sidecar of Istio. */
export const READY_PATH = "/healthz/ready";

/** The whole file, JSON. */
export function trafficDirectorEnvoyBootstrap({ node, ports, server }: TrafficDirectorEnvoyOptions): string {
  const api = {
    api_type: "GRPC",
    transport_api_version: "V3",
    grpc_services: [{ google_grpc: googleGrpc(server ?? TRAFFIC_DIRECTOR_SERVER) }],
  };
  const bootstrap = {
    application_log_config: ENVOY_LOG,
    node,
    admin: { address: socketAddress("127.0.0.1", ports.admin) },
    dynamic_resources: { lds_config: ADS, cds_config: ADS, ads_config: api },
    cluster_manager: { load_stats_config: api },
    layered_runtime: { layers: [RUNTIME, { name: "admin", admin_layer: {} }] },
    overload_manager: { resource_monitors: [CONNECTIONS] },
    static_resources: {
      clusters: [staticCluster("prometheus_stats", socketAddress("127.0.0.1", ports.admin))],
      listeners: [
        httpListener("ready", {
          address: socketAddress("0.0.0.0", ports.ready),
          routes: [],
          filters: [healthCheck(READY_PATH)],
        }),
        httpListener("prometheus_stats", {
          address: socketAddress("0.0.0.0", ports.prometheus),
          routes: [{ match: { prefix: "/stats/prometheus" }, route: { cluster: "prometheus_stats" } }],
        }),
      ],
    },
  };
  return `${JSON.stringify(bootstrap, null, 1)}\n`;
}

const ADS = { ads: {}, initial_fetch_timeout: "0s", resource_api_version: "V3" };

/** Envoy asks for it before all else: for 15 s, if nobody limits it and the server has none (seen with Envoy 1.40). */
const RUNTIME = {
  name: "rtds_layer",
  rtds_layer: {
    name: "traffic_director_runtime",
    rtds_config: { ads: {}, initial_fetch_timeout: "1s", resource_api_version: "V3" },
  },
};

/** No limit, said: Envoy warns of each start without one. The number is that of Istio's agent. */
const CONNECTIONS = {
  name: "envoy.resource_monitors.global_downstream_max_connections",
  typed_config: {
    "@type": `${ENVOY_EXTENSION}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
    max_active_downstream_connections: 2_147_483_645,
  },
};

/** TLS by the machine's CAs, and on each call a token of the machine's Google identity. */
function googleGrpc(server: string) {
  return {
    target_uri: server,
    stat_prefix: "trafficdirector",
    channel_credentials: { google_default: {} },
    channel_args: {
      args: {
        "grpc.http2.max_pings_without_data": { int_value: 0 },
        "grpc.keepalive_time_ms": { int_value: 10_000 },
        "grpc.keepalive_timeout_ms": { int_value: 20_000 },
      },
    },
  };
}

/**
 * Health that Envoy says of itself. Its listeners open once it has had its first clusters and listeners, and no sooner: until then
 * a connection is refused, from then on the answer is 200.
 */
function healthCheck(path: string) {
  return {
    name: "envoy.filters.http.health_check",
    typed_config: {
      "@type": `${ENVOY_EXTENSION}.filters.http.health_check.v3.HealthCheck`,
      pass_through_mode: false,
      headers: [{ name: ":path", string_match: { exact: path } }],
    },
  };
}
