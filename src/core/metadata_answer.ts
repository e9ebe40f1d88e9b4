/**
 * How a metadata server answers, for the one that krun serves to its program. In: a request, and what is known of the workload. Out:
 * an answer, or which token it is to be made of.
 *
 * Rules: https://cloud.google.com/compute/docs/metadata/querying-metadata: the header `Metadata-Flavor: Google` in request and answer,
 * no `X-Forwarded-For`, folders as lists, `recursive=true` and `alt=json`.
 *
 * @module
 */
import { type GoogleTokenRequest, readScopes } from "./google_token.ts";

/** What is known. Unset: there is no such path. */
export interface MetadataFacts {
  readonly projectId?: string | undefined;
  readonly projectNumber?: string | undefined;
  /** Name of the region. */
  readonly region?: string | undefined;
  readonly instanceId?: string | undefined;
  /** Of the Pod. */
  readonly name?: string | undefined;
  /** Of the account, or another name by which Google knows it. */
  readonly account: string;
  readonly scopes: readonly string[];
  readonly clusterName?: string | undefined;
  readonly clusterLocation?: string | undefined;
}

/** A request. Names of headers are in lower case. */
export interface MetadataRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  header(name: string): string | null;
  /** What the server is called: `host:port` of its own address. */
  readonly address: string;
}

/** An answer. */
export type MetadataAnswer =
  | {
    readonly kind: "text";
    readonly status: number;
    readonly text: string;
    readonly type: string;
    /** The same for the same value. */
    readonly etag?: string;
    /** Seconds to hold the answer: the client waits for a change, and nothing of this changes. */
    readonly holdSeconds?: number;
  }
  /** To be made of a token, as `tokenAnswer` says. */
  | { readonly kind: "token"; readonly request: GoogleTokenRequest };

const ROOT = "/computeMetadata/v1/";

/** A client that names no time waits that long, and none waits longer: it asks again then, with the same ETag. Seconds. */
const LONGEST_HOLD_SECONDS = 300;

/** Answers a request. */
export function metadataAnswer(request: MetadataRequest, facts: MetadataFacts): MetadataAnswer {
  const refusal = refused(request);
  if (refusal) return refusal;
  const [path = "", query = ""] = request.target.split("?", 2);
  // Libraries look for the server there, some of them without the header.
  if (path === "/" || path === "") return text("computeMetadata/\n");
  if (path === "/computeMetadata" || path === "/computeMetadata/") return text("v1/\n");
  if (!path.startsWith(ROOT) && `${path}/` !== ROOT) return notFound();
  const parameters = new URLSearchParams(query);
  const key = decoded(path.slice(ROOT.length));
  return tokenOf(key, { parameters, facts }) ?? valueAt(key, { parameters, tree: treeOf(facts) });
}

/** An access token as the metadata server gives it. */
export function tokenAnswer(token: string, secondsLeft: number): string {
  return JSON.stringify({ access_token: token, expires_in: secondsLeft, token_type: "Bearer" });
}

function refused({ method, target, header, address }: MetadataRequest): MetadataAnswer | undefined {
  if (method !== "GET" && method !== "HEAD") return text("Only GET is possible here.\n", 405);
  // A page in a browser could be led here by a name of its own (DNS rebinding).
  const host = header("host")?.toLowerCase() ?? "";
  const known = [address, "metadata.google.internal", "metadata.google.internal.", "metadata", "169.254.169.254"];
  const [, port = ""] = /:(\d+)$/.exec(address) ?? [];
  if (!known.includes(host) && host !== `localhost:${port}` && !known.includes(host.replace(/:80$/, ""))) {
    return text("The Host header is not this server's.\n", 403);
  }
  if (header("x-forwarded-for") !== null) return text("Requests through a proxy are refused.\n", 403);
  const isRoot = target === "/" || target === "";
  if (!isRoot && header("metadata-flavor") !== "Google") return text("Missing Metadata-Flavor:Google header.\n", 403);
  return undefined;
}

function tokenOf(
  key: string,
  { parameters, facts }: { parameters: URLSearchParams; facts: MetadataFacts },
): MetadataAnswer | undefined {
  const [, account, what] = /^instance\/service-accounts\/([^/]+)\/(token|identity)$/.exec(key) ?? [];
  if (account === undefined || account !== "default" && account !== facts.account) return undefined;
  if (what === "identity") {
    const audience = parameters.get("audience") ?? "";
    if (audience === "") return text("non-empty audience parameter required\n", 400);
    if (!["standard", "full"].includes(parameters.get("format") ?? "standard")) return text("malformed format\n", 400);
    return { kind: "token", request: { kind: "identity", audience } };
  }
  const asked = parameters.get("scopes");
  const scopes = asked ? readScopes(asked) : facts.scopes;
  return scopes ? { kind: "token", request: { kind: "access", scopes } } : text("malformed scopes\n", 400);
}

/** A folder, or a value. */
type Tree = { readonly [name: string]: Tree | string | readonly string[] };

function treeOf(facts: MetadataFacts): Tree {
  const { projectId, projectNumber, region, instanceId, name, account, scopes, clusterName, clusterLocation } = facts;
  const of = (kind: string, place: string | undefined) =>
    place && projectNumber && `projects/${projectNumber}/${kind}/${place}`;
  const accountTree: Tree = { aliases: ["default"], email: account, scopes };
  return known({
    instance: known({
      attributes: known({ "cluster-name": clusterName, "cluster-location": clusterLocation }),
      hostname: name,
      id: instanceId,
      name,
      region: of("regions", region),
      "service-accounts": { default: accountTree, [account]: accountTree },
      zone: of("zones", region && `${region}-1`),
    }),
    project: known({ attributes: {}, "numeric-project-id": projectNumber, "project-id": projectId }),
    universe: { "universe-domain": "googleapis.com" },
  });
}

function known(entries: Readonly<Record<string, Tree | string | readonly string[] | undefined>>): Tree {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as Tree;
}

function valueAt(key: string, { parameters, tree }: { parameters: URLSearchParams; tree: Tree }): MetadataAnswer {
  let at: Tree[string] | undefined = tree;
  for (const part of key.split("/").filter((part) => part !== "")) {
    at = isTree(at) && Object.hasOwn(at, part) ? at[part] : undefined;
  }
  if (at === undefined) return notFound();
  const recursive = parameters.get("recursive")?.toLowerCase() === "true";
  const asJson = parameters.get("alt") === "json" || recursive && parameters.get("alt") !== "text";
  return waited(asJson ? jsonOf(at) : textOf(at), parameters);
}

function jsonOf(at: Tree[string]): TextAnswer {
  return text(JSON.stringify(isTree(at) ? camelKeys(at) : at), 200, "application/json");
}

function textOf(at: Tree[string]): TextAnswer {
  if (typeof at === "string") return text(at);
  if (!isTree(at)) return text(`${at.join("\n")}\n`);
  return text(Object.entries(at).map(([name, value]) => `${name}${isTree(value) ? "/" : ""}\n`).join(""));
}

/** A client that waits for a change (querying-metadata, "Waiting for changes") is held; one with another ETag has missed one. */
function waited(answer: TextAnswer, parameters: URLSearchParams): TextAnswer {
  const etag = etagOf(answer.text);
  if (parameters.get("wait_for_change")?.toLowerCase() !== "true") return { ...answer, etag };
  if ((parameters.get("last_etag") ?? etag) !== etag) return { ...answer, etag };
  const [seconds = ""] = /^\d{1,6}$/.exec(parameters.get("timeout_sec") ?? "") ?? [];
  const holdSeconds = seconds === "" ? LONGEST_HOLD_SECONDS : Math.min(Number(seconds), LONGEST_HOLD_SECONDS);
  return { ...answer, etag, holdSeconds };
}

/** FNV-1a, 64 bits: as long as Google's. It only tells values apart. */
function etagOf(value: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(value)) {
    hash = (hash ^ BigInt(byte)) * 0x100000001b3n & 0xffffffffffffffffn;
  }
  return hash.toString(16).padStart(16, "0");
}

function isTree(value: Tree[string] | undefined): value is Tree {
  return typeof value === "object" && !Array.isArray(value);
}

/** In JSON `project-id` is `projectId`, and names of accounts and attributes are as they are. */
function camelKeys(tree: Tree, isVerbatim = false): Tree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, value]) => {
      const key = isVerbatim ? name : name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
      return [key, isTree(value) ? camelKeys(value, ["attributes", "service-accounts"].includes(name)) : value];
    }),
  );
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function notFound(): MetadataAnswer {
  return text("Not Found\n", 404);
}

type TextAnswer = Extract<MetadataAnswer, { kind: "text" }>;

function text(body: string, status = 200, type = "application/text"): TextAnswer {
  return { kind: "text", status, text: body, type };
}
