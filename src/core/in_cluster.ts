/**
 * How a program inside a Pod finds its API server: host and port in the environment, token and CA in files. In: an endpoint.
 * Out: whether that can express it, and the Service that does.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type { ApiEndpoint } from "./cluster.ts";

/** The folder that every in-cluster client reads: client-go `rest.InClusterConfig` and its like in other languages. */
export const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Why host, port and CA file cannot express an endpoint, in words that go on after its name; `undefined` when they can.
 *
 * An in-cluster client takes `https://<host>:<port>` and ca.crt, and nothing else.
 */
export function inClusterFailure(endpoint: ApiEndpoint): string | undefined {
  if (endpoint.refusesServiceAccounts !== undefined) return endpoint.refusesServiceAccounts;
  const url = URL.parse(endpoint.server);
  if (url?.protocol !== "https:") return "it is not an https URL";
  if (url.pathname !== "/" || url.search !== "" || url.username !== "") return "its URL has more than host and port";
  if (endpoint.proxyUrl !== undefined) return "it is reached through a proxy";
  if (endpoint.tlsServerName !== undefined) return "its certificate has another name";
  if (endpoint.insecureSkipTlsVerify) return "its certificate is not verified";
  if (endpoint.caPem === undefined) return "its certificate is verified by the system's roots";
  return undefined;
}

/**
 * The Service `kubernetes` whose variables name the endpoint: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and six more.
 * Only for an endpoint without {@linkcode inClusterFailure}.
 */
export function kubernetesService(endpoint: ApiEndpoint): V1Service {
  const { hostname, port } = new URL(endpoint.server);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default" },
    spec: {
      // The variables want an IPv6 address without brackets; clients put them back.
      clusterIP: hostname.replace(/^\[|\]$/g, ""),
      ports: [{ name: "https", port: port === "" ? 443 : Number(port), protocol: "TCP" }],
    },
  };
}
