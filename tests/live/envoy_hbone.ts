/**
 * Istio's data plane as the other end of HBONE: an Envoy that takes TCP connections and brings them to an HBONE endpoint, and one
 * that is such an endpoint. Configured as istiod configures a waypoint and a sidecar's `connect_terminate`.
 *
 * @module
 */
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import type { MadeCertificate } from "../certificates.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** Who an Envoy is, and whom it believes. */
export interface EnvoyIdentity {
  readonly certificate: MadeCertificate;
  readonly rootPem: string;
  /** SPIFFE id that the other side must have. */
  readonly peer: string;
}

const TYPE = "type.googleapis.com/envoy.extensions";

function tls(kind: "Upstream" | "Downstream", { certificate, rootPem, peer }: EnvoyIdentity): unknown {
  const common_tls_context = {
    alpn_protocols: ["h2"],
    tls_certificates: [{
      certificate_chain: { inline_string: certificate.certPem },
      private_key: { inline_string: certificate.keyPem },
    }],
    validation_context: {
      trusted_ca: { inline_string: rootPem },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: peer } }],
    },
  };
  const typed_config = {
    "@type": `${TYPE}.transport_sockets.tls.v3.${kind}TlsContext`,
    common_tls_context,
    ...(kind === "Downstream" ? { require_client_certificate: true } : {}),
  };
  return { name: "tls", typed_config };
}

function cluster(name: string, port: number, more: Record<string, unknown> = {}): unknown {
  const endpoint = { address: { socket_address: { address: "127.0.0.1", port_value: port } } };
  const load_assignment = { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] };
  return { name, type: "STATIC", load_assignment, ...more };
}

function listener(port: number, filter: Record<string, unknown>, more: Record<string, unknown> = {}): unknown {
  return {
    name: "in",
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    filter_chains: [{ filters: [{ name: "filter", typed_config: filter }], ...more }],
  };
}

/** One Envoy; disposing it ends it. */
export class Envoy implements AsyncDisposable {
  private constructor(readonly port: number, readonly process: ServerProcess, readonly folder: string) {}

  /** Takes TCP connections on its port and asks the endpoint on `hbonePort` for `authority`. */
  static caller(identity: EnvoyIdentity, { hbonePort, authority }: { hbonePort: number; authority: string }) {
    const port = freePort();
    const proxy = {
      "@type": `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: "hbone",
      cluster: "hbone",
      tunneling_config: { hostname: authority },
    };
    const options = {
      "@type": `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: { allow_connect: true } },
    };
    const upstream = cluster("hbone", hbonePort, {
      transport_socket: tls("Upstream", identity),
      typed_extension_protocol_options: { [`${TYPE.slice(20)}.upstreams.http.v3.HttpProtocolOptions`]: options },
    });
    return Envoy.start(port, { listeners: [listener(port, proxy)], clusters: [upstream] });
  }

  /** Is an endpoint on its port, which lets its peer reach `programPort` by any authority. */
  static endpoint(identity: EnvoyIdentity, programPort: number): Promise<Envoy> {
    const port = freePort();
    const connect = { upgrade_type: "CONNECT", connect_config: {} };
    const route = { match: { connect_matcher: {} }, route: { cluster: "program", upgrade_configs: [connect] } };
    const router = { "@type": `${TYPE}.filters.http.router.v3.Router` };
    const manager = {
      "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: "hbone",
      codec_type: "HTTP2",
      http2_protocol_options: { allow_connect: true },
      upgrade_configs: [{ upgrade_type: "CONNECT" }],
      route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [route] }] },
      http_filters: [{ name: "router", typed_config: router }],
    };
    const own = { transport_socket: tls("Downstream", identity) };
    return Envoy.start(port, {
      listeners: [listener(port, manager, own)],
      clusters: [cluster("program", programPort)],
    });
  }

  /** Starts one with what it has once and for all; ready when its port accepts. */
  static async start(port: number, static_resources: unknown, hostname = "127.0.0.1"): Promise<Envoy> {
    const folder = await Deno.makeTempDir({ prefix: "krun-envoy-" });
    const config = join(folder, "envoy.json");
    await Deno.writeTextFile(config, JSON.stringify({ static_resources }));
    const argv = [await liveTool("envoy"), "-c", config, "--use-dynamic-base-id", "--concurrency", "1"];
    const envoy = new Envoy(port, startProcess(argv, join(folder, "log")), folder);
    await untilReady(envoy.process, async () => {
      const connection = await Deno.connect({ hostname, port });
      connection.close();
      return true;
    });
    return envoy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.end("SIGKILL");
    await Deno.remove(this.folder, { recursive: true });
  }
}
