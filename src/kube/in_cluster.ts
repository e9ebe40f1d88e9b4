/**
 * The cluster of the Pod that krun itself runs in. In: the folder of its service account and two variables of its environment.
 * Out: a {@linkcode ClusterConfig}, or nothing when krun is in no Pod.
 *
 * @module
 */
import type { ClusterConfig } from "../core/cluster_config.ts";
import { jwtClaims } from "../core/jwt.ts";
import { join } from "../core/posix_path.ts";

/** Where the kubelet mounts the service account. */
export const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Options of {@linkcode findInCluster}. */
export interface InClusterOptions {
  /** @default {SERVICE_ACCOUNT_FOLDER} */
  readonly folder?: string | undefined;
  /** KUBERNETES_SERVICE_HOST */
  readonly host: string | undefined;
  /** KUBERNETES_SERVICE_PORT. @default {"443"} */
  readonly port?: string | undefined;
}

/**
 * As client-go: in a Pod is who has KUBERNETES_SERVICE_HOST and a token file. The token is read again when it changes.
 *
 * @returns why not, when krun is in no Pod
 */
export async function findInCluster(
  { folder = SERVICE_ACCOUNT_FOLDER, host, port = "443" }: InClusterOptions,
): Promise<ClusterConfig | string> {
  if (!host) return "KUBERNETES_SERVICE_HOST is not set";
  const tokenFile = join(folder, "token");
  const token = await Deno.readTextFile(tokenFile).catch(() => undefined);
  if (token === undefined) return `there is no "${tokenFile}"`;
  const caFile = join(folder, "ca.crt");
  const namespace = await Deno.readTextFile(join(folder, "namespace")).catch(() => "");
  const [, account] = /^system:serviceaccount:[^:]+:([^:]+)$/.exec(String(jwtClaims(token)?.sub)) ?? [];
  return {
    source: {
      ...{ kind: "in-cluster", where: folder },
      ...(namespace.trim() && { namespace: namespace.trim() }),
      ...(account !== undefined && { serviceAccount: account }),
    },
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: await exists(caFile) ? { file: caFile } : undefined,
    user: { tokenFile },
  };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
