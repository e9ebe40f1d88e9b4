import assert from "node:assert/strict";
import type { V1ConfigMap } from "@kubernetes/client-node";
import { KrunError } from "../core/errors.ts";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { FakeCluster, fakeError, type FakeFailure, unreachable } from "../../tests/fake_cluster.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { ObjectStore } from "./object_store.ts";
import { StartRetry } from "./start_retry.ts";

const CONFIG = { kind: "ConfigMap", namespace: "shop", name: "app" } as const;

function configMap(data: Record<string, string>, name = "app") {
  return { kind: "ConfigMap", metadata: { namespace: "shop", name }, data } as const;
}

function setUp(localObjects: ReadonlyMap<string, V1ConfigMap> = new Map()) {
  const clock = new FakeClock();
  const cluster = new FakeCluster(clock);
  const log = new RecordingLog();
  const store = new ObjectStore(cluster, { namespace: "shop", localObjects, log, clock });
  const signal = new AbortController().signal;
  const retry = new StartRetry({ deadlineMs: clock.nowMs() - 1, signal, clock, random: () => 0, log });
  return { clock, cluster, log, store, retry };
}

/** Follows everything; `changes` and `returns` fill, `end` ends it. */
function follow(store: ObjectStore) {
  const stop = new AbortController();
  const changes: string[] = [];
  const returns: number[] = [];
  const following = store.follow({
    signal: stop.signal,
    onChange: ({ kind, namespace, name }) => changes.push(`${kind}/${namespace}/${name}`),
    onReturn: (sinceMs) => returns.push(sinceMs),
  });
  const end = async () => {
    stop.abort();
    await following;
  };
  return { changes, returns, end };
}

Deno.test("ObjectStore.load() reads an object once when several ask for it", async () => {
  const { cluster, store, retry } = setUp();
  cluster.put(configMap({ a: "1" }));
  await Promise.all([store.load("ConfigMap", "app", retry), store.load("ConfigMap", "app", retry)]);
  assert.deepEqual(store.object("ConfigMap", "app")?.data, { a: "1" });
  assert.equal(cluster.requests.length, 1);
});

Deno.test("ObjectStore.load() takes absence for an answer, and a 403 for a failure", async () => {
  const { cluster, store, retry } = setUp();
  await store.load("Secret", "none", retry);
  assert.equal(store.object("Secret", "none"), undefined);
  cluster.fails(() => fakeError("Forbidden"));
  await assert.rejects(store.load("Secret", "db", retry), (e) => e instanceof KrunError && e.code === "Forbidden");
});

Deno.test("ObjectStore.object() throws Internal when the object was never asked for", () => {
  assert.throws(() => setUp().store.object("Secret", "x"), (e) => e instanceof KrunError && e.code === "Internal");
});

Deno.test("ObjectStore answers krun's own objects without the cluster, and never follows them", async () => {
  const own = { metadata: { name: "kube-root-ca.crt" }, data: { "ca.crt": "PEM" } };
  const { cluster, store, retry } = setUp(new Map([["ConfigMap/kube-root-ca.crt", own]]));
  cluster.put(configMap({ "ca.crt": "another" }, "kube-root-ca.crt"));
  await store.load("ConfigMap", "kube-root-ca.crt", retry);
  const { end } = follow(store);
  await settle();
  await end();
  assert.equal(store.object("ConfigMap", "kube-root-ca.crt"), own);
  assert.equal(cluster.requests.length, 0);
  assert.equal(store.status()[0]?.local, true);
});

Deno.test("ObjectStore without a cluster has krun's own objects, and ClusterNotFound for all others", async () => {
  const { clock, log, retry } = setUp();
  const localObjects = new Map([["ConfigMap/own", { data: {} }]]);
  const store = new ObjectStore(undefined, { namespace: "shop", localObjects, log, clock });
  await store.load("ConfigMap", "own", retry);
  await assert.rejects(
    store.load("Secret", "db", retry),
    (e) => e instanceof KrunError && e.code === "ClusterNotFound",
  );
});

Deno.test("ObjectStore.follow() tells of new data, of absence and of a return, and has it by then", async () => {
  const { cluster, store, retry } = setUp();
  cluster.put(configMap({ a: "1" }));
  await store.load("ConfigMap", "app", retry);
  const { changes, end } = follow(store);
  await settle();
  assert.equal(changes.length, 0, "what was loaded is not told again");
  cluster.put(configMap({ a: "2" }));
  await settle();
  assert.deepEqual(changes, ["ConfigMap/shop/app"]);
  assert.deepEqual(store.object("ConfigMap", "app")?.data, { a: "2" });
  cluster.remove(CONFIG);
  await settle();
  assert.equal(store.object("ConfigMap", "app"), undefined);
  assert.equal(store.status()[0]?.found, false);
  cluster.put(configMap({ a: "2" }));
  await settle();
  assert.equal(changes.length, 3);
  assert.equal(store.status()[0]?.changes, 3);
  await end();
});

Deno.test("ObjectStore.follow() tells of an object that is made after it was found absent", async () => {
  const { cluster, store, retry } = setUp();
  await store.load("ConfigMap", "app", retry);
  const { changes, end } = follow(store);
  cluster.put(configMap({ a: "1" }));
  await settle();
  await end();
  assert.equal(changes.length, 1);
});

Deno.test("ObjectStore.follow() says nothing when only metadata changed", async () => {
  const { cluster, store, retry } = setUp();
  const binary = { ...configMap({ a: "1" }), binaryData: { b: "AAE=" } };
  cluster.put(binary);
  await store.load("ConfigMap", "app", retry);
  const { changes, end } = follow(store);
  cluster.put({ ...binary, metadata: { ...binary.metadata, labels: { x: "y" } } });
  await settle();
  assert.equal(changes.length, 0);
  for (const change of [{ binaryData: { b: "AAI=" } }, { data: {} }, { data: { a: "1", c: "" } }]) {
    cluster.put({ ...binary, ...change });
    await settle();
  }
  assert.equal(changes.length, 3);
  await end();
});

Deno.test("ObjectStore.release() lets go of the data and still tells of every later version", async () => {
  const { cluster, store, retry } = setUp();
  cluster.put(configMap({ a: "1" }));
  await store.load("ConfigMap", "app", retry);
  store.release("ConfigMap", "app");
  assert.equal(store.object("ConfigMap", "app")?.data, undefined);
  const { changes, end } = follow(store);
  await settle();
  assert.equal(changes.length, 0, "its version is still known");
  cluster.put(configMap({}));
  await settle();
  assert.equal(changes.length, 1, "empty data differ from data that are not kept");
  await end();
});

Deno.test("ObjectStore.follow() tells an outage and its end once, however many objects are followed", async () => {
  const { clock, cluster, log, store, retry } = setUp();
  await Promise.all(["a", "b", "c"].map((name) => store.load("ConfigMap", name, retry)));
  const { returns, end } = follow(store);
  await clock.pass(1_000);
  const since = clock.elapsedMs();
  cluster.fails(unreachable);
  await clock.pass(60_000);
  assert.deepEqual(store.status().map(({ state }) => state), ["retrying", "retrying", "retrying"]);
  cluster.fails();
  await clock.pass(1_000);
  assert.deepEqual(log.events, [
    "warn objects cannot be followed, their last version stays",
    "info objects are followed again",
  ]);
  assert.deepEqual(returns, [since, since, since]);
  await end();
});

Deno.test("ObjectStore.follow() tells once a minute of watches that break again and again", async () => {
  const { clock, cluster, log, store, retry } = setUp();
  await store.load("ConfigMap", "app", retry);
  const { returns, end } = follow(store);
  const flap = async (times: number) => {
    for (let i = 0; i < times; i++) {
      cluster.fails(unreachable);
      await clock.pass(1_000);
      cluster.fails();
      await clock.pass(1_000);
    }
  };
  const told = () => log.events.filter((event) => !event.startsWith("debug"));
  await flap(20);
  const once = ["warn objects cannot be followed, their last version stays", "info objects are followed again"];
  assert.deepEqual(told(), once);
  assert.equal(returns.length, 20, "tokens are told all the same");
  await clock.pass(60_000);
  await flap(20);
  assert.deepEqual(told(), [...once, ...once]);
  await end();
});

Deno.test("ObjectStore.follow() says once that an object may not be read any more, after an outage too", async () => {
  const { clock, cluster, log, store, retry } = setUp();
  cluster.put(configMap({ a: "1" }));
  await store.load("ConfigMap", "app", retry);
  const { end } = follow(store);
  await settle();
  for (const failure of [unreachable, () => fakeError("Forbidden"), () => fakeError("Forbidden")]) {
    cluster.fails(failure);
    cluster.put(configMap({ a: "2" }));
    await clock.pass(20_000);
  }
  const told = log.events.filter((event) => event.includes("may not be read any more"));
  assert.deepEqual(told, ["warn an object may not be read any more, its last version stays"], log.events.join("\n"));
  await end();
});

Deno.test("ObjectStore.follow() goes on with the others when one object is refused", async () => {
  const { cluster, store, retry } = setUp();
  cluster.put(configMap({ a: "1" }));
  await Promise.all(["app", "other"].map((name) => store.load("ConfigMap", name, retry)));
  const refused: FakeFailure = ({ what }) => what.endsWith("/other") ? fakeError("Forbidden") : undefined;
  cluster.fails(refused);
  const { changes, end } = follow(store);
  cluster.put(configMap({ a: "2" }));
  await settle();
  assert.equal(changes.length, 1);
  await end();
});
