/**
 * A Google Cloud for tests, in place of the one that cannot run here: metadata server, OAuth, STS, IAM credentials, GKE, fleet,
 * Connect Gateway, Resource Manager. In: requests, each with the host that it was meant for. Out: answers, as strict as Google's:
 * what has an unknown field, a wrong scope or audience, or an identity without the permission, is refused.
 *
 * State is plain fields that a test sets. `google_network.ts` puts it under Google's names. A new API is a new entry of
 * {@linkcode FakeGoogle.hosts}.
 *
 * @module
 */
import { decodeJwt, jwtVerify } from "jose";
import { sleep } from "../../src/kube/abort.ts";
import { bodyOf, denied, GoogleFault, OAuthFault, pathOf } from "./google_answer.ts";
import { delegatesOf, type FakeProvider, principalOf, stsBody, subjectOf } from "./google_federation.ts";
import { GoogleTokensIssued, type IssuedToken, privatePem, rsaKey } from "./google_tokens.ts";

/** What one request was. */
export interface SeenRequest {
  readonly host: string;
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly status: number;
}

/** What goes wrong with the next requests to a host. */
export interface Trouble {
  readonly host: string;
  /** How many requests. @default {1} */
  readonly times?: number;
  /** Answered in place of the right answer. @default {the right one, late} */
  readonly status?: number;
  readonly retryAfter?: string;
  /** Milliseconds before anything is answered. @default {0} */
  readonly delayMs?: number;
  /** What is answered instead, whole. */
  readonly response?: () => Response;
}

const PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const CLIENT_ID = "c.apps.googleusercontent.com";
const EMAIL_SCOPE = "https://www.googleapis.com/auth/userinfo.email";

/** One Google Cloud with one project of its own. */
export class FakeGoogle {
  readonly tokens: GoogleTokensIssued;
  readonly project = { id: "acme-shop-prod", number: "123456789012", labels: {} as Record<string, string> };
  /** What the metadata server says; `undefined`: nothing at that path. */
  readonly metadata: Record<string, string | undefined>;
  /** E-mail of the metadata server's service account; `undefined`: the machine has none. */
  account: string | undefined = "krun@acme-shop-prod.iam.gserviceaccount.com";
  /** Access scopes of the VM, beyond which its metadata server gives none; `undefined`: any, as on Cloud Run. */
  accessScopes: readonly string[] | undefined;
  /** GKE clusters, as the API lists them. */
  clusters: Record<string, unknown>[] = [];
  missingZones: string[] = [];
  /** Fleet memberships, as the API lists them. */
  memberships: Record<string, unknown>[] = [];
  /** How many memberships are listed at once. */
  pageSize = 100;
  providers: FakeProvider[] = [];
  /** What Connect Gateway hands a request on to, as that user. */
  gateway: ((request: Request, path: string, user: string) => Promise<Response>) | undefined;
  /** Everything that was asked. */
  readonly seen: SeenRequest[] = [];
  readonly #granted = new Map<string, Set<string>>();
  readonly #keys = new Map<string, CryptoKey>();
  readonly #users = new Map<string, string>();
  #troubles: { trouble: Trouble; left: number }[] = [];
  #calm = new AbortController();

  private constructor(tokens: GoogleTokensIssued) {
    this.tokens = tokens;
    this.metadata = {
      "project/project-id": this.project.id,
      "project/numeric-project-id": this.project.number,
      "instance/region": `projects/${this.project.number}/regions/us-central1`,
      "instance/zone": `projects/${this.project.number}/zones/us-central1-1`,
      "instance/id": "0069c7a988b5d1e2f30415263748596a7b8c9d0e",
      "universe/universe-domain": "googleapis.com",
    };
  }

  /** Makes one. */
  static async create(): Promise<FakeGoogle> {
    return new FakeGoogle(await GoogleTokensIssued.create());
  }

  /** What answers under which name. */
  readonly hosts: Record<string, (request: Request) => Promise<Response> | Response> = {
    "metadata.google.internal": (request) => this.#metadata(request),
    "oauth2.googleapis.com": (request) => this.#oauth(request),
    "sts.googleapis.com": (request) => this.#sts(request),
    "iamcredentials.googleapis.com": (request) => this.#iamCredentials(request),
    "container.googleapis.com": (request) => this.#container(request),
    "gkehub.googleapis.com": (request) => this.#hub(request),
    "connectgateway.googleapis.com": (request) => this.#gateway(request),
    "cloudresourcemanager.googleapis.com": (request) => this.#resourceManager(request),
  };

  /** Gives an identity permissions; on another account, `email/permission`. */
  grant(identity: string, ...permissions: readonly string[]): void {
    const granted = this.#granted.get(identity) ?? new Set();
    for (const permission of permissions) granted.add(permission);
    this.#granted.set(identity, granted);
  }

  /** Nobody may do anything. */
  revokeAll(): void {
    this.#granted.clear();
  }

  /** Takes them away. */
  revoke(identity: string, ...permissions: readonly string[]): void {
    for (const permission of permissions) this.#granted.get(identity)?.delete(permission);
  }

  /** Whether it has one. */
  isGranted(identity: string, permission: string): boolean {
    return this.#granted.get(identity)?.has(permission) ?? false;
  }

  /** The text of a key file of a service account. */
  async serviceAccountKey(email: string): Promise<string> {
    const pair = await rsaKey();
    this.#keys.set(email, pair.publicKey);
    const fields = {
      type: "service_account",
      project_id: this.project.id,
      private_key_id: "k1",
      private_key: await privatePem(pair),
    };
    return JSON.stringify({
      ...fields,
      client_email: email,
      client_id: "1",
      token_uri: "https://oauth2.googleapis.com/token",
    });
  }

  /** The text of a file as `gcloud auth application-default login` makes it for a person. */
  userCredentials(email: string): string {
    const refresh_token = `1//${crypto.randomUUID()}`;
    this.#users.set(refresh_token, email);
    return JSON.stringify({
      type: "authorized_user",
      client_id: CLIENT_ID,
      client_secret: "d-FL95Q19q7MQmFpd7hHD0Ty",
      refresh_token,
    });
  }

  /** The next requests to a host go wrong. */
  trouble(...troubles: readonly Trouble[]): void {
    this.#troubles.push(...troubles.map((trouble) => ({ trouble, left: trouble.times ?? 1 })));
  }

  /** Nothing goes wrong any more; what is late is not answered. */
  clearTroubles(): void {
    this.#troubles = [];
    this.#calm.abort();
    this.#calm = new AbortController();
  }

  /** How often a host was asked. */
  count(host: string): number {
    return this.seen.filter((one) => one.host === host).length;
  }

  /** Answers a request to a host. */
  async answer(request: Request, host: string): Promise<Response> {
    const response = await this.#answer(request, host);
    const { pathname, search } = new URL(request.url);
    this.seen.push({ host, method: request.method, path: pathname + search, status: response.status });
    return response;
  }

  /** Who a token's bearer is to an API server: kube-apiserver's webhook (TokenReview). */
  tokenReview(review: { spec: { token: string } }): Record<string, unknown> {
    const worth = this.tokens.worth(review.spec.token);
    // Without the scope GKE knows an account by its number alone.
    const username = worth?.scopes.includes(EMAIL_SCOPE) ? worth.identity : "1".repeat(21);
    const isRight = worth !== undefined && worth.scopes.includes(PLATFORM);
    const status = isRight
      ? { authenticated: true, user: { username, groups: ["system:authenticated"] } }
      : { authenticated: false };
    return { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", status };
  }

  async #answer(request: Request, host: string): Promise<Response> {
    const trouble = this.#nextTrouble(host);
    if (trouble?.delayMs) {
      const { signal } = this.#calm;
      await sleep(trouble.delayMs, signal);
      // Whoever asked has most likely left.
      if (signal.aborted) return new Response("", { status: 503 });
    }
    if (trouble?.response) return trouble.response();
    if (trouble?.status !== undefined) {
      const fault = new GoogleFault(trouble.status, "UNAVAILABLE", "The service is currently unavailable.").response();
      if (trouble.retryAfter !== undefined) fault.headers.set("retry-after", trouble.retryAfter);
      if (host === "metadata.google.internal") fault.headers.set("metadata-flavor", "Google");
      return fault;
    }
    const handler = this.hosts[host];
    if (handler === undefined) return new Response(`no such host: ${host}`, { status: 421 });
    try {
      return await handler(request);
    } catch (fault) {
      if (fault instanceof GoogleFault || fault instanceof OAuthFault) return fault.response();
      throw fault;
    }
  }

  #nextTrouble(host: string): Trouble | undefined {
    const next = this.#troubles.find(({ trouble, left }) => trouble.host === host && left > 0);
    if (next) next.left--;
    return next?.trouble;
  }

  /** Whose request it is. @throws {GoogleFault} 401, 403 */
  bearer(request: Request, ...permission: readonly [permission: string, resource: string] | []): IssuedToken {
    const [, token] = /^Bearer (\S+)$/.exec(request.headers.get("authorization") ?? "") ?? [];
    const worth = token === undefined ? undefined : this.tokens.worth(token);
    if (worth === undefined) {
      throw new GoogleFault(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
    }
    if (!worth.scopes.includes(PLATFORM)) {
      throw new GoogleFault(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", [
        { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT" },
      ]);
    }
    const [name, resource = ""] = permission;
    if (name !== undefined && !this.#granted.get(worth.identity)?.has(name)) throw denied(name, resource);
    return worth;
  }

  #metadata(request: Request): Promise<Response> | Response {
    const headers = { "metadata-flavor": "Google", "server": "Metadata Server for VM" };
    const reply = (body: string, status = 200, type = "application/text") =>
      new Response(body, { status, headers: { ...headers, "content-type": type } });
    if (request.method !== "GET") return reply("", 405);
    if (request.headers.has("x-forwarded-for")) return reply("forwarded", 403);
    if (request.headers.get("metadata-flavor") !== "Google") {
      return reply("Missing Metadata-Flavor:Google header.", 403);
    }
    const { pathname, searchParams } = new URL(request.url);
    const [, key] = /^\/computeMetadata\/v1\/(.*)$/.exec(pathname) ?? [];
    if (key === undefined) return reply("", 404);
    if (key === "") return reply("instance/\nproject/\n");
    const [, what] = /^instance\/service-accounts\/default\/(email|token|identity)$/.exec(key) ?? [];
    if (what === undefined) {
      const value = this.metadata[key];
      return value === undefined || searchParams.size > 0 ? reply("", 404) : reply(value);
    }
    if (this.account === undefined) return reply("", 404);
    if (what === "email") return searchParams.size > 0 ? reply("", 404) : reply(this.account);
    const known = what === "token" ? ["scopes"] : ["audience", "format", "licenses"];
    if ([...searchParams.keys()].some((name) => !known.includes(name))) return reply("unknown parameter", 400);
    if (what === "token") {
      const ceiling = this.accessScopes ?? [PLATFORM, EMAIL_SCOPE];
      const asked = searchParams.get("scopes")?.split(",");
      if (asked?.some((scope) => scope === "")) return reply("malformed scopes", 400);
      const scopes = this.accessScopes ? asked?.filter((scope) => ceiling.includes(scope)) : asked;
      const { token, expiresIn } = this.tokens.access(this.account, scopes ?? ceiling);
      return reply(
        JSON.stringify({ access_token: token, expires_in: expiresIn, token_type: "Bearer" }),
        200,
        "application/json",
      );
    }
    const audience = searchParams.get("audience");
    if (!audience) return reply("non-empty audience parameter required", 400);
    const format = searchParams.get("format") ?? "standard";
    if (!["standard", "full"].includes(format)) return reply("malformed format", 400);
    return this.tokens.identity(this.account, audience, { withEmail: format === "full" }).then((token) => reply(token));
  }

  async #oauth(request: Request): Promise<Response> {
    if (pathOf(request) !== "/token" || request.method !== "POST") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    const form = Object.fromEntries(new URLSearchParams(await request.text()));
    const known = ["grant_type", "assertion", "client_id", "client_secret", "refresh_token"];
    const unknown = Object.keys(form).find((name) => !known.includes(name));
    if (unknown !== undefined) throw new OAuthFault("invalid_request", `Parameter not allowed: ${unknown}`);
    if (form.grant_type === "refresh_token") return this.#refreshed(form);
    if (form.grant_type !== "urn:ietf:params:oauth:grant-type:jwt-bearer") {
      throw new OAuthFault("unsupported_grant_type", "Invalid grant_type");
    }
    const { iss = "", scope, target_audience } = decodeJwt(form.assertion ?? "") as Record<string, string>;
    const key = this.#keys.get(iss);
    const verified = key &&
      await jwtVerify(form.assertion!, key, { audience: "https://oauth2.googleapis.com/token", maxTokenAge: 3600 })
        .catch(() => undefined);
    if (!verified) throw new OAuthFault("invalid_grant", "Invalid JWT Signature.");
    if (target_audience) return Response.json({ id_token: await this.tokens.identity(iss, target_audience) });
    if (!scope) throw new OAuthFault("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    const { token, expiresIn } = this.tokens.access(iss, scope.split(" "));
    return Response.json({ access_token: token, expires_in: expiresIn, token_type: "Bearer" });
  }

  #refreshed(form: Record<string, string>): Response {
    const email = this.#users.get(form.refresh_token ?? "");
    if (form.client_id !== CLIENT_ID) throw new OAuthFault("invalid_client", "The OAuth client was not found.", 401);
    if (email === undefined || form.client_secret !== "d-FL95Q19q7MQmFpd7hHD0Ty") {
      throw new OAuthFault("invalid_grant", "Bad Request");
    }
    const { token, expiresIn } = this.tokens.access(email, [PLATFORM, EMAIL_SCOPE]);
    return Response.json({ access_token: token, expires_in: expiresIn, token_type: "Bearer", scope: PLATFORM });
  }

  async #sts(request: Request): Promise<Response> {
    if (pathOf(request) !== "/v1/token" || request.method !== "POST") {
      throw new GoogleFault(404, "NOT_FOUND", "Not found");
    }
    const { audience, grantType, requestedTokenType, scope, subjectToken, subjectTokenType } = await stsBody(request);
    if (grantType !== "urn:ietf:params:oauth:grant-type:token-exchange") {
      throw new OAuthFault("unsupported_grant_type", "Invalid grant_type");
    }
    if (requestedTokenType !== "urn:ietf:params:oauth:token-type:access_token") {
      throw new OAuthFault("invalid_request", "requested_token_type");
    }
    if (subjectTokenType !== "urn:ietf:params:oauth:token-type:jwt") {
      throw new OAuthFault("invalid_request", "subject_token_type");
    }
    const provider = this.providers.find(({ stsAudience }) => stsAudience === audience);
    if (provider === undefined) {
      throw new OAuthFault("invalid_target", 'The target service indicated by the "audience" parameters is invalid.');
    }
    const scopes = (scope ?? "").split(" ").filter((one) => one !== "");
    if (scopes.length === 0) throw new OAuthFault("invalid_scope", "The scope is empty.");
    const sub = await subjectOf(provider, subjectToken ?? "");
    const principal = principalOf(provider, sub);
    const { token, expiresIn } = this.tokens.access(principal, scopes);
    return Response.json({
      access_token: token,
      issued_token_type: requestedTokenType,
      token_type: "Bearer",
      expires_in: expiresIn,
    });
  }

  async #iamCredentials(request: Request): Promise<Response> {
    const [, name = "", call] =
      /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):(generateAccessToken|generateIdToken)$/.exec(pathOf(request)) ??
        [];
    if (call === undefined) throw new GoogleFault(404, "NOT_FOUND", "Requested entity was not found.");
    const email = decodeURIComponent(name);
    const permission = call === "generateAccessToken"
      ? "iam.serviceAccounts.getAccessToken"
      : "iam.serviceAccounts.getOpenIdToken";
    const { identity } = this.bearer(request);
    if (call === "generateIdToken") {
      const { audience, includeEmail, delegates } = await bodyOf(request, {
        ...{ audience: { type: "string", required: true }, delegates: { type: "string[]" } },
        ...{ includeEmail: { type: "boolean" }, useEmailAzp: { type: "boolean" } },
      });
      this.#mayStand([identity, ...delegatesOf(delegates), email], permission);
      const withEmail = includeEmail === true;
      return Response.json({ token: await this.tokens.identity(email, String(audience), { withEmail }) });
    }
    const { scope, lifetime = "3600s", delegates } = await bodyOf(request, {
      ...{ scope: { type: "string[]", required: true }, lifetime: { type: "string" }, delegates: { type: "string[]" } },
    });
    this.#mayStand([identity, ...delegatesOf(delegates), email], permission);
    const [, seconds = "0"] = /^([0-9]{1,6})s$/.exec(String(lifetime)) ?? [];
    if (Number(seconds) < 1 || Number(seconds) > 3600) {
      const message = "lifetime: The lifetime of the token must be positive and at most 3600s.";
      throw new GoogleFault(400, "INVALID_ARGUMENT", message);
    }
    const { token, expiresAtMs } = this.tokens.access(email, scope as string[], Number(seconds));
    return Response.json({ accessToken: token, expireTime: new Date(expiresAtMs).toISOString() });
  }

  /** Each of a chain of accounts may stand for the next one, the last but one as is asked. @throws {GoogleFault} 403 */
  #mayStand(chain: readonly string[], permission: string): void {
    for (const [index, who] of chain.slice(0, -1).entries()) {
      const next = chain[index + 1]!;
      const needed = index === chain.length - 2 ? permission : "iam.serviceAccounts.implicitDelegation";
      if (!this.#granted.get(who)?.has(`${next}/${needed}`)) throw denied(needed, next);
    }
  }

  #container(request: Request): Response {
    const path = pathOf(request);
    const [, project = "", location, cluster] =
      /^\/v1\/projects\/([^/]+)\/locations\/([^/]+)\/clusters(?:\/([^/]+))?$/.exec(path) ?? [];
    if (location === undefined || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    this.bearer(
      request,
      cluster === undefined ? "container.clusters.list" : "container.clusters.get",
      `projects/${project}`,
    );
    this.#requireProject(project);
    const there = this.clusters.filter((one) => location === "-" || one.location === location);
    if (cluster === undefined) {
      return Response.json({
        clusters: there,
        ...(this.missingZones.length > 0 && { missingZones: this.missingZones }),
      });
    }
    const found = location === "-" ? undefined : there.find(({ name }) => name === cluster);
    if (found === undefined) throw new GoogleFault(404, "NOT_FOUND", `Not found: ${path.slice(4)}.`);
    return Response.json(found);
  }

  #hub(request: Request): Response {
    const [, project = "", name] =
      /^\/v1\/projects\/([^/]+)\/(locations\/[^/]+\/memberships(?:\/[^/]+)?)$/.exec(pathOf(request, ["pageToken"])) ??
        [];
    if (name === undefined || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    const isList = name === "locations/-/memberships";
    this.bearer(request, isList ? "gkehub.memberships.list" : "gkehub.memberships.get", `projects/${project}`);
    this.#requireProject(project);
    if (isList) {
      const from = Number(new URL(request.url).searchParams.get("pageToken") ?? 0);
      const to = from + this.pageSize;
      const next = to < this.memberships.length ? { nextPageToken: `${to}` } : {};
      return Response.json({ resources: this.memberships.slice(from, to), ...next });
    }
    // The API takes the project's number, and names the project by its id.
    const found = this.memberships.find((one) => one.name === `projects/${this.project.id}/${name}`);
    if (found === undefined) throw new GoogleFault(404, "NOT_FOUND", `Resource '${name}' was not found`);
    return Response.json(found);
  }

  /** As the real one: the project by its number, and the caller as user of the API server. */
  async #gateway(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const [, number, location, kind, membership, rest = ""] =
      /^\/v1\/projects\/([^/]+)\/locations\/([^/]+)\/(gkeMemberships|memberships)\/([^/]+)(\/.*)?$/.exec(pathname) ??
        [];
    const { identity } = this.bearer(
      request,
      request.method === "GET" ? "gkehub.gateway.get" : "gkehub.gateway.post",
      membership ?? "",
    );
    if (number !== this.project.number) {
      throw new GoogleFault(400, "INVALID_ARGUMENT", "The project must be named by its number.");
    }
    const wanted = `projects/${this.project.id}/locations/${location}/memberships/${membership}`;
    const found = this.memberships.find(({ name }) => name === wanted);
    const isGke = (found?.endpoint as { gkeCluster?: unknown } | undefined)?.gkeCluster !== undefined;
    if (found === undefined || isGke !== (kind === "gkeMemberships") || this.gateway === undefined) {
      throw new GoogleFault(404, "NOT_FOUND", `Membership '${membership}' was not found`);
    }
    return await this.gateway(request, rest + search, identity);
  }

  #resourceManager(request: Request): Response {
    const [, project] = /^\/v1\/projects\/([^/:]+)$/.exec(pathOf(request)) ?? [];
    if (project === undefined || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    this.bearer(request, "resourcemanager.projects.get", `projects/${project}`);
    this.#requireProject(project);
    const { id, number, labels } = this.project;
    return Response.json({ projectNumber: number, projectId: id, lifecycleState: "ACTIVE", name: id, labels });
  }

  /** Whether there is one is nobody's to know who may not see it. */
  #requireProject(project: string): void {
    if (project !== this.project.id && project !== this.project.number) {
      throw denied("resourcemanager.projects.get", project);
    }
  }
}
