/**
 * The mesh agent's part in Envoy's bootstrap, for tests.
 *
 * @module
 */

/** What the agent knows, in the form in which it hands it to a template (pkg/bootstrap/option of Istio 1.31). */
const VALUES: Readonly<Record<string, string>> = {
  ".nodeID": "sidecar~10.0.0.5~web.shop~shop.svc.cluster.local",
  ".cluster": "web.shop",
  ".region": "",
  ".zone": "",
  ".sub_zone": "",
  ".meta_json_str": '{"NAMESPACE":"shop"}',
  ".runtime_flags": '{"overload.global_downstream_max_connections":"2147483647"}',
  ".localhost": "127.0.0.1",
  ".wildcard": "0.0.0.0",
  ".config.ProxyAdminPort": "15000",
  ".config.StatusPort": "15020",
  ".config.ConfigPath": "/etc/istio/proxy",
  ".xds_type": "DELTA_GRPC",
  ".workload_identity_socket_file": "socket",
  ".envoy_prometheus_port": "15090",
  ".envoy_status_port": "15021",
  ".global_downstream_max_connections": "2147483645",
};

/** The values that a template asks for. */
export function bootstrapValues(template: string): Set<string> {
  return new Set([...template.matchAll(/\{\{-?[^}]*?(\.[\w.]+)[^}]*\}\}/g)].map(([, name]) => name!));
}

/** The template with its values. @throws {Error} for a value that the agent does not know. */
export function filledBootstrap(template: string): string {
  return template.replaceAll(/\{\{ (\.[\w.]+) \}\}/g, (_, name: string) => {
    const value = VALUES[name];
    if (value === undefined) throw new Error(`the agent knows no ${name}`);
    return value;
  });
}
