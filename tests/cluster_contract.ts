/**
 * What every {@linkcode Cluster} must keep, whatever holds its objects. The same cases run against a folder of manifests
 * (`tests/manifest_cluster_test.ts`) and against a real API server (`tests/live/api_cluster_test.ts`).
 *
 * A subject goes in; the cases run as steps of one test.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { V1ConfigMap, V1Secret, V1Service, V1ServiceAccount } from "@kubernetes/client-node";
import type { Cluster, FollowOptions, ObjectRef, TokenRef, WatchedObject } from "../src/core/cluster.ts";
import { waitFor } from "./wait.ts";

/** An object that a case puts into the cluster. */
export type ContractObject = V1Secret | V1ConfigMap | V1Service | V1ServiceAccount;

/** Which object a case takes away. */
export interface ContractRef {
  readonly kind: "Secret" | "ConfigMap" | "Service" | "ServiceAccount";
  readonly namespace: string;
  readonly name: string;
}

/** A cluster under test, and the hand that changes it. */
export interface ContractSubject {
  readonly cluster: Cluster;
  /** An empty namespace that exists. */
  readonly namespace: string;
  /** Another namespace that exists. */
  readonly otherNamespace: string;
  /** Creates or replaces an object; resolves when the cluster has it. `metadata` holds name and namespace. */
  put(object: ContractObject): Promise<void>;
  /** Deletes an object; resolves when the cluster has it no more. */
  remove(ref: ContractRef): Promise<void>;
}

/** Runs every case as a step of `t`. */
export async function keepsClusterContract(t: Deno.TestContext, subject: ContractSubject): Promise<void> {
  for (const [name, run] of Object.entries(CASES)) await t.step(name, () => run(subject));
}

const CASES: Readonly<Record<string, (subject: ContractSubject) => Promise<void>>> = {
  "get() gives a Secret with stringData merged into data": async ({ cluster, namespace, put }) => {
    const metadata = { namespace, name: "merged" };
    await put({
      kind: "Secret",
      metadata,
      data: { user: btoa("alice"), kept: btoa("k") },
      stringData: { user: "bob" },
    });
    const secret = await cluster.get({ kind: "Secret", ...metadata }) as V1Secret;
    assert.deepEqual(secret.data, { kept: btoa("k"), user: btoa("bob") });
    assert.equal(secret.stringData, undefined);
    assert.equal(secret.metadata?.name, "merged");
    assert.equal(secret.metadata?.namespace, namespace);
    assert(secret.metadata?.resourceVersion);
  },

  "get() gives a ConfigMap with text and bytes apart": async ({ cluster, namespace, put }) => {
    const metadata = { namespace, name: "both" };
    const binaryData = { bytes: new Uint8Array([0, 255]).toBase64() };
    await put({ kind: "ConfigMap", metadata, data: { text: "é\n" }, binaryData });
    const found = await cluster.get({ kind: "ConfigMap", ...metadata }) as V1ConfigMap;
    assert.deepEqual(found.data, { text: "é\n" });
    assert.deepEqual(found.binaryData, binaryData);
  },

  "get() gives undefined when the object is absent, of another kind or in another namespace": async (subject) => {
    const { cluster, namespace, otherNamespace, put } = subject;
    await put(configMap(namespace, "lonely", "1"));
    const ref = { kind: "ConfigMap", namespace, name: "lonely" } as const;
    assert(await cluster.get(ref));
    assert.equal(await cluster.get({ ...ref, name: "nobody" }), undefined);
    assert.equal(await cluster.get({ ...ref, kind: "Secret" }), undefined);
    assert.equal(await cluster.get({ ...ref, namespace: otherNamespace }), undefined);
  },

  "get() gives what was last put, under a new resourceVersion": async ({ cluster, namespace, put, remove }) => {
    const ref = { kind: "ConfigMap", namespace, name: "turning" } as const;
    const versions: (string | undefined)[] = [];
    for (const value of ["1", "2"]) {
      await put(configMap(namespace, "turning", value));
      const found = await cluster.get(ref);
      assert.deepEqual(found?.data, { value });
      versions.push(found?.metadata?.resourceVersion);
    }
    assert.notEqual(versions[0], versions[1]);
    await remove(ref);
    assert.equal(await cluster.get(ref), undefined);
  },

  "follow() delivers what is there, then each newest version, a deletion and a re-creation": async (subject) => {
    const { cluster, namespace, put, remove } = subject;
    const ref = { kind: "ConfigMap", namespace, name: "followed" } as const;
    await put(configMap(namespace, "followed", "1"));
    await using follower = new Follower(cluster, ref);
    await follower.sees("1");
    await put(configMap(namespace, "followed", "2"));
    await follower.sees("2");
    await remove(ref);
    await follower.sees(undefined);
    await put(configMap(namespace, "followed", "2"));
    await follower.sees("2");
  },

  "follow() does not deliver the version that is known": async ({ cluster, namespace, put }) => {
    const ref = { kind: "ConfigMap", namespace, name: "known" } as const;
    await put(configMap(namespace, "known", "1"));
    const known = await cluster.get(ref);
    assert(known);
    await using follower = new Follower(cluster, ref, { known });
    await follower.settled();
    await put(configMap(namespace, "known", "2"));
    await follower.sees("2");
    assert.deepEqual(follower.values, ["2"]);
  },

  "follow() delivers at once when the known version is an old one": async ({ cluster, namespace, put }) => {
    const ref = { kind: "ConfigMap", namespace, name: "stale" } as const;
    await put(configMap(namespace, "stale", "1"));
    const known = await cluster.get(ref);
    assert(known);
    await put(configMap(namespace, "stale", "2"));
    await using follower = new Follower(cluster, ref, { known });
    await follower.sees("2");
    assert.deepEqual(follower.values, ["2"]);
  },

  "follow() waits for an object that is known to be absent": async ({ cluster, namespace, put }) => {
    const ref = { kind: "Secret", namespace, name: "later" } as const;
    await using follower = new Follower(cluster, ref, { known: null });
    await follower.settled();
    assert.deepEqual(follower.values, []);
    await put({ kind: "Secret", metadata: { namespace, name: "later" }, data: { value: btoa("1") } });
    await follower.sees(btoa("1"));
    assert.deepEqual(follower.values, [btoa("1")]);
  },

  "follow() delivers one at a time, the newest at last, never an older one after a newer": async (subject) => {
    const { cluster, namespace, put } = subject;
    const ref = { kind: "ConfigMap", namespace, name: "hasty" } as const;
    await put(configMap(namespace, "hasty", "0"));
    const gate = Promise.withResolvers<void>();
    let busy = 0;
    let mostBusy = 0;
    const deliver = async () => {
      mostBusy = Math.max(mostBusy, ++busy);
      await gate.promise;
      busy--;
    };
    await using follower = new Follower(cluster, ref, { deliver });
    try {
      await follower.sees("0");
      for (let i = 1; i <= 5; i++) await put(configMap(namespace, "hasty", `${i}`));
    } finally {
      gate.resolve();
    }
    await follower.sees("5");
    assert.equal(mostBusy, 1);
    assert.deepEqual(follower.values, follower.values.toSorted());
  },

  "follow() ends when its signal aborts": async ({ cluster, namespace, put }) => {
    await put(configMap(namespace, "ended", "1"));
    const follower = new Follower(cluster, { kind: "ConfigMap", namespace, name: "ended" });
    await follower.sees("1");
    await follower.settled();
    assert(["watching", "polling"].includes(follower.states.at(-1)!), follower.states.join());
    await follower[Symbol.asyncDispose]();
  },

  "services() lists the Services of one namespace": async ({ cluster, namespace, otherNamespace, put }) => {
    const service = (name: string, namespace: string): V1Service => ({
      kind: "Service",
      metadata: { namespace, name },
      spec: { ports: [{ name: "http", port: 80 }], selector: { app: name } },
    });
    await put(service("here", namespace));
    await put(service("there", otherNamespace));
    const found = await cluster.services(namespace);
    assert.deepEqual(found.map((s) => [s.metadata?.namespace, s.metadata?.name]), [[namespace, "here"]]);
    const { name, port, protocol } = found[0]?.spec?.ports?.[0] ?? {};
    assert.deepEqual({ name, port, protocol }, { name: "http", port: 80, protocol: "TCP" });
  },

  "resource() reads an object of any kind, and neither one nor a kind that is not there is a failure": async (
    subject,
  ) => {
    const { cluster, namespace, put } = subject;
    await put(configMap(namespace, "mesh-env", "1"));
    const ref = { apiGroup: "", version: "v1", resource: "configmaps", namespace, name: "mesh-env" };
    assert.partialDeepStrictEqual(await cluster.resource(ref), { metadata: { namespace, name: "mesh-env" } });
    assert.equal(await cluster.resource({ ...ref, name: "other" }), undefined);
    const unknown = { ...ref, apiGroup: "none.example", resource: "widgets" };
    assert.equal(await cluster.resource(unknown), undefined);
    const { name: _, ...all } = unknown;
    assert.equal(await cluster.resource(all), undefined);
  },

  "requestToken() grants a token that says for whom, for what and for how long": async (subject) => {
    const { cluster, namespace, put } = subject;
    await put(serviceAccount(namespace, "builder"));
    const before = Math.floor(Date.now() / 1000);
    const granted = await cluster.requestToken(tokenRef(namespace, "builder", { audience: "vault" }));
    const claims = claimsOf(granted.token);
    assert.deepEqual(claims.aud, ["vault"]);
    assert.equal(claims.sub, `system:serviceaccount:${namespace}:builder`);
    assert.equal(claims["kubernetes.io"].namespace, namespace);
    assert.equal(claims["kubernetes.io"].serviceaccount.name, "builder");
    assert.match(claims["kubernetes.io"].serviceaccount.uid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.match(claims.iss, /^https:\/\//);
    assert.equal(claims.exp - claims.iat, 900);
    assert.equal(claims.nbf, claims.iat);
    assert(claims.iat >= before - 5 && claims.iat <= Date.now() / 1000 + 5, `iat ${claims.iat}, asked at ${before}`);
    assert.equal(granted.expiresAtMs - granted.issuedAtMs, 900_000);
    // The server's own clock may have turned a second between the two.
    assert(Math.abs(granted.issuedAtMs / 1000 - claims.iat) <= 1);
  },

  "requestToken() asks for the server's own audience when none is given": async ({ cluster, namespace, put }) => {
    await put(serviceAccount(namespace, "plain"));
    const { token } = await cluster.requestToken(tokenRef(namespace, "plain", { audience: "" }));
    const { aud } = claimsOf(token);
    assert(aud.length > 0 && aud.every((audience) => audience !== ""), JSON.stringify(aud));
  },

  "requestToken() makes each token anew, for the same service account": async ({ cluster, namespace, put }) => {
    await put(serviceAccount(namespace, "twice"));
    const ref = tokenRef(namespace, "twice");
    const [a, b] = await Promise.all([cluster.requestToken(ref), cluster.requestToken(ref)]);
    assert.equal(uidOf(a.token), uidOf(b.token));
    assert.notEqual(claimsOf(a.token).jti, claimsOf(b.token).jti);
  },

  "requestToken() refuses a service account that does not exist": async ({ cluster, namespace }) => {
    await assert.rejects(cluster.requestToken(tokenRef(namespace, "nobody")), (error: Error) => {
      assert.equal((error as { code?: string }).code, "ServiceAccountNotFound");
      assert.match(error.message, new RegExp(`${namespace}/nobody`));
      return true;
    });
  },

  "requestToken() refuses a life of less than 600 seconds": async ({ cluster, namespace, put }) => {
    await put(serviceAccount(namespace, "hurried"));
    await assert.rejects(cluster.requestToken(tokenRef(namespace, "hurried", { expirationSeconds: 599 })), {
      code: "ApiRequestFailed",
      transient: false,
    });
    assert(await cluster.requestToken(tokenRef(namespace, "hurried", { expirationSeconds: 600 })));
  },

  "access() says what is allowed, and why": async ({ cluster, namespace }) => {
    const verdict = await cluster.access({ verb: "watch", resource: "secrets", namespace, name: "merged" });
    assert.equal(verdict.allowed, true);
    assert.equal(typeof verdict.reason, "string");
  },

  "counts grow with each request and each error": async ({ cluster, namespace }) => {
    const { requests, errors } = cluster.counts;
    await cluster.get({ kind: "Secret", namespace, name: "merged" });
    assert(cluster.counts.requests > requests);
    assert.equal(cluster.counts.errors, errors);
    await assert.rejects(cluster.requestToken(tokenRef(namespace, "nobody")));
    assert.equal(cluster.counts.errors, errors + 1);
  },

  "source says where the objects come from": ({ cluster }) => {
    assert(["kubeconfig", "in-cluster", "manifests"].includes(cluster.source.kind));
    assert.notEqual(cluster.source.where, "");
    assert.equal(cluster.endpoint === undefined, cluster.source.kind === "manifests");
    return Promise.resolve();
  },
};

function configMap(namespace: string, name: string, value: string): V1ConfigMap {
  return { kind: "ConfigMap", metadata: { namespace, name }, data: { value } };
}

function serviceAccount(namespace: string, name: string): V1ServiceAccount {
  return { kind: "ServiceAccount", metadata: { namespace, name } };
}

function tokenRef(namespace: string, serviceAccount: string, options: Partial<TokenRef> = {}): TokenRef {
  return { namespace, serviceAccount, audience: "vault", expirationSeconds: 900, ...options };
}

interface Claims {
  readonly aud: string[];
  readonly exp: number;
  readonly iat: number;
  readonly nbf: number;
  readonly iss: string;
  readonly jti: string;
  readonly sub: string;
  readonly "kubernetes.io": { namespace: string; serviceaccount: { name: string; uid: string } };
}

/** The claims as they stand in the token; who signed it is another test's matter. */
function claimsOf(token: string): Claims {
  const bytes = Uint8Array.fromBase64(token.split(".")[1]!, { alphabet: "base64url" });
  return JSON.parse(new TextDecoder().decode(bytes));
}

function uidOf(token: string): string {
  return claimsOf(token)["kubernetes.io"].serviceaccount.uid;
}

type FollowerOptions = { known?: WatchedObject | null; deliver?: () => Promise<void> };

/** Follows one object with a single key, `value`, and keeps what was delivered. */
class Follower implements AsyncDisposable {
  /** `undefined`: the object was gone. */
  readonly values: (string | undefined)[] = [];
  readonly states: string[] = [];
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;

  constructor(cluster: Cluster, ref: ObjectRef, { known, deliver }: FollowerOptions = {}) {
    const options: FollowOptions = {
      signal: this.#ending.signal,
      ...(known === undefined ? {} : { known }),
      deliver: async (object) => {
        this.values.push(object?.data?.value);
        await deliver?.();
      },
      onState: (state) => void this.states.push(state),
    };
    this.#ended = cluster.follow(ref, options);
  }

  /** Waits until the newest delivered value is this one. */
  async sees(value: string | undefined): Promise<void> {
    await waitFor(`${value} to be delivered; so far ${this.values}`, () => {
      return this.values.length > 0 && this.values.at(-1) === value;
    });
  }

  /** Waits until the object is watched or polled. */
  async settled(): Promise<void> {
    await waitFor(`a settled state; so far ${this.states}`, () => /watching|polling/.test(this.states.at(-1) ?? ""));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }
}
