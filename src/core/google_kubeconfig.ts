/**
 * A cluster of Google Cloud as a kubeconfig for kubectl: its user is krun itself, as a credential plugin, so that it does not expire.
 * In: the cluster. Out: entries.
 *
 * @module
 */
import type { ClusterConfig } from "./cluster_config.ts";
import type { KubeconfigEntry } from "./kubeconfig_merge.ts";
import type { Plain } from "./yaml_text.ts";

/** Options of {@linkcode googleKubeconfig}. */
export interface GoogleKubeconfigOptions {
  /** The words that start krun. */
  readonly command: readonly string[];
  /** Variables by which the plugin finds its account; none that is secret. */
  readonly env: Readonly<Record<string, string>>;
  readonly namespace?: string | undefined;
}

/** krun's option by which the plugin is started. */
export const EXEC_CREDENTIAL = "--exec-credential";

/** Version of the protocol between kubectl and the plugin. */
export const EXEC_API_VERSION = "client.authentication.k8s.io/v1";

/** The entries of a cluster, all three of one name, as gcloud would call them. */
export function googleKubeconfig(
  { source, server, ca }: ClusterConfig,
  { command, env, namespace }: GoogleKubeconfigOptions,
): KubeconfigEntry {
  const name = contextName(source.where);
  const [program = "krun", ...args] = command;
  const variables = Object.entries(env).map(([name, value]) => ({ name, value }));
  return {
    name,
    cluster: { server, ...(ca && "pem" in ca && { "certificate-authority-data": btoa(ca.pem) }) },
    context: { cluster: name, user: name, ...(namespace !== undefined && { namespace }) },
    user: {
      exec: {
        apiVersion: EXEC_API_VERSION,
        command: program,
        args: [...args, EXEC_CREDENTIAL],
        ...(variables.length > 0 && { env: variables }),
        interactiveMode: "Never",
        provideClusterInfo: false,
      },
    },
  };
}

/** The answer of the plugin. */
export function execCredential(token: string, expiresAtMs: number): string {
  const status = { token, expirationTimestamp: new Date(expiresAtMs).toISOString().replace(/\.\d+Z$/, "Z") };
  return `${JSON.stringify({ kind: "ExecCredential", apiVersion: EXEC_API_VERSION, status })}\n`;
}

/** `gke_P_L_C`, and `connectgateway_P_L_M`. */
function contextName(where: string): string {
  const [, project, , location, kind, name] =
    /^projects\/([^/]+)\/(locations)\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(where) ?? [];
  return `${kind === "memberships" ? "connectgateway" : "gke"}_${project}_${location}_${name}`;
}

/** A whole kubeconfig of one entry. */
export function wholeKubeconfig({ name, cluster, context, user }: KubeconfigEntry): Plain {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster }],
    contexts: [{ name, context }],
    users: [{ name, user }],
  };
}
