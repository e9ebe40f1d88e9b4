/**
 * A cluster in memory, for unit tests of what stands on the {@linkcode Cluster} interface. It passes the same contract test
 * as the real ones, and is strict: what a caller must not do fails the test.
 *
 * @module
 */
import type { V1ConfigMap, V1Secret, V1Service } from "@kubernetes/client-node";
import type { Clock } from "../src/core/clock.ts";
import type {
  AccessRequest,
  AccessVerdict,
  Cluster,
  ClusterSource,
  FollowOptions,
  FollowState,
  GrantedToken,
  ObjectRef,
  ResourceRef,
  TokenRef,
  TokenVerdict,
  WatchedObject,
} from "../src/core/cluster.ts";
import { type ErrorCode, KrunError, type KrunErrorOptions } from "../src/core/errors.ts";
import { systemClock } from "../src/pod/clock.ts";

/** One request, as {@linkcode FakeCluster.fails} sees it. */
export interface FakeRequest {
  readonly verb: "get" | "watch" | "list" | "token";
  /** `<kind>/<namespace>/<name>`, `Service/<namespace>` or `ServiceAccount/<namespace>/<name>`. */
  readonly what: string;
}

/** A Secret or ConfigMap to put, as in a manifest. */
export type FakeObject = V1Secret | V1ConfigMap;

/** What a token of a {@linkcode FakeCluster} says. */
export interface FakeClaims {
  readonly sub: string;
  readonly aud: readonly string[];
  readonly "kubernetes.io": { readonly serviceaccount: { readonly uid: string } };
}

/** Reads a token of a {@linkcode FakeCluster}. */
export function fakeClaims(token: string): FakeClaims {
  const bytes = Uint8Array.fromBase64(token.split(".")[1]!, { alphabet: "base64url" });
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** Decides whether a request fails; `undefined`: it does not. */
export type FakeFailure = (request: FakeRequest) => KrunError | undefined;

/** A failure as a real cluster would throw it. */
export function fakeError(code: ErrorCode, { what = "that", ...options }: FakeErrorOptions = {}): KrunError {
  return new KrunError(code, `Cannot do ${what} at the fake cluster: ${code}`, "mend the test", options);
}

/** Options of {@linkcode fakeError}; `what` stands in its message. */
export type FakeErrorOptions = KrunErrorOptions & { readonly what?: string };

/** Every request fails as if the server were away. */
export const unreachable: FakeFailure = () => fakeError("ClusterUnreachable", { transient: true });

/** Objects, Services and service accounts in memory. Disposing it while something is followed is an error. */
export class FakeCluster implements Cluster {
  readonly source: ClusterSource = { kind: "manifests", where: "memory" };
  readonly endpoint = undefined;
  readonly counts = { requests: 0, errors: 0 };
  /** Every request so far. */
  readonly requests: FakeRequest[] = [];
  /** Life of a token at most, milliseconds; less than asked for is granted as a real server does. */
  longestTokenMs = Infinity;
  readonly #clock: Clock;
  readonly #objects = new Map<string, WatchedObject>();
  readonly #services: V1Service[] = [];
  /** Of kinds that only `resource` gives. */
  readonly #others = new Map<string, unknown>();
  readonly #accounts = new Map<string, string>();
  readonly #wakers = new Set<() => void>();
  #failure: FakeFailure = () => undefined;
  #version = 0;
  #following = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Makes or replaces an object; each time it gets a new resourceVersion. */
  put(object: FakeObject): void {
    const { kind, metadata: { namespace, name } = {} } = object;
    if (kind !== "Secret" && kind !== "ConfigMap") throw new TypeError(`Cannot put an object of kind ${kind}`);
    if (!namespace || !name) throw new TypeError("Cannot put an object without namespace and name");
    const id = idOf({ kind, namespace, name });
    const uid = this.#objects.get(id)?.metadata?.uid ?? crypto.randomUUID();
    const metadata = { ...object.metadata, uid, resourceVersion: String(++this.#version) };
    this.#objects.set(id, structuredClone({ ...mergedStringData(object), metadata }));
    this.#wake();
  }

  /** Deletes an object. @throws {Error} when there is none: the test is wrong. */
  remove(ref: ObjectRef): void {
    if (!this.#objects.delete(idOf(ref))) throw new Error(`no ${idOf(ref)} to remove`);
    this.#version++;
    this.#wake();
  }

  /** Makes a service account, or makes it anew: with another uid, as after a deletion. */
  putServiceAccount(namespace: string, name: string): void {
    this.#accounts.set(`${namespace}/${name}`, crypto.randomUUID());
  }

  removeServiceAccount(namespace: string, name: string): void {
    this.#accounts.delete(`${namespace}/${name}`);
  }

  putService(service: V1Service): void {
    const ports = (service.spec?.ports ?? []).map((port) => ({ protocol: "TCP", ...port }));
    this.#services.push({ ...service, spec: { ...service.spec, ports } });
  }

  /** Makes an object of a kind that is no Secret, ConfigMap or Service; `metadata` says where. */
  putResource(
    resource: string,
    object: { readonly metadata: { readonly namespace: string; readonly name: string } },
  ): void {
    this.#others.set(`${resource}/${object.metadata.namespace}/${object.metadata.name}`, object);
  }

  /** From now on requests, watches that are open included, fail as `failure` says; nothing given: none fails. */
  fails(failure: FakeFailure = () => undefined): void {
    this.#failure = failure;
    this.#wake();
  }

  async get(ref: ObjectRef, { signal }: { signal?: AbortSignal } = {}): Promise<WatchedObject | undefined> {
    await this.#request({ verb: "get", what: idOf(ref) }, signal);
    return structuredClone(this.#objects.get(idOf(ref)));
  }

  async resource(ref: ResourceRef, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> {
    const { apiGroup, resource, namespace, name } = ref;
    const verb = name === undefined ? "list" : "get";
    await this.#request({ verb, what: [resource, namespace, name].join("/") }, signal);
    if (apiGroup !== "") return structuredClone(this.#others.get([resource, namespace, name].join("/")));
    const services = this.#services.filter(({ metadata }) => metadata?.namespace === namespace);
    if (name === undefined) return structuredClone({ items: services });
    if (resource === "services") return structuredClone(services.find(({ metadata }) => metadata?.name === name));
    const kind = resource === "configmaps" ? "ConfigMap" : "Secret";
    return structuredClone(this.#objects.get(idOf({ kind, namespace, name })));
  }

  async services(namespace: string, { signal }: { signal?: AbortSignal } = {}): Promise<V1Service[]> {
    await this.#request({ verb: "list", what: `Service/${namespace}` }, signal);
    return structuredClone(this.#services.filter(({ metadata }) => metadata?.namespace === namespace));
  }

  reviewToken(): Promise<TokenVerdict> {
    return Promise.resolve({ authenticated: false, reason: "the fake knows nobody's tokens" });
  }

  accessOf(): Promise<AccessVerdict> {
    return Promise.resolve({ allowed: false, reason: "the fake gives nobody rights" });
  }

  async follow(ref: ObjectRef, { signal, known, deliver, onState }: FollowOptions): Promise<void> {
    let told = known === undefined ? undefined : known?.metadata?.resourceVersion ?? null;
    let state: FollowState | "forbidden" | undefined;
    this.#following++;
    while (!signal.aborted) {
      const request: FakeRequest = { verb: "watch", what: idOf(ref) };
      const failure = this.#failure(request);
      const next = failure ? "retrying" : "watching";
      const said = failure instanceof KrunError && failure.code === "Forbidden" ? "forbidden" : next;
      if (said !== state) {
        state = said;
        this.#count(request);
        onState?.(next, failure);
      }
      const version = this.#objects.get(idOf(ref))?.metadata?.resourceVersion ?? null;
      if (failure || version === told) {
        await this.#change(signal);
        continue;
      }
      told = version;
      await deliver(structuredClone(this.#objects.get(idOf(ref))));
    }
    this.#following--;
  }

  async requestToken(ref: TokenRef, { signal }: { signal?: AbortSignal } = {}): Promise<GrantedToken> {
    const account = `${ref.namespace}/${ref.serviceAccount}`;
    await this.#request({ verb: "token", what: `ServiceAccount/${account}` }, signal);
    const uid = this.#accounts.get(account);
    if (!uid || ref.expirationSeconds < 600) {
      this.counts.errors++;
      throw fakeError(uid ? "ApiRequestFailed" : "ServiceAccountNotFound", { what: account });
    }
    const issuedAtMs = this.#clock.nowMs();
    const expiresAtMs = issuedAtMs + Math.min(ref.expirationSeconds * 1000, this.longestTokenMs);
    return { token: this.#sign(ref, { uid, issuedAtMs, expiresAtMs }), issuedAtMs, expiresAtMs };
  }

  access(_request: AccessRequest): Promise<AccessVerdict> {
    return Promise.resolve({ allowed: true, reason: "a fake cluster allows everything" });
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#following > 0) throw new Error(`${this.#following} objects are still followed`);
    return Promise.resolve();
  }

  #sign(
    { namespace, serviceAccount, audience }: TokenRef,
    { uid, issuedAtMs, expiresAtMs }: { uid: string; issuedAtMs: number; expiresAtMs: number },
  ): string {
    const [iat, exp] = [Math.floor(issuedAtMs / 1000), Math.floor(expiresAtMs / 1000)];
    const claims = {
      ...{ iss: "https://fake.invalid", aud: [audience || "https://fake.invalid"], iat, nbf: iat, exp },
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      jti: crypto.randomUUID(),
      "kubernetes.io": { namespace, serviceaccount: { name: serviceAccount, uid } },
    };
    const part = (value: unknown) =>
      new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url", omitPadding: true });
    return `${part({ alg: "none" })}.${part(claims)}.`;
  }

  #count(request: FakeRequest): KrunError | undefined {
    this.requests.push(request);
    this.counts.requests++;
    const failure = this.#failure(request);
    if (failure) this.counts.errors++;
    return failure;
  }

  async #request(request: FakeRequest, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const failure = this.#count(request);
    await Promise.resolve();
    if (failure) throw failure;
  }

  /** Resolves at the next change of anything, or when the signal aborts. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#wakers.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wakers.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const waker of [...this.#wakers]) waker();
  }
}

function idOf({ kind, namespace, name }: ObjectRef): string {
  return `${kind}/${namespace}/${name}`;
}

/** As a server keeps it: `stringData` is written only. */
function mergedStringData(object: FakeObject): WatchedObject {
  if (!("stringData" in object)) return object;
  const { stringData = {}, ...rest } = object;
  const encoded = Object.entries(stringData).map(([key, text]) => [key, new TextEncoder().encode(text).toBase64()]);
  return { ...rest, data: { ...rest.data, ...Object.fromEntries(encoded) } };
}
