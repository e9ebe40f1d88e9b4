import assert from "node:assert/strict";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { FakeCluster, fakeError } from "../../tests/fake_cluster.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { parseReference, type ReferenceCluster, referenceText } from "../core/reference.ts";
import { type PlacedReference, referenceSecret } from "../core/reference_pod.ts";
import { KubernetesReader, noOwnCluster } from "./kubernetes_reader.ts";
import { References, type ReferencesOptions } from "./references.ts";

const GKE = "/projects/p/zones/z/clusters/c/namespaces/other";

/** The workload's cluster, another one, and references to both. */
class Rig {
  readonly clock = new FakeClock();
  readonly own = new FakeCluster(this.clock);
  readonly other = new FakeCluster(this.clock);
  readonly log = new RecordingLog();
  readonly references: References;
  readonly polled = new Map<string, boolean>();

  constructor(values: Readonly<Record<string, string>>, canonical?: ReferencesOptions["canonical"]) {
    const references = Object.entries(values).map(([name, value]): PlacedReference => {
      const reference = parseReference(name, value);
      const shown = referenceText(reference.object, "shop");
      return { ...reference, shown, ...(reference.destination && { path: `/run/${name}` }) };
    });
    const clusters = { open: (cluster: ReferenceCluster) => this.#open(cluster) };
    this.references = new References({
      references,
      namespace: "shop",
      log: this.log,
      ...(canonical && { canonical }),
      reader: ({ object, variable }, { isPolled }) => {
        this.polled.set(variable, isPolled);
        if (object.system === "kubernetes") return new KubernetesReader(object, { clusters, namespace: "shop" });
        return { read: () => Promise.resolve(undefined), follow: () => Promise.resolve() };
      },
    });
  }

  ref(variable: string) {
    return { kind: "Secret" as const, namespace: "shop", name: referenceSecret(variable) };
  }

  async value(variable: string): Promise<string | undefined> {
    const secret = await this.references.get(this.ref(variable));
    return secret && atob(secret.data?.["value"] ?? "");
  }

  /** Follows variables until `stop`; `told` is what each was told, as `A=value`. */
  follow(...names: readonly string[]): { readonly told: string[]; stop(): Promise<void> } {
    const end = new AbortController();
    const told: string[] = [];
    const following = names.map((name) =>
      this.references.follow(this.ref(name), {
        signal: end.signal,
        deliver: (secret) => void told.push(`${name}=${secret && atob((secret.data ?? {})["value"] ?? "")}`),
      })
    );
    const stop = async () => {
      end.abort();
      await Promise.all(following);
    };
    return { told, stop };
  }

  put(cluster: FakeCluster, namespace: string, data: Record<string, string>): void {
    const encoded = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, btoa(text)]));
    cluster.put({ kind: "Secret", metadata: { namespace, name: "db" }, data: encoded });
  }

  #open({ kind }: ReferenceCluster): Promise<Cluster> {
    return Promise.resolve(kind === "own" ? this.own : this.other);
  }
}

Deno.test("References.get() reads an object once, however many references name it", async () => {
  const values = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`V${i}`, `$SecretKeyRef:/secrets/db/keys/k${i % 4}`]),
  );
  const rig = new Rig({ ...values, OTHER: `$SecretKeyRef:${GKE}/secrets/db/keys/k1` });
  rig.put(rig.own, "shop", { k0: "a", k1: "b", k2: "c", k3: "d" });
  rig.put(rig.other, "other", { k1: "x" });
  const all = await Promise.all([...Object.keys(values), "OTHER"].map((name) => rig.value(name)));
  assert.deepEqual(all.slice(0, 5), ["a", "b", "c", "d", "a"]);
  assert.equal(all.at(-1), "x");
  assert.deepEqual(rig.own.requests, [{ verb: "get", what: "Secret/shop/db" }]);
  assert.deepEqual(rig.other.requests, [{ verb: "get", what: "Secret/other/db" }]);
});

Deno.test("References.get() names variable, object and remedy of every failure, and keeps what tries again", async () => {
  const rig = new Rig({ A: "$SecretKeyRef:/secrets/db/keys/k", B: "$SecretKeyRef:/secrets/gone/keys/k" });
  rig.own.fails(({ what }) =>
    what.endsWith("/db") ? fakeError("Forbidden", { what: 'read Secret "shop/db"', details: "a Role" }) : undefined
  );
  await assert.rejects(rig.value("A"), (error) => {
    assert.ok(error instanceof KrunError);
    assert.equal(error.message, 'Cannot resolve A: cannot do read Secret "shop/db" at the fake cluster: Forbidden');
    assert.deepEqual([error.code, error.hint, error.details], ["Forbidden", "mend the test", "a Role"]);
    return true;
  });
  await assert.rejects(rig.value("B"), {
    code: "ObjectNotFound",
    message: 'Cannot resolve B: Secret "shop/gone" does not exist',
  });
  rig.own.fails(() => fakeError("ClusterUnreachable", { transient: true, retryAfterMs: 7 }));
  await assert.rejects(rig.value("A"), { code: "ClusterUnreachable", transient: true, retryAfterMs: 7 });
  rig.own.fails(() => undefined);
  rig.put(rig.own, "shop", { k: "v" });
  assert.equal(await rig.value("A"), "v", "a failure is not kept");
});

Deno.test("References.get() names the object where what failed does not", async () => {
  const rig = new Rig({ A: `$SecretKeyRef:${GKE}/secrets/db/keys/k` });
  rig.other.fails(() => noOwnCluster("Cannot find it"));
  const message = 'Cannot resolve A from Secret "other/db" of cluster "projects/p/locations/z/clusters/c": ' +
    "cannot read from the workload's own cluster: cannot find it";
  await assert.rejects(rig.value("A"), { code: "ClusterNotFound", message });
});

Deno.test("References.get() tells a right that is missing in another cluster by itself, and the Pod's own with all others", async () => {
  const rig = new Rig({ OWN: "$SecretKeyRef:/secrets/db/keys/k", OTHER: `$SecretKeyRef:${GKE}/secrets/db/keys/k` });
  const missing = { identity: "ann", namespace: "n", verbs: ["get"], apiGroup: "", resource: "secrets", name: "db" };
  const forbidden = () => fakeError("Forbidden", { details: "kind: Role\n", missing });
  rig.own.fails(forbidden);
  rig.other.fails(forbidden);
  await assert.rejects(rig.value("OWN"), { details: "kind: Role\n", missing });
  await assert.rejects(rig.value("OTHER"), (error) => {
    assert.ok(error instanceof KrunError);
    assert.match(`${error.details}`, /^# In the cluster of Secret "other\/db" of cluster ".*":\nkind: Role\n---$/);
    assert.equal(error.missing, undefined);
    return true;
  });
});

Deno.test("References.follow() watches an object once, and tells each reference its own value", async () => {
  const rig = new Rig({
    A: "$SecretKeyRef:/secrets/db/keys/a",
    B: "$SecretKeyRef:/secrets/db/keys/b?optional=true",
    C: "$SecretKeyRef:/secrets/db/keys/b?default=none&destination=/run/c",
  });
  rig.put(rig.own, "shop", { a: "1", b: "1" });
  for (const name of ["A", "B", "C"]) await rig.value(name);
  const { told, stop } = rig.follow("A", "B", "C");
  await settle();
  assert.deepEqual(told, [], "what is known is not told again");
  rig.put(rig.own, "shop", { a: "2", b: "2" });
  await settle();
  assert.deepEqual(told.splice(0), ["A=2", "B=2", "C=2"]);
  rig.put(rig.own, "shop", { b: "3" });
  await settle();
  assert.deepEqual(told.splice(0), ["B=3", "C=3"], "A keeps its last value");
  const [line] = rig.log.lines;
  assert.equal(line!.event, "a reference keeps its last value");
  assert.match(`${line!.fields?.["reason"]}`, /^Cannot resolve A: Secret "shop\/db" has no key "a"/);
  rig.own.remove({ kind: "Secret", namespace: "shop", name: "db" });
  await settle();
  assert.deepEqual(told, [], "default and optional are for a start: all keep their last value");
  const kept = rig.log.lines.filter(({ event }) => event === "a reference keeps its last value");
  assert.deepEqual(kept.map(({ fields }) => fields?.["variable"]), ["A", "A", "B", "C"]);
  assert.equal(rig.own.requests.filter(({ verb }) => verb === "watch").length, 1);
  await stop();
});

Deno.test("References.follow() tells what comes later where there was nothing at first, and keeps that", async () => {
  const rig = new Rig({
    A: "$SecretKeyRef:/secrets/db/keys/a?optional=true",
    B: "$SecretKeyRef:/secrets/db/keys/b?default=x",
  });
  assert.deepEqual([await rig.value("A"), await rig.value("B")], [undefined, "x"]);
  assert.deepEqual(["A", "B"].map((name) => rig.references.isDefault(rig.ref(name))), [true, true]);
  const { told, stop } = rig.follow("A", "B");
  await settle();
  rig.put(rig.own, "shop", { a: "1", b: "x" });
  await settle();
  assert.deepEqual(told.splice(0), ["A=1", "B=x"]);
  assert.deepEqual(["A", "B"].map((name) => rig.references.isDefault(rig.ref(name))), [false, false]);
  rig.own.remove({ kind: "Secret", namespace: "shop", name: "db" });
  await settle();
  assert.deepEqual(told, []);
  await stop();
});

Deno.test("References.get() asks once for an object that two forms name, where both are told to be one", async () => {
  const rig = new Rig({
    SHORT: "$SecretKeyRef:/secrets/db/keys/k",
    LONG: "$SecretKeyRef:/namespaces/shop/secrets/db/keys/k",
    OTHER: "$SecretKeyRef:/namespaces/other/secrets/db/keys/k",
  }, (object) => object.system === "kubernetes" ? { ...object, namespace: object.namespace ?? "shop" } : object);
  rig.put(rig.own, "shop", { k: "v" });
  rig.put(rig.own, "other", { k: "w" });
  assert.deepEqual(await Promise.all(["SHORT", "LONG", "OTHER"].map((name) => rig.value(name))), ["v", "v", "w"]);
  assert.equal(rig.own.requests.length, 2);
});

Deno.test("References.get() tries again for all references of an object together", async () => {
  const names = Array.from({ length: 40 }, (_, i) => `V${i}`);
  const rig = new Rig(Object.fromEntries(names.map((name) => [name, "$SecretKeyRef:/secrets/db/keys/k"])));
  rig.put(rig.own, "shop", { k: "v" });
  let failures = 3;
  rig.own.fails(() => failures-- > 0 ? fakeError("ClusterUnreachable", { transient: true }) : undefined);
  const patient = async (name: string): Promise<string | undefined> => {
    for (;;) {
      try {
        return await rig.value(name);
      } catch {
        // Each asks again after a time of its own.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 50));
      }
    }
  };
  assert.deepEqual(await Promise.all(names.map(patient)), names.map(() => "v"));
  assert.equal(rig.own.requests.length, 4);
});

Deno.test("References polls what is not pinned and goes into a file, and nothing else", () => {
  const rig = new Rig({
    FILE: "sm://p/a?destination=tempfile",
    VARIABLE: "sm://p/b",
    PINNED: "sm://p/c?destination=tempfile#3",
    GENERATION: "berglas://bkt/a?destination=tempfile#7",
    LIVE: "berglas://bkt/b?destination=tempfile",
    SHARED: "sm://p/d",
    SHARED_FILE: "sm://p/d?destination=/run/d",
  });
  const expected = { FILE: true, VARIABLE: false, PINNED: false, GENERATION: false, LIVE: true, SHARED: true };
  assert.deepEqual(Object.fromEntries(rig.polled), expected);
});
