/**
 * Members of a fleet, and Connect Gateway, by which each of them is reached. In: what the GKE Hub API lists. Out: names, and the
 * URL of a member's API server.
 *
 * Sources: Connect Gateway, "generateCredentials"; facts of the sheet, 6.5: the gateway wants the project's number, and
 * `gkeMemberships` for GKE clusters.
 *
 * @module
 */
import type { Choosable } from "./gke_cluster.ts";
import { clusterProvider, type MembershipName, parseMembershipName, type WorkloadProvider } from "./google_resource.ts";

/** A membership as the GKE Hub API describes it (gkehub.googleapis.com/v1), as far as krun reads it. */
export interface FleetMembership {
  /** `projects/P/locations/L/memberships/M`. */
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly state?: { readonly code?: string };
  readonly endpoint?: { readonly gkeCluster?: { readonly resourceLink?: string } };
  readonly authority?: { readonly workloadIdentityPool?: string; readonly identityProvider?: string };
}

/** A membership with its name taken apart, to be chosen as a cluster is. */
export interface FleetMember extends Choosable {
  readonly membership: MembershipName;
  readonly isGke: boolean;
  readonly provider: WorkloadProvider | undefined;
}

/**
 * A member that can be reached; `undefined` for one that is not ready, or whose name cannot be read.
 *
 * A member is as near as the GKE cluster that it is, since most of them are in location `global`.
 */
export function fleetMember({ name, labels, state, endpoint, authority }: FleetMembership): FleetMember | undefined {
  const membership = parseMembershipName(`//gkehub.googleapis.com/${name}`);
  if (membership === undefined || (state?.code ?? "READY") !== "READY") return undefined;
  const link = endpoint?.gkeCluster?.resourceLink;
  const [, ofCluster] = /\/(?:locations|zones)\/([a-z0-9-]+)\/clusters\//.exec(link ?? "") ?? [];
  const { workloadIdentityPool: pool, identityProvider } = authority ?? {};
  return {
    membership,
    name: membership.membership,
    location: ofCluster ?? membership.location,
    labels,
    isGke: link !== undefined,
    provider: pool && identityProvider ? clusterProvider(pool, identityProvider) : undefined,
  };
}

/** URL of a member's API server. */
export function gatewayServer(
  { membership: { location, membership }, isGke }: Pick<FleetMember, "membership" | "isGke">,
  projectNumber: string,
): string {
  const host = location === "global" ? "connectgateway.googleapis.com" : `${location}-connectgateway.googleapis.com`;
  const kind = isGke ? "gkeMemberships" : "memberships";
  return `https://${host}/v1/projects/${projectNumber}/locations/${location}/${kind}/${membership}`;
}
