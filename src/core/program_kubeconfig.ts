/**
 * The kubeconfig that a program gets: the endpoint krun uses, and the workload's token file as the user.
 *
 * @module
 */
import type { ApiEndpoint } from "./cluster.ts";

/** Options of {@linkcode programKubeconfig}. */
export interface ProgramKubeconfigOptions {
  /** Where the API server is, and how krun verifies it. */
  readonly endpoint: ApiEndpoint;
  /** Namespace of the context. */
  readonly namespace: string;
  /** Absolute path of the workload's token; clients read it again when it changes. */
  readonly tokenFile: string;
}

/**
 * Text of a kubeconfig, as JSON, which is YAML too. The token stays in its file; a proxy URL may hold a password, so
 * the file is for its reader alone.
 */
export function programKubeconfig({ endpoint, namespace, tokenFile }: ProgramKubeconfigOptions): string {
  const { server, caPem, tlsServerName, proxyUrl, insecureSkipTlsVerify } = endpoint;
  // Clients refuse a CA beside insecure-skip-tls-verify.
  const ca = insecureSkipTlsVerify ? undefined : caPem;
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{
      name: "krun",
      cluster: {
        server,
        ...(ca !== undefined && { "certificate-authority-data": new TextEncoder().encode(ca).toBase64() }),
        ...(insecureSkipTlsVerify && { "insecure-skip-tls-verify": true }),
        ...(tlsServerName !== undefined && { "tls-server-name": tlsServerName }),
        ...(proxyUrl !== undefined && { "proxy-url": proxyUrl }),
      },
    }],
    // The JavaScript client reads its own spelling alone, once at its start (@kubernetes/client-node 2.0.1, config_types.js);
    // kubectl ignores it. The auth-provider by which that client would read again makes kubectl fail.
    users: [{ name: "workload", user: { tokenFile, "token-file": tokenFile } }],
    contexts: [{ name: "krun", context: { cluster: "krun", user: "workload", namespace } }],
    "current-context": "krun",
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
