/**
 * The file that tells a gRPC library in the program itself (xds:///...) where Traffic Director is. In: a node. Out: text.
 *
 * Fields: gRFC A27 (servers, credentials, node), A30 (`xds_v3`), A29 (certificate providers), A36 (the server's template), A47
 * (authorities, the client's templates). Their values are those of Google's generator,
 * GoogleCloudPlatform/traffic-director-grpc-bootstrap main.go at 11a44a4.
 *
 * @module
 */
import { networkIdentifier, TRAFFIC_DIRECTOR_SERVER, type TrafficDirector } from "./traffic_director.ts";
import type { XdsNode } from "./traffic_director_node.ts";

/** Options of {@linkcode trafficDirectorGrpcBootstrap}. */
export interface TrafficDirectorGrpcOptions {
  readonly node: XdsNode;
  /** Folder with private_key.pem, certificates.pem and ca_certificates.pem; read only where Traffic Director asks for TLS. */
  readonly certificates: string;
  /** `host:port`. @default {TRAFFIC_DIRECTOR_SERVER} */
  readonly server?: string | undefined;
}

const AUTHORITY = "traffic-director-global.xds.googleapis.com";

/** Of Google's own services, whose client libraries look for it in whatever bootstrap the process has. */
const C2P_AUTHORITY = "traffic-director-c2p.xds.googleapis.com";

const LISTENER = "envoy.config.listener.v3.Listener";

/** As Google's library of credentials finds them: a key file, the user's own, the metadata server. */
const GOOGLE_DEFAULT = [{ type: "google_default" }];

/** The whole file. */
export function trafficDirectorGrpcBootstrap(mesh: TrafficDirector, options: TrafficDirectorGrpcOptions): string {
  const { node, certificates, server = TRAFFIC_DIRECTOR_SERVER } = options;
  const template = `xdstp://${AUTHORITY}/${LISTENER}/${mesh.projectNumber}/${networkIdentifier(mesh)}/%s`;
  const bootstrap = {
    xds_servers: [{ server_uri: server, channel_creds: GOOGLE_DEFAULT, server_features: ["xds_v3"] }],
    authorities: {
      [AUTHORITY]: { client_listener_resource_name_template: template },
      [C2P_AUTHORITY]: {
        xds_servers: [{
          server_uri: "dns:///directpath-pa.googleapis.com",
          channel_creds: GOOGLE_DEFAULT,
          server_features: ["xds_v3", "ignore_resource_deletion"],
        }],
        client_listener_resource_name_template: `xdstp://${C2P_AUTHORITY}/${LISTENER}/%s`,
      },
    },
    node,
    certificate_providers: {
      // The name by which Traffic Director refers to it.
      google_cloud_private_spiffe: {
        plugin_name: "file_watcher",
        config: {
          certificate_file: `${certificates}/certificates.pem`,
          private_key_file: `${certificates}/private_key.pem`,
          ca_certificate_file: `${certificates}/ca_certificates.pem`,
          refresh_interval: "600s",
        },
      },
    },
    server_listener_resource_name_template: "grpc/server?xds.resource.listening_address=%s",
    client_default_listener_resource_name_template: template,
  };
  return `${JSON.stringify(bootstrap, null, 1)}\n`;
}
