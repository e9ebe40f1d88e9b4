import assert from "node:assert/strict";
import type { TokenRef } from "../core/cluster.ts";
import { settle } from "../../tests/fake_clock.ts";
import { fakeClaims, unreachable } from "../../tests/fake_cluster.ts";
import { MountRig } from "../../tests/mount_rig.ts";
import { configMapVolume, plannedPod, secretVolume, tokenVolume } from "../../tests/planned_pod.ts";

const MINUTE_MS = 60_000;

Deno.test("MountedPod.keepFresh() writes a change at once, for every volume that uses the object, and tells it once", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  rig.configMap("other", { b: "1" });
  const volumes = [
    configMapVolume("conf"),
    configMapVolume("other"),
    tokenVolume("mix", { configMap: { name: "conf" } }),
  ];
  await rig.run(plannedPod({ volumes }));
  rig.configMap("conf", { a: "2", c: "3" });
  await settle();
  assert.deepEqual([rig.read("conf/a"), rig.read("conf/c"), rig.read("mix/a")], ["2", "3", "2"]);
  assert.deepEqual(rig.changes, [{
    object: { kind: "ConfigMap", namespace: "shop", name: "conf" },
    volumes: ["conf", "mix"],
    containers: [],
  }]);
});

Deno.test("MountedPod.keepFresh() tells no change when only metadata changed, or a key that is not mounted", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1", b: "1" });
  const items = [{ key: "a", path: "a" }];
  await rig.run(plannedPod({ volumes: [{ name: "conf", configMap: { name: "conf", defaultMode: 0o644, items } }] }));
  rig.configMap("conf", { a: "1", b: "1" });
  rig.configMap("conf", { a: "1", b: "2" });
  await settle();
  assert.deepEqual(rig.changes, []);
});

Deno.test("MountedPod.keepFresh() keeps the files of a deleted object, says so once, and goes on when it is back", async () => {
  await using rig = await MountRig.create();
  rig.secret("db", { user: "alice" });
  const mounted = await rig.run(plannedPod({ volumes: [secretVolume("db")] }));
  rig.cluster.remove({ kind: "Secret", namespace: "shop", name: "db" });
  await rig.clock.pass(MINUTE_MS);
  assert.equal(rig.read("db/user"), "alice");
  assert.deepEqual(rig.log.events, ["warn volume keeps its files"]);
  assert.match(mounted.status().volumes[0]?.error ?? "", /shop\/db/);
  assert.deepEqual(rig.changes, []);
  rig.secret("db", { user: "bob" });
  await settle();
  assert.equal(rig.read("db/user"), "bob");
  assert.equal(mounted.status().volumes[0]?.error, undefined);
  assert.equal(rig.changes.length, 1);
});

Deno.test("MountedPod.keepFresh() keeps all old files when a key that an item names is gone", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1", b: "1" });
  const items = [{ key: "a", path: "a" }, { key: "b", path: "b" }];
  await rig.run(plannedPod({ volumes: [{ name: "conf", configMap: { name: "conf", defaultMode: 0o644, items } }] }));
  rig.configMap("conf", { a: "2" });
  await settle();
  assert.deepEqual([rig.read("conf/a"), rig.read("conf/b")], ["1", "1"]);
});

Deno.test("MountedPod.keepFresh() keeps the old files when the new ones cannot be written, and tries again every 5 s", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  const mounted = await rig.run(plannedPod({ volumes: [configMapVolume("conf")] }));
  await Deno.rename(rig.path("conf"), rig.path("away"));
  await Deno.writeTextFile(rig.path("conf"), "in the way");
  rig.configMap("conf", { a: "2" });
  await rig.clock.pass(MINUTE_MS);
  assert.equal(rig.changes.length, 0);
  assert.match(mounted.status().volumes[0]?.error ?? "", /Cannot write/);
  assert.equal(rig.read("away/a"), "1");
  await Deno.remove(rig.path("conf"));
  await Deno.rename(rig.path("away"), rig.path("conf"));
  await rig.clock.pass(5_000);
  assert.equal(rig.read("conf/a"), "2");
  assert.deepEqual(rig.changes.map(({ object, volumes }) => [object.name, volumes]), [["conf", ["conf"]]]);
  assert.deepEqual(rig.log.events, ["warn volume keeps its files", "info volume is up to date"]);
});

Deno.test("MountedPod.keepFresh() renews tokens, which is never a change", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  const mounted = await rig.run(plannedPod({ volumes: [tokenVolume("mix", { configMap: { name: "conf" } })] }));
  const before = rig.read("mix/token");
  await rig.clock.pass(49 * MINUTE_MS);
  assert.notEqual(rig.read("mix/token"), before);
  assert.equal(rig.read("mix/a"), "1");
  assert.deepEqual(rig.changes, []);
  assert.equal(mounted.status().tokens[0]?.renewals, 1);
  assert.ok(!JSON.stringify(rig.log.lines).includes(before));
});

Deno.test("MountedPod.keepFresh() shares one token between equal requests", async () => {
  await using rig = await MountRig.create();
  await rig.mount(plannedPod({ volumes: [tokenVolume("one"), tokenVolume("two")] }));
  assert.equal(rig.read("one/token"), rig.read("two/token"));
  assert.equal(rig.cluster.requests.length, 1);
});

Deno.test("MountedPod.keepFresh() renews tokens when the server comes back, since its service accounts may be others", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  await rig.run(plannedPod({ volumes: [configMapVolume("conf"), tokenVolume("tok")] }));
  const uid = () => fakeClaims(rig.read("tok/token"))["kubernetes.io"].serviceaccount.uid;
  const before = uid();
  await rig.clock.pass(1_000);
  rig.cluster.fails(unreachable);
  await rig.clock.pass(3 * MINUTE_MS);
  assert.equal(rig.read("conf/a"), "1");
  rig.cluster.putServiceAccount("shop", "web");
  rig.configMap("conf", { a: "2" });
  rig.cluster.fails();
  await rig.clock.pass(2_000);
  assert.notEqual(uid(), before);
  assert.equal(rig.read("conf/a"), "2");
});

Deno.test("MountedPod.env() gives the newest values at each call, and a change of them is told", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { level: "1" });
  const env = [{ name: "LEVEL", valueFrom: { configMapKeyRef: { name: "conf", key: "level" } } }];
  const mounted = await rig.run(plannedPod({ containers: [{ name: "app", env }, { name: "other" }] }));
  assert.deepEqual(mounted.env("app"), { LEVEL: "1" });
  rig.configMap("conf", { level: "2" });
  await settle();
  assert.deepEqual(mounted.env("app"), { LEVEL: "2" });
  assert.deepEqual(rig.changes.map(({ volumes, containers }) => ({ volumes, containers })), [
    { volumes: [], containers: ["app"] },
  ]);
  assert.throws(() => mounted.env("nobody"), RangeError);
});

Deno.test("MountedPod.env() has krun's own Services, and of the cluster's those of the namespace but kubernetes", async () => {
  await using rig = await MountRig.create();
  const service = (namespace: string, name: string, clusterIP: string) => ({
    metadata: { namespace, name },
    spec: { clusterIP, ports: [{ port: 443, protocol: "TCP" }] },
  });
  rig.cluster.putService(service("shop", "api", "10.0.0.5"));
  rig.cluster.putService(service("default", "kubernetes", "10.0.0.1"));
  const localServices = [service("default", "kubernetes", "192.0.2.1")];
  const linked = plannedPod({ enableServiceLinks: true, localServices });
  const withLinks = (await rig.mount(linked)).env("app");
  assert.equal(withLinks.KUBERNETES_SERVICE_HOST, "192.0.2.1");
  assert.equal(withLinks.API_SERVICE_HOST, "10.0.0.5");
  linked.pod.metadata!.namespace = "default";
  assert.equal((await rig.mount(linked)).env("app").KUBERNETES_SERVICE_HOST, "192.0.2.1");
  const withoutLinks = (await rig.mount(plannedPod({ localServices }))).env("app");
  assert.equal(withoutLinks.KUBERNETES_SERVICE_HOST, "192.0.2.1");
  assert.equal(withoutLinks.API_SERVICE_HOST, undefined);
});

Deno.test("MountedPod keeps a live file fresh, and pins a subPath until its container starts again", async () => {
  await using rig = await MountRig.create();
  rig.secret("tls", { "tls.crt": "one" });
  const mount = (path: string) => [{ name: path, mountPath: rig.path(path, "cert.pem"), subPath: "tls.crt" }];
  const containers = [{ name: "app", volumeMounts: [...mount("live"), ...mount("pinned")] }];
  const volumes = ["live", "pinned"].map((name) => ({ ...secretVolume("tls"), name }));
  const mounted = await rig.run(plannedPod({ volumes, containers, liveFiles: new Set(["live"]) }));
  mounted.resolveSubPaths("app");
  assert.deepEqual([rig.read("live/cert.pem"), rig.read("pinned/cert.pem")], ["one", "one"]);
  rig.secret("tls", { "tls.crt": "two" });
  await settle();
  assert.equal(rig.read("live/cert.pem"), "two");
  mounted.resolveSubPaths("app");
  assert.equal(rig.read("pinned/cert.pem"), "two");
});

Deno.test("MountedPod expands subPathExpr with the container's environment", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { zone: "b" });
  const env = [{ name: "ZONE", valueFrom: { configMapKeyRef: { name: "conf", key: "zone" } } }];
  const volumeMounts = [{ name: "tmp", mountPath: rig.path("data"), subPathExpr: "zone-$(ZONE)" }];
  const containers = [{ name: "app", env, volumeMounts }];
  const mounted = await rig.mount(plannedPod({ volumes: [{ name: "tmp", emptyDir: {} }], containers }));
  mounted.resolveSubPaths("app");
  await Deno.writeTextFile(rig.path("data/file"), "x");
  assert.match(Deno.realPathSync(rig.path("data/file")), /zone-b\/file$/);
});

Deno.test("MountedPod.status() says what is mounted and how fresh it is, and no content", async () => {
  await using rig = await MountRig.create();
  rig.secret("db", { user: "alice", password: "hunter2" });
  const mounted = await rig.run(plannedPod({ volumes: [secretVolume("db"), tokenVolume("tok")] }));
  const { volumes, objects, tokens } = mounted.status();
  assert.deepEqual(volumes, [
    {
      ...{
        volume: "db",
        source: "secret",
        paths: [rig.path("db")],
        objects: [{ kind: "Secret", name: "db" }],
        tokens: [],
      },
      ...{ keys: 2, lastChangeMs: rig.clock.nowMs() },
    },
    {
      ...{ volume: "tok", source: "projected", paths: [rig.path("tok")], objects: [] },
      ...{ tokens: [{ serviceAccount: "web", audience: "vault" }], keys: 1 },
      lastChangeMs: rig.clock.nowMs(),
    },
  ]);
  assert.deepEqual(objects, [
    { kind: "Secret", name: "db", found: true, local: false, state: "watching", changes: 0 },
  ]);
  const ref: TokenRef = { namespace: "shop", serviceAccount: "web", audience: "vault", expirationSeconds: 3600 };
  assert.deepEqual(tokens, [{
    ...ref,
    ...{ expiresAtMs: rig.clock.nowMs() + ref.expirationSeconds * 1000, renewals: 0, failures: 0 },
  }]);
  assert.ok(!JSON.stringify([mounted.status(), rig.log.lines]).includes("hunter2"));
});

Deno.test("MountedPod ends its loops when it is disposed", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  const mounted = await rig.run(plannedPod({ volumes: [configMapVolume("conf"), tokenVolume("tok")] }));
  await mounted[Symbol.asyncDispose]();
  assert.equal(rig.clock.sleeping, 0);
  assert.equal(rig.read("conf/a"), "1", "files stay until the base is closed");
});

Deno.test("MountedPod keeps a volume for the one user that it is for, in a Pod whose containers are several users", async () => {
  await using rig = await MountRig.create();
  const names = ["own-empty", "own-token", "empty", "token"];
  const volumeMounts = names.map((name) => ({ name, mountPath: name }));
  const emptyDir = (name: string) => ({ name, emptyDir: {} });
  const self = Deno.uid()!;
  await rig.mount(plannedPod({
    volumes: [emptyDir("own-empty"), tokenVolume("own-token"), emptyDir("empty"), tokenVolume("token")],
    containers: [
      { name: "app", securityContext: { runAsUser: self + 1 }, volumeMounts },
      { name: "other", securityContext: { runAsUser: self + 2 }, volumeMounts },
    ],
    volumeUsers: new Map([["own-empty", self], ["own-token", self]]),
  }));
  const state = (path: string) => {
    const { mode, uid } = Deno.statSync(rig.path(path));
    return [mode! & 0o777, uid === self];
  };
  assert.deepEqual([state("own-empty"), state("empty")], [[0o700, true], [0o777, true]]);
  // Of the token the folder that holds its bytes: everybody enters the other one, where the files decide.
  assert.deepEqual(state("own-token/token"), [0o600, true]);
  assert.deepEqual([state("own-token/..data"), state("token/..data")].map(([mode]) => mode), [0o700, 0o755]);
});
