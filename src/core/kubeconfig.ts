/**
 * What kubeconfig files say: merged by kubectl's rules, one context chosen and checked. Pure: the files' parsed documents come
 * in, one {@linkcode ClusterConfig} goes out; files that it names are not read here.
 *
 * Rules: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files
 *
 * @module
 */
import type { ClusterSource } from "./cluster.ts";
import type { ClusterConfig } from "./cluster_config.ts";
import { type Fields, kubeconfigInvalid, KubeconfigPlace } from "./kubeconfig_place.ts";
import { userFields } from "./kubeconfig_user.ts";

/** One kubeconfig file, parsed. */
export interface KubeconfigDocument {
  /** Absolute path: relative paths in the file are relative to its folder. */
  readonly file: string;
  readonly document: unknown;
}

/** A named entry and the file that defined it. */
interface Entry {
  readonly fields: Fields;
  readonly file: string;
}

/** Several kubeconfig files as one. */
export interface Kubeconfig {
  readonly files: readonly string[];
  readonly currentContext: string | undefined;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
  readonly contexts: ReadonlyMap<string, Entry>;
}

/**
 * Merges documents in the order of KUBECONFIG: the first file that names a cluster, user or context defines all of it, and the
 * first that has a `current-context` sets it.
 *
 * @throws {KrunError} `KubeconfigInvalid` when a document is not a kubeconfig, or one list has a name twice.
 */
export function mergeKubeconfigs(documents: readonly KubeconfigDocument[]): Kubeconfig {
  const merged = {
    clusters: new Map<string, Entry>(),
    users: new Map<string, Entry>(),
    contexts: new Map<string, Entry>(),
  };
  let currentContext: string | undefined;
  for (const { file, document } of documents) {
    const at = new KubeconfigPlace(file, "");
    const top = document === null || document === undefined ? {} : at.fields(document);
    const kind = at.optionalText(top, "kind");
    if (kind !== undefined && kind !== "Config") throw at.fault(`its kind is "${kind}", not "Config"`);
    for (const [list, entry] of [["clusters", "cluster"], ["users", "user"], ["contexts", "context"]] as const) {
      for (const [name, fields] of namedEntries(top, list, entry, at)) {
        if (!merged[list].has(name)) merged[list].set(name, { fields, file });
      }
    }
    currentContext ??= at.optionalText(top, "current-context");
  }
  return { files: documents.map((d) => d.file), currentContext, ...merged };
}

/**
 * The cluster and user of one context.
 *
 * @param context the context's name; unset: the `current-context`
 * @throws {KrunError} `KubeconfigInvalid` naming file, context and user.
 */
export function selectContext(kubeconfig: Kubeconfig, context?: string): ClusterConfig {
  const files = kubeconfig.files.join(":");
  const known = `known contexts: ${[...kubeconfig.contexts.keys()].join(", ") || "none"}`;
  const name = context ?? kubeconfig.currentContext;
  if (name === undefined) {
    throw kubeconfigInvalid(
      `Cannot choose a context of kubeconfig "${files}": no current-context is set; ${known}`,
      SET_CONTEXT,
    );
  }
  const chosen = kubeconfig.contexts.get(name);
  if (!chosen) throw kubeconfigInvalid(`Cannot find context "${name}" in kubeconfig "${files}": ${known}`, SET_CONTEXT);
  const at = new KubeconfigPlace(chosen.file, `context "${name}"`);
  const clusterName = at.text(chosen.fields, "cluster");
  const cluster = kubeconfig.clusters.get(clusterName);
  if (!cluster) throw at.fault(`its cluster "${clusterName}" is not defined`);
  const userName = at.optionalText(chosen.fields, "user");
  const user = userName === undefined ? undefined : kubeconfig.users.get(userName);
  if (userName !== undefined && !user) throw at.fault(`its user "${userName}" is not defined`);
  const namespace = at.optionalText(chosen.fields, "namespace");
  const source: ClusterSource = {
    kind: "kubeconfig",
    where: chosen.file,
    context: name,
    cluster: clusterName,
    ...(userName === undefined ? {} : { user: userName }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  const userPlace = `context "${name}", user "${userName}"`;
  return {
    source,
    ...clusterFields(cluster, new KubeconfigPlace(cluster.file, `context "${name}", cluster "${clusterName}"`)),
    user: user ? userFields(user.fields, new KubeconfigPlace(user.file, userPlace), cluster.fields) : {},
  };
}

const SET_CONTEXT = "set KRUN_CONTEXT to one of them, or correct KUBECONFIG";

function* namedEntries(top: Fields, list: string, entry: string, at: KubeconfigPlace): Generator<[string, Fields]> {
  const seen = new Set<string>();
  for (const item of at.list(top, list)) {
    const named = at.fields(item, `an entry of "${list}"`);
    const name = at.optionalText(named, "name") ?? "";
    if (seen.has(name)) throw at.fault(`"${list}" has the name "${name}" twice`);
    seen.add(name);
    yield [name, at.fields(named[entry] ?? {}, `${entry} "${name}"`)];
  }
}

function clusterFields({ fields }: Entry, at: KubeconfigPlace): Omit<ClusterConfig, "source" | "user"> {
  const ca = at.pem(fields, "certificate-authority");
  const insecureSkipTlsVerify = at.flag(fields, "insecure-skip-tls-verify");
  if (ca && insecureSkipTlsVerify) {
    throw at.fault("it has a certificate-authority and insecure-skip-tls-verify as well");
  }
  const tlsServerName = at.optionalText(fields, "tls-server-name");
  const proxyUrl = at.optionalText(fields, "proxy-url");
  if (proxyUrl !== undefined) checkProxyUrl(proxyUrl, at);
  const usesTls = ca !== undefined || insecureSkipTlsVerify;
  return {
    server: serverUrl(at.text(fields, "server"), usesTls, at),
    ca,
    ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    ...(proxyUrl === undefined ? {} : { proxyUrl }),
  };
}

/** As client-go: without a scheme it is https where the cluster has TLS settings, else http. */
function serverUrl(server: string, usesTls: boolean, at: KubeconfigPlace): string {
  const text = server.includes("://") ? server : `${usesTls ? "https" : "http"}://${server}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // client-go ignores them; a password in the URL of a log line is what nobody wants. First, since an error is printed too.
  if (url?.username || url?.password) throw at.fault("its server URL holds a user name or password");
  if (!url || !["http:", "https:"].includes(url.protocol)) {
    // Where the text is no URL, nobody knows what is before an @.
    const shown = server.includes("@") ? "its server" : `server "${server}"`;
    throw at.fault(`${shown} is not an http or https URL`);
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

function checkProxyUrl(proxyUrl: string, at: KubeconfigPlace): void {
  const url = URL.canParse(proxyUrl) ? new URL(proxyUrl) : undefined;
  if (!url || !["http:", "https:", "socks5:"].includes(url.protocol)) {
    throw at.fault("its proxy-url is not an http, https or socks5 URL");
  }
}
