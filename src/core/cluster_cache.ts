/**
 * What krun keeps of a cluster that it found, so that the next start need not look again: its address and CA, no credentials. In:
 * a cluster. Out: the text of a file, and the other way round.
 *
 * @module
 */
import type { ClusterSource } from "./cluster.ts";
import { googleHost } from "./google_endpoint.ts";
import type { GoogleSettings } from "./google_settings.ts";

/** What is kept. */
export interface CachedCluster {
  /** Settings by which it was found: with others it is not meant. */
  readonly key: string;
  /** Who found it, and where: another account, or the same elsewhere, might find another. */
  readonly whereabouts: Whereabouts;
  readonly server: string;
  /** PEM; `undefined`: the public CAs. */
  readonly caPem: string | undefined;
  /** As in `ClusterConfig`. */
  readonly refusesServiceAccounts?: string | undefined;
  readonly source: ClusterSource;
}

/** Who and where krun is, as far as Google Cloud says it. */
export interface Whereabouts {
  /** E-mail of krun's own account. */
  readonly user: string | undefined;
  /** Id of the project that the machine is in. */
  readonly ownProject: string | undefined;
  /** Region of the machine. */
  readonly region: string | undefined;
}

/** Whether they are the same. */
export function isSamePlace(one: Whereabouts, other: Whereabouts): boolean {
  return one.user === other.user && one.ownProject === other.ownProject && one.region === other.region;
}

/** Name of the file in krun's state folder. */
export const CLUSTER_CACHE = "cluster.json";

const VERSION = 2;

/** Equal where equal clusters would be found: everything that the choice depends on and that is set. */
export function cacheKey(settings: GoogleSettings, namesNamespace: boolean): string {
  const { clusterName, location, projectId, projectNumber, target, endpoint, credentialsFile, metadataHost } = settings;
  return JSON.stringify([
    ...[clusterName, location, projectId, projectNumber, target, endpoint, credentialsFile, metadataHost],
    namesNamespace,
  ]);
}

/** The file's text. */
export function cacheText(cluster: CachedCluster): string {
  return `${JSON.stringify({ version: VERSION, ...cluster })}\n`;
}

/** Reads it; `undefined` when it is none of ours, or of another version. Never throws. */
export function parseCache(text: string): CachedCluster | undefined {
  try {
    const { version, key, whereabouts, server, caPem, refusesServiceAccounts, source } = JSON.parse(text);
    if (version !== VERSION || typeof key !== "string" || typeof server !== "string") return undefined;
    if (caPem !== undefined && !(typeof caPem === "string" && caPem.includes("-----BEGIN CERTIFICATE-----"))) {
      return undefined;
    }
    // Without a CA of its own it is one of Google's names, which nobody else can have a certificate for.
    const url = URL.parse(server);
    if (url?.protocol !== "https:" || url.username !== "" || url.search !== "") return undefined;
    if (caPem === undefined && googleHost(url.hostname) === undefined && !url.hostname.endsWith(".gke.goog")) {
      return undefined;
    }
    if (source?.kind !== "google" || typeof source.where !== "string") return undefined;
    if (refusesServiceAccounts !== undefined && typeof refusesServiceAccounts !== "string") return undefined;
    const { user, ownProject, region } = whereabouts;
    const refuses = refusesServiceAccounts === undefined ? {} : { refusesServiceAccounts };
    return { key, whereabouts: { user, ownProject, region }, server, caPem, ...refuses, source };
  } catch {
    return undefined;
  }
}
