/**
 * Names of clusters and fleet memberships as Google's APIs spell them. In: a text. Out: its parts, and the other way round.
 *
 * Every part is checked, since it becomes part of a URL: what comes out holds no slash, blank, quotation mark or percent sign.
 *
 * @module
 */

/** A GKE cluster. */
export interface GkeClusterName {
  /** Id or number. */
  readonly project: string;
  /** Zone or region. */
  readonly location: string;
  readonly cluster: string;
}

/** A member of a fleet. */
export interface MembershipName {
  /** Id or number. */
  readonly project: string;
  /** Region, or `global`. */
  readonly location: string;
  readonly membership: string;
}

/** A provider of a workload identity pool: who believes a service account's tokens, and for which audience. */
export interface WorkloadProvider {
  /** Audience of the Kubernetes token that is shown. */
  readonly tokenAudience: string;
  /** Audience of the exchange at Google's Security Token Service. */
  readonly stsAudience: string;
}

/** Id of a project (an old one has a domain before a colon) or its number. */
const PROJECT = "(?:[a-z0-9][a-z0-9.-]*:)?[a-z0-9][a-z0-9-]*";
/** Locations, clusters and memberships. */
const NAME = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?";

const CLUSTER = new RegExp(
  `^(?:https:)?//container\\.googleapis\\.com/(?:v1(?:beta1)?/)?` +
    `projects/(${PROJECT})/(?:locations|zones)/(${NAME})/clusters/(${NAME})$`,
);
const MEMBERSHIP = new RegExp(
  `^(?:https:)?//gkehub\\.googleapis\\.com/(?:v1(?:beta1)?/)?projects/(${PROJECT})/locations/(${NAME})/memberships/(${NAME})$`,
);
const POOL_PROVIDER = new RegExp(
  `^(?:(?:https:)?//iam\\.googleapis\\.com/)?(projects/\\d+/locations/global/workloadIdentityPools/${NAME}/providers/${NAME})$`,
);

/** Whether a text is a project's id or number. */
export function isProject(text: string): boolean {
  return new RegExp(`^${PROJECT}$`).test(text) && text.length <= 100;
}

/** Whether a text can be the name of a location, a cluster or a membership. */
export function isGoogleName(text: string): boolean {
  return new RegExp(`^${NAME}$`).test(text) && text.length <= 63;
}

/** Reads `//container.googleapis.com/projects/P/locations/L/clusters/C`, also a selfLink; `undefined` when it is none. */
export function parseClusterName(text: string): GkeClusterName | undefined {
  const [, project, location, cluster] = CLUSTER.exec(text) ?? [];
  return project && location && cluster ? { project, location, cluster } : undefined;
}

/** Reads `//gkehub.googleapis.com/projects/P/locations/L/memberships/M`; `undefined` when it is none. */
export function parseMembershipName(text: string): MembershipName | undefined {
  const [, project, location, membership] = MEMBERSHIP.exec(text) ?? [];
  return project && location && membership ? { project, location, membership } : undefined;
}

/** `projects/P/locations/L/clusters/C`. */
export function clusterPath({ project, location, cluster }: GkeClusterName): string {
  return `projects/${project}/locations/${location}/clusters/${cluster}`;
}

/** `projects/P/locations/L/memberships/M`. */
export function membershipPath({ project, location, membership }: MembershipName): string {
  return `projects/${project}/locations/${location}/memberships/${membership}`;
}

/**
 * The provider that a pool of the cluster's project has for each of its clusters.
 *
 * @param pool `PROJECT.svc.id.goog`
 * @param identityProvider URL of the cluster, `https://container.googleapis.com/v1/projects/P/locations/L/clusters/C`, or what a
 * membership's authority says
 */
export function clusterProvider(pool: string, identityProvider: string): WorkloadProvider {
  return { tokenAudience: pool, stsAudience: `identitynamespace:${pool}:${identityProvider}` };
}

/**
 * A Kubernetes service account as IAM names it where a role is granted to it: `serviceAccount:PROJECT.svc.id.goog[shop/web]`, or a
 * principal of somebody's own pool whose provider takes the subject as it is.
 *
 * @param subject `namespace/name`
 */
export function workloadMember({ tokenAudience }: WorkloadProvider, subject: string): string {
  const [, pool] = /^https:\/\/(iam\.googleapis\.com\/.*)\/providers\/[^/]*$/.exec(tokenAudience) ?? [];
  if (pool === undefined) return `serviceAccount:${tokenAudience}[${subject}]`;
  return `principal://${pool}/subject/system:serviceaccount:${subject.replace("/", ":")}`;
}

/**
 * Reads a provider of somebody's own pool, as its resource name is written, with or without the service before it; or a
 * cluster's, as `identitynamespace:POOL:PROVIDER`. `undefined` when it is neither.
 */
export function parseWorkloadProvider(text: string): WorkloadProvider | undefined {
  const [, path] = POOL_PROVIDER.exec(text) ?? [];
  // What a provider allows where nobody says otherwise ("Workload Identity Federation with Kubernetes").
  if (path) {
    return { tokenAudience: `https://iam.googleapis.com/${path}`, stsAudience: `//iam.googleapis.com/${path}` };
  }
  const [, pool, provider] =
    /^identitynamespace:([a-z0-9.-]+\.(?:svc|hub)\.id\.goog):(https:\/\/[\w./-]+)$/.exec(text) ?? [];
  return pool && provider ? clusterProvider(pool, provider) : undefined;
}
