/**
 * Envoy as a platform's front end: it ends TLS, of HTTP/2 and HTTP/1.1, and passes every request on by HTTP/2 without TLS. In: an
 * address and a port behind it. Out: an origin, with a certificate of an authority of its own.
 *
 * @module
 */
import { TestAuthority } from "../certificates.ts";
import { waitFor } from "../wait.ts";
import { Envoy } from "./envoy_hbone.ts";
import { freePort } from "./server_process.ts";

const TYPE = "type.googleapis.com/envoy.extensions";
const LOGGED = ["method", "path", "authority", "authorization"] as const;

/** A request's head as Envoy has passed it on. */
export type LoggedRequest = Readonly<Record<(typeof LOGGED)[number], string | null>>;

/** Options of {@linkcode EnvoyFrontEnd.start}. */
export interface EnvoyFrontEndOptions {
  /** Address that it listens on. */
  readonly hostname: string;
  /** @default {a free one} */
  readonly port?: number;
  /** Name in its certificate. @default {"localhost"} */
  readonly name?: string;
  /** What it passes requests on to. */
  readonly behind: { readonly address: string; readonly port: number };
}

/** A front end; disposing it ends it. */
export class EnvoyFrontEnd implements AsyncDisposable {
  private constructor(readonly origin: string, readonly authority: TestAuthority, readonly envoy: Envoy) {}

  static async start({ hostname, port = freePort(), name = "localhost", behind }: EnvoyFrontEndOptions) {
    const authority = new TestAuthority();
    const { certPem, keyPem } = authority.issue({ dnsNames: [name] });
    const envoy = await Envoy.start(port, {
      listeners: [listener({ hostname, port, certPem, keyPem })],
      clusters: [cluster(behind)],
    }, hostname);
    return new EnvoyFrontEnd(`https://${name}:${port}`, authority, envoy);
  }

  /** The requests so far, once there are as many; Envoy writes one down when it has ended. */
  requests(count: number): Promise<LoggedRequest[]> {
    return waitFor(`${count} requests in Envoy's log`, async () => {
      const lines = (await Deno.readTextFile(this.envoy.process.log)).split("\n");
      const requests = lines.filter((line) => line.startsWith('{"')).map((line) => JSON.parse(line) as LoggedRequest);
      return requests.length >= count ? requests : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.envoy[Symbol.asyncDispose]();
  }
}

interface Place {
  readonly hostname: string;
  readonly port: number;
  readonly certPem: string;
  readonly keyPem: string;
}

function listener({ hostname, port, certPem, keyPem }: Place): unknown {
  const names = { method: ":METHOD", path: ":PATH", authority: ":AUTHORITY", authorization: "AUTHORIZATION" };
  const json_format = Object.fromEntries(LOGGED.map((name) => [name, `%REQ(${names[name]})%`]));
  const manager = {
    "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "front",
    codec_type: "AUTO",
    upgrade_configs: [{ upgrade_type: "websocket" }],
    stream_idle_timeout: "0s",
    route_config: {
      virtual_hosts: [{
        name: "all",
        domains: ["*"],
        routes: [{ match: { prefix: "/" }, route: { cluster: "behind", timeout: "0s" } }],
      }],
    },
    access_log: [{
      name: "stdout",
      typed_config: { "@type": `${TYPE}.access_loggers.stream.v3.StdoutAccessLog`, log_format: { json_format } },
    }],
    http_filters: [{ name: "router", typed_config: { "@type": `${TYPE}.filters.http.router.v3.Router` } }],
  };
  const transport = {
    "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    common_tls_context: {
      alpn_protocols: ["h2", "http/1.1"],
      tls_certificates: [{ certificate_chain: { inline_string: certPem }, private_key: { inline_string: keyPem } }],
    },
  };
  return {
    name: "front",
    address: { socket_address: { address: hostname, port_value: port } },
    filter_chains: [{
      filters: [{ name: "http", typed_config: manager }],
      transport_socket: { name: "tls", typed_config: transport },
    }],
  };
}

function cluster({ address, port }: EnvoyFrontEndOptions["behind"]): unknown {
  const endpoint = { address: { socket_address: { address, port_value: port } } };
  const options = {
    "@type": `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  };
  return {
    name: "behind",
    type: "STATIC",
    load_assignment: { cluster_name: "behind", endpoints: [{ lb_endpoints: [{ endpoint }] }] },
    typed_extension_protocol_options: { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
  };
}
