/**
 * What every Pod gets without asking: token, CA and namespace in one folder, host and port of the API server in the
 * environment. In: a Pod and the cluster's endpoint. Out: what krun adds to it.
 *
 * Source: plugin/pkg/admission/serviceaccount/admission.go of Kubernetes v1.34.4. Differs in one point: ca.crt is the CA with
 * which krun itself verified the endpoint, not the ConfigMap kube-root-ca.crt, which knows nothing of how krun got there.
 *
 * @module
 */
import type { V1ConfigMap, V1Container, V1Volume, V1VolumeMount, V1VolumeProjection } from "@kubernetes/client-node";
import type { ApiEndpoint } from "./cluster.ts";
import { SERVICE_ACCOUNT_FOLDER } from "./in_cluster.ts";
import { programKubeconfig } from "./program_kubeconfig.ts";

/** Names of ConfigMaps that krun answers itself: no object in a cluster may have a colon in its name. */
const ENDPOINT_CA = "krun:endpoint-ca";
const PROGRAM_KUBECONFIG = "krun:kubeconfig";

/** Admission gives 5 random letters; a name that is always the same is easier to find. */
const TOKEN_VOLUME = "kube-api-access-krun";
const KUBECONFIG_VOLUME = "krun-kubeconfig";

/** Where the generated kubeconfig lies, and its name there. */
const KUBECONFIG_FOLDER = "/var/run/secrets/krun";
const KUBECONFIG_FILE = "kubeconfig";

/** Tells a legacy token's life to the API server, which then extends the token: KEP-1205. */
const EXPIRATION_SECONDS = 3607;

/** A volume, its mount in every container, and the object that it is made from. */
export interface ServiceAccountPart {
  /** Its name is no other volume's. */
  readonly volume: V1Volume;
  /** The same in every container. */
  readonly mount: V1VolumeMount;
  /** What the volume refers to and no cluster holds. */
  readonly localObjects: readonly V1ConfigMap[];
}

/** Whether a volume is one that admission made: it is replaced by krun's own. */
export function isTokenVolume(name: string): boolean {
  return name.startsWith("kube-api-access-");
}

/** The folder of token, ca.crt and namespace; without ca.crt when there is no CA to name. */
export function tokenVolume(endpoint: ApiEndpoint | undefined): ServiceAccountPart {
  const caPem = endpoint?.insecureSkipTlsVerify ? undefined : endpoint?.caPem;
  const sources: V1VolumeProjection[] = [
    { serviceAccountToken: { path: "token", expirationSeconds: EXPIRATION_SECONDS } },
    ...(caPem === undefined ? [] : [{ configMap: { name: ENDPOINT_CA, items: [{ key: "ca.crt", path: "ca.crt" }] } }]),
    {
      downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] },
    },
  ];
  return {
    volume: { name: TOKEN_VOLUME, projected: { defaultMode: 0o644, sources } },
    mount: { name: TOKEN_VOLUME, mountPath: SERVICE_ACCOUNT_FOLDER, readOnly: true },
    localObjects: caPem === undefined ? [] : [configMap(ENDPOINT_CA, { "ca.crt": caPem })],
  };
}

/** Options of {@linkcode kubeconfigVolume}. */
export interface KubeconfigVolumeOptions {
  /** Where the API server is, and how krun verifies it. */
  readonly endpoint: ApiEndpoint;
  /** The workload's. */
  readonly namespace: string;
  /** The final path of a path as a mount has it. */
  placeOf(path: string): string;
}

/** The kubeconfig whose user is the token of {@linkcode tokenVolume}; `path` is where the program finds it. */
export function kubeconfigVolume(options: KubeconfigVolumeOptions): ServiceAccountPart & { readonly path: string } {
  const { endpoint, namespace, placeOf } = options;
  const tokenFile = `${placeOf(SERVICE_ACCOUNT_FOLDER)}/token`;
  const kubeconfig = programKubeconfig({ endpoint, namespace, tokenFile });
  return {
    volume: { name: KUBECONFIG_VOLUME, configMap: { name: PROGRAM_KUBECONFIG, defaultMode: 0o600 } },
    mount: { name: KUBECONFIG_VOLUME, mountPath: KUBECONFIG_FOLDER, readOnly: true },
    localObjects: [configMap(PROGRAM_KUBECONFIG, { [KUBECONFIG_FILE]: kubeconfig })],
    path: `${placeOf(KUBECONFIG_FOLDER)}/${KUBECONFIG_FILE}`,
  };
}

/** Whether a container has something of its own where the token belongs: then admission leaves it alone. */
export function hasOwnToken(container: V1Container): boolean {
  return (container.volumeMounts ?? []).some(({ mountPath }) => mountPath === SERVICE_ACCOUNT_FOLDER);
}

function configMap(name: string, data: Record<string, string>): V1ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}
