/**
 * Asks Google for the clusters of a project and takes one: first the GKE API, then the fleet. In: a project and wishes. Out: a
 * {@linkcode ClusterConfig}.
 *
 * @module
 */
import type { ClusterSource } from "../core/cluster.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { type FleetMember, fleetMember, type FleetMembership, gatewayServer } from "../core/fleet_membership.ts";
import {
  chooseCluster,
  type ClusterWish,
  type GkeCluster,
  type GkeEndpoint,
  gkeEndpoint,
  isGkeHost,
  isUsable,
} from "../core/gke_cluster.ts";
import { isWithin } from "../core/google_location.ts";
import { clusterPath, clusterProvider, membershipPath, parseClusterName } from "../core/google_resource.ts";
import type { GoogleSettings } from "../core/google_settings.ts";
import { namespaceOfAccount, namespaceOfProject } from "../core/google_namespace.ts";
import type { Logger } from "../core/log.ts";
import type { GoogleAccount } from "./google_account.ts";
import type { GoogleTry } from "./google_http.ts";
import type { MetadataServer } from "./metadata_server.ts";

/** Where krun runs, and where it looks. */
export interface GooglePlace {
  /** Of the cluster: id or number. */
  readonly project: string;
  /** Of this machine; unset off Google Cloud. */
  readonly ownProject: string | undefined;
  /** Of this machine. */
  readonly region: string | undefined;
}

/** Options of {@linkcode lookUpCluster}. */
export interface LookUpOptions extends GoogleTry {
  readonly settings: GoogleSettings;
  readonly namesNamespace: boolean;
  readonly account: GoogleAccount;
  readonly metadata: MetadataServer;
  readonly log: Logger;
}

/** What was found. */
export interface LookedUp {
  readonly config: ClusterConfig;
  /** A later look may find another one: not all could be seen. */
  readonly isPartial: boolean;
}

/** A cluster before its namespace and its user are known. */
type Draft = Omit<ClusterConfig, "source" | "user"> & {
  readonly source: Omit<ClusterSource, "kind">;
  readonly isPartial?: boolean;
};

/**
 * The cluster that is meant; a text says in one clause why there is none.
 *
 * @throws {KrunError} `ClusterAmbiguous`, `ClusterNotFound` when a setting names one that is not there, `GoogleForbidden`,
 * `GoogleApiFailed`, `GoogleCredentialsUnavailable`
 */
export async function lookUpCluster(place: GooglePlace, options: LookUpOptions): Promise<LookedUp | string> {
  const implied = impliedNamespace(place, options);
  implied.catch(() => {}); // Heard below, unless there is no cluster.
  const found = await new LookUp(place, options).find();
  if (typeof found === "string") return found;
  const [namespace, user] = await Promise.all([implied, options.account.email(options)]);
  const { isPartial = false, ...draft } = found;
  const source: ClusterSource = {
    kind: "google",
    ...draft.source,
    ...(user !== undefined && { user }),
    ...(namespace && { namespace: namespace.namespace, namespaceRule: namespace.rule }),
  };
  return { config: { ...draft, source, user: {} }, isPartial };
}

class LookUp {
  readonly #place: GooglePlace;
  readonly #options: LookUpOptions;
  /** What CLUSTER_LOCATION has left out of those that would fit. */
  #leftOut: readonly GkeCluster[] = [];

  constructor(place: GooglePlace, options: LookUpOptions) {
    this.#place = place;
    this.#options = options;
  }

  async find(): Promise<Draft | string> {
    const { target, endpoint } = this.#options.settings;
    if (target?.kind === "membership") return await this.#membership(membershipPath(target.name));
    if (target?.kind === "cluster") return await this.#cluster(clusterPath(target.name));
    if (endpoint === "gateway") return await this.#inFleet() ?? this.#none(undefined);
    // Another cluster than the one that is meant may be in the fleet: it is asked only by whom GKE has told all, or who may not ask it.
    const inGke = await this.#inGke().catch(forbidden);
    if (inGke !== undefined && !(inGke instanceof KrunError)) return inGke;
    if (endpoint !== undefined) return this.#none(inGke);
    if (inGke !== undefined) this.#options.log.warn("only the fleet is looked at", { reason: inGke.message });
    const inFleet = await this.#inFleet().catch(forbidden);
    if (inFleet !== undefined && !(inFleet instanceof KrunError)) return inFleet;
    // Who may not see the clusters learns that, rather than that there are none.
    if (inGke !== undefined) throw inGke;
    // A project without a fleet has the API off, and most accounts may not look there.
    return this.#none(inFleet);
  }

  /** A cluster that GKE lists; `undefined`: none that fits. */
  async #inGke(): Promise<Draft | undefined> {
    const { project } = this.#place;
    const answer = await this.#options.account.json<{ clusters?: GkeCluster[]; missingZones?: string[] }>({
      what: `list the clusters of project "${project}"`,
      host: "container.googleapis.com",
      path: `/v1/projects/${encodeURIComponent(project)}/locations/-/clusters`,
      permission: "container.clusters.list",
      otherwise: this.#options.settings.projectId === project ? "correct PROJECT_ID" : undefined,
    }, this.#options);
    const { clusters = [], missingZones = [] } = answer ?? {};
    const { location, clusterName } = this.#options.settings;
    const missing = missingZones.filter((zone) =>
      location === undefined || isWithin(zone, location) || isWithin(location, zone)
    );
    const all = clusters.map((cluster) => ({ ...cluster, labels: cluster.resourceLabels }));
    const choice = chooseCluster(all.filter(isUsable), this.#wish());
    const isNamed = clusterName !== undefined && location !== undefined;
    // What is not listed may be the better choice.
    if (missing.length > 0 && !(isNamed && choice.kind === "chosen")) throw this.#partial(missing);
    if (choice.kind === "ambiguous") throw this.#ambiguous(choice.candidates, choice.rule);
    if (choice.kind === "chosen") {
      if (missing.length > 0) {
        this.#options.log.warn("GKE has not listed every location", { missing: missing.join(",") });
      }
      return { ...this.#ofGke(choice.chosen, choice.rule), isPartial: missing.length > 0 };
    }
    this.#leftOut = all.filter(({ name, location: its }) =>
      location !== undefined && !isWithin(its, location) && (clusterName ?? name) === name
    );
    const asleep = chooseCluster(all, this.#wish());
    if (asleep.kind === "chosen") throw this.#asleep(asleep.chosen);
    return undefined;
  }

  async #cluster(path: string): Promise<Draft> {
    const cluster = await this.#options.account.json<GkeCluster>({
      what: `read cluster "${path}"`,
      host: "container.googleapis.com",
      path: `/v1/${path}`,
      absent: true,
      permission: "container.clusters.get",
    }, this.#options);
    if (cluster === undefined) throw notFound(`"${path}"`, "there is no such cluster");
    if (!isUsable(cluster)) throw this.#asleep(cluster);
    if (this.#options.settings.endpoint !== "gateway") return this.#ofGke(cluster, "MESH names it");
    const [, membership] = /^(?:https:)?\/\/gkehub\.googleapis\.com\/(.*)$/.exec(cluster.fleet?.membership ?? "") ?? [];
    if (membership === undefined) {
      throw notFound(`"${path}"`, "it is no member of a fleet, so that Connect Gateway does not know it");
    }
    return await this.#membership(membership);
  }

  /** A member of the project's fleet; `undefined`: none that fits. */
  async #inFleet(): Promise<Draft | undefined> {
    const members = (await this.#memberships()).map(fleetMember).filter((member) => member !== undefined);
    const choice = chooseCluster(members, this.#wish());
    if (choice.kind === "ambiguous") throw this.#severalMembers(choice.candidates, choice.rule);
    return choice.kind === "chosen"
      ? await this.#ofFleet(choice.chosen, `${choice.rule}, a member of the fleet`)
      : undefined;
  }

  /** All pages. */
  async #memberships(): Promise<FleetMembership[]> {
    const { project } = this.#place;
    const path = `/v1/projects/${encodeURIComponent(project)}/locations/-/memberships`;
    const all: FleetMembership[] = [];
    for (let query = "";;) {
      const answer = await this.#options.account.json<{ resources?: FleetMembership[]; nextPageToken?: string }>({
        what: `list the fleet of project "${project}"`,
        host: "gkehub.googleapis.com",
        path: path + query,
        permission: "gkehub.memberships.list",
      }, this.#options);
      all.push(...answer?.resources ?? []);
      if (!answer?.nextPageToken) return all;
      query = `?pageToken=${encodeURIComponent(answer.nextPageToken)}`;
    }
  }

  async #membership(path: string): Promise<Draft> {
    const found = await this.#options.account.json<FleetMembership>({
      what: `read fleet membership "${path}"`,
      host: "gkehub.googleapis.com",
      path: `/v1/${path}`,
      absent: true,
      permission: "gkehub.memberships.get",
    }, this.#options);
    const member = found && fleetMember(found);
    if (member === undefined) {
      throw notFound(`"${path}"`, found ? "the membership is not ready" : "there is no such membership");
    }
    const { location } = this.#options.settings;
    if (location !== undefined && !isWithin(member.location, location)) {
      throw notFound(`"${path}"`, `it is in ${member.location}, and CLUSTER_LOCATION says ${location}`);
    }
    return await this.#ofFleet(member, "MESH names it");
  }

  #ofGke(cluster: GkeCluster, chosenBy: string): Draft {
    const { endpoint: wish } = this.#options.settings;
    // Its own link has the project's id where a setting has the number: that is the name by which Google believes its tokens.
    const { project } = parseClusterName(cluster.selfLink ?? "") ?? this.#place;
    const where = clusterPath({ project, location: cluster.location, cluster: cluster.name });
    const endpoint = gkeEndpoint(cluster, wish === "gateway" ? undefined : wish);
    if (endpoint === undefined) throw notFound(`"${where}"`, `it has no ${wish ?? "open"} endpoint`);
    const pool = cluster.workloadIdentityConfig?.workloadPool;
    const provider = pool ? clusterProvider(pool, `https://container.googleapis.com/v1/${where}`) : undefined;
    const { refusesServiceAccounts } = endpoint;
    return {
      server: `https://${endpoint.host}`,
      ca: caOf(cluster, { endpoint, where }),
      ...(refusesServiceAccounts !== undefined && { refusesServiceAccounts }),
      source: { where, cluster: cluster.name, chosenBy, ...(provider && { workloadProvider: provider }) },
    };
  }

  async #ofFleet(member: FleetMember, chosenBy: string): Promise<Draft> {
    const { provider, name } = member;
    return {
      server: gatewayServer(member, await this.#projectNumber()),
      ca: undefined,
      refusesServiceAccounts: "Connect Gateway takes no service account tokens",
      source: {
        where: membershipPath(member.membership),
        cluster: name,
        chosenBy,
        ...(provider && { workloadProvider: provider }),
      },
    };
  }

  /** The gateway calls a project by its number. */
  async #projectNumber(): Promise<string> {
    const { settings, metadata } = this.#options;
    const { project, ownProject } = this.#place;
    if (/^\d+$/.test(project)) return project;
    if (settings.projectNumber !== undefined) return settings.projectNumber;
    const own = project === ownProject ? await metadata.get("project/numeric-project-id", this.#options) : undefined;
    const number = own ?? (await projectOf(project, this.#options))?.projectNumber;
    if (number !== undefined && /^\d+$/.test(number)) return number;
    const message = `Cannot reach project "${project}" by Connect Gateway: its number is not known`;
    throw new KrunError("GoogleSettingsMissing", message, "set PROJECT_NUMBER");
  }

  #wish(): ClusterWish {
    const { clusterName: name, location, target } = this.#options.settings;
    return { name, location, region: this.#place.region, anyMesh: target?.kind === "project" };
  }

  #none(cause: KrunError | undefined): string {
    const { clusterName: name, location, target, endpoint } = this.#options.settings;
    if (cause !== undefined && endpoint !== undefined && endpoint !== "gateway") throw cause;
    const place = `project "${this.#place.project}"${location === undefined ? "" : ` in ${location}`}`;
    const others = this.#leftOut.length === 0
      ? ""
      : ` (elsewhere ${this.#leftOut.map((other) => `${other.name} in ${other.location}`).join(", ")})`;
    const fleet = cause !== undefined
      ? `its fleet may not be looked at (${cause.message})`
      : endpoint === undefined || endpoint === "gateway"
      ? "no such member of its fleet"
      : `members of its fleet have no ${endpoint} endpoint (KRUN_GKE_ENDPOINT)`;
    const state = `${place} has no GKE cluster${name === undefined ? "" : ` called ${name}`}${others}, and ${fleet}`;
    if (name === undefined && target === undefined) return state;
    throw notFound(name === undefined ? "of Google Cloud" : `"${name}"`, state, {
      ...(others !== "" && { hint: "correct or unset CLUSTER_LOCATION" }),
    });
  }

  #ambiguous(candidates: readonly { name: string; location: string }[], rule: string): KrunError {
    const list = candidates.map(({ name, location }) => `CLUSTER_NAME=${name} CLUSTER_LOCATION=${location}`);
    const names = candidates.map(({ name, location }) => `${name} (${location})`).join(", ");
    const message =
      `Cannot choose a cluster of project "${this.#place.project}": ${candidates.length} are ${rule}: ${names}`;
    return new KrunError("ClusterAmbiguous", message, "set CLUSTER_NAME and CLUSTER_LOCATION to one of them", {
      details: list.join("\n"),
    });
  }

  /** Two memberships may be of one cluster: name and location tell them apart no better. */
  #severalMembers(candidates: readonly FleetMember[], rule: string): KrunError {
    const paths = candidates.map(({ membership }) => `//gkehub.googleapis.com/${membershipPath(membership)}`);
    const count = `${candidates.length} are ${rule}`;
    const message = `Cannot choose a member of the fleet of project "${this.#place.project}": ${count}: ${
      paths.join(", ")
    }`;
    return new KrunError("ClusterAmbiguous", message, "set MESH to one of them", {
      details: paths.map((path) => `MESH=${path}`).join("\n"),
    });
  }

  #partial(missing: readonly string[]): KrunError {
    const message = `Cannot choose a cluster of project "${this.#place.project}": GKE leaves out ${missing.join(", ")}`;
    const hint = "try again later, or set CLUSTER_NAME and CLUSTER_LOCATION";
    return new KrunError("GoogleApiFailed", message, hint, { transient: true });
  }

  #asleep({ name, location, status }: GkeCluster): KrunError {
    const isComing = status === "PROVISIONING";
    return notFound(`"${name}"`, `the cluster in ${location} is ${status}`, {
      transient: isComing,
      hint: isComing ? "wait until it runs" : "see in the console what became of it, or name another with CLUSTER_NAME",
    });
  }
}

interface NotFoundOptions {
  readonly transient?: boolean;
  readonly hint?: string;
}

/** Who may not ask is no worse off than who is told that there is none. */
function forbidden(error: unknown): KrunError {
  if (error instanceof KrunError && error.code === "GoogleForbidden") return error;
  throw error;
}

function notFound(
  what: string,
  state: string,
  { hint = "correct CLUSTER_NAME, CLUSTER_LOCATION, PROJECT_ID or MESH", ...options }: NotFoundOptions = {},
): KrunError {
  return new KrunError("ClusterNotFound", `Cannot find cluster ${what}: ${state}`, hint, options);
}

function caOf(
  { masterAuth }: GkeCluster,
  { endpoint, where }: { endpoint: GkeEndpoint; where: string },
): ClusterConfig["ca"] {
  const faulty = (state: string) =>
    new KrunError("GoogleApiFailed", `Cannot use cluster "${where}": ${state}`, "try again later");
  if (!isGkeHost(endpoint)) throw faulty("GKE gives an address that no cluster can have");
  if (endpoint.trust === "public") return undefined;
  try {
    const pem = atob(masterAuth?.clusterCaCertificate ?? "");
    if (pem.includes("-----BEGIN CERTIFICATE-----")) return { pem };
  } catch {
    // Told below.
  }
  throw faulty("GKE gives no CA certificate for it");
}

interface Project {
  readonly projectNumber?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

async function projectOf(project: string, options: LookUpOptions): Promise<Project | undefined> {
  return await options.account.json<Project>({
    what: `read project "${project}"`,
    host: "cloudresourcemanager.googleapis.com",
    path: `/v1/projects/${encodeURIComponent(project)}`,
    permission: "resourcemanager.projects.get",
  }, options);
}

/** The namespace that account or project imply; only on Google Cloud, and only where nothing else says it. */
async function impliedNamespace(place: GooglePlace, options: LookUpOptions) {
  if (options.namesNamespace || place.ownProject === undefined) return undefined;
  const ofAccount = namespaceOfAccount(await options.account.email(options));
  if (ofAccount) return ofAccount;
  try {
    const labels = (await projectOf(place.project, options))?.labels;
    return namespaceOfProject(place.project, labels);
  } catch (error) {
    // A label is a convenience: who may not read the project goes by its id. Who may, and cannot now, would be in another namespace.
    if (!(error instanceof KrunError) || error.code !== "GoogleForbidden") throw error;
    options.log.debug("labels of the project are not known", { reason: error.message });
    return namespaceOfProject(place.project);
  }
}
