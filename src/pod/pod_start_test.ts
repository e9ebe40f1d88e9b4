import assert from "node:assert/strict";
import { join } from "node:path";
import { settle } from "../../tests/fake_clock.ts";
import { fakeClaims, fakeError, type FakeFailure, unreachable } from "../../tests/fake_cluster.ts";
import { MountRig } from "../../tests/mount_rig.ts";
import { configMapVolume, failure, NODE, plannedPod, secretVolume, tokenVolume } from "../../tests/planned_pod.ts";
import { mountPod } from "./mounted_pod.ts";

const MINUTE_MS = 60_000;

Deno.test("mountPod() publishes every mounted volume", async () => {
  await using rig = await MountRig.create();
  rig.secret("db", { user: "alice" });
  rig.configMap("conf", { "app.conf": "level=1\n" });
  const labels = { name: "info", downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] } };
  const volumes = [secretVolume("db"), configMapVolume("conf"), tokenVolume("tok"), labels, {
    name: "tmp",
    emptyDir: {},
  }];
  await rig.mount(plannedPod({ volumes }));
  assert.equal(rig.read("db/user"), "alice");
  assert.equal(rig.read("conf/app.conf"), "level=1\n");
  assert.equal(fakeClaims(rig.read("tok/token")).aud[0], "vault");
  assert.equal(rig.read("info/name"), "web");
  assert.ok((await Deno.stat(rig.path("tmp"))).isDirectory);
});

Deno.test("mountPod() has every request under way before the first is answered", async () => {
  await using rig = await MountRig.create();
  const volumes = Array.from({ length: 50 }, (_, i) => configMapVolume(`c${i}`, { optional: true }));
  const env = [{ name: "A", valueFrom: { secretKeyRef: { name: "s", key: "k", optional: true } } }];
  const volumeMounts = [...volumes, tokenVolume("tok")].map(({ name }) => ({ name, mountPath: rig.path(name) }));
  const containers = [{ name: "app", env, volumeMounts }];
  const mounting = rig.mount(
    plannedPod({ volumes: [...volumes, tokenVolume("tok")], containers, enableServiceLinks: true }),
  );
  assert.equal(rig.cluster.requests.length, 50 + 1 + 1 + 1);
  await mounting;
});

Deno.test("mountPod() asks for nothing and makes nothing when no container mounts the volume (kubelet.md 2.1)", async () => {
  await using rig = await MountRig.create();
  await rig.mount(plannedPod({ volumes: [secretVolume("missing")], containers: [{ name: "app" }] }));
  assert.equal(rig.cluster.requests.length, 0);
});

Deno.test("mountPod() reads an object once when volumes and environments share it", async () => {
  await using rig = await MountRig.create();
  rig.secret("db", { user: "alice" });
  const volumeMounts = [{ name: "one", mountPath: rig.path("one") }, { name: "two", mountPath: rig.path("two") }];
  const volumes = volumeMounts.map(({ name }) => ({ ...secretVolume("db"), name }));
  const containers = [{ name: "app", volumeMounts, envFrom: [{ secretRef: { name: "db" } }] }];
  const mounted = await rig.mount(plannedPod({ volumes, containers }));
  assert.equal(rig.cluster.requests.length, 1);
  assert.deepEqual(mounted.env("app"), { user: "alice" });
  assert.deepEqual([rig.read("one/user"), rig.read("two/user")], ["alice", "alice"]);
});

Deno.test("mountPod() tells every failure of a start in one error, with the setting that asked", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  await Deno.mkdir(rig.path("conf"));
  await Deno.writeTextFile(rig.path("conf/mine"), "not krun's");
  const refused: FakeFailure = ({ what }) =>
    what.endsWith("/tls") ? fakeError("Forbidden", { what, details: "kind: Role" }) : undefined;
  rig.cluster.fails(refused);
  const volumes = [secretVolume("db"), secretVolume("tls"), configMapVolume("conf")];
  const env = [{ name: "LEVEL", valueFrom: { configMapKeyRef: { name: "conf", key: "level" } } }];
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: rig.path(name) }));
  const origins = new Map([["db", "K8S_SECRET_db"], ["tls", "K8S_SECRET_tls"], ["conf", "K8S_CM_conf"]]);
  const planned = plannedPod({ volumes, containers: [{ name: "app", env, volumeMounts }], origins });
  const error = await failure(rig.mount(planned), "KeyNotFound");
  const lines = error.details?.split("\n") ?? [];
  const told = lines.filter((line) => line.startsWith("- "));
  const wanted = [["LEVEL", "level"], ["shop/db", "K8S_SECRET_db"], ["tls", "K8S_SECRET_tls"], [
    rig.path("conf"),
    "K8S_CM_conf",
  ]];
  for (const words of wanted) {
    assert.ok(told.some((line) => words.every((word) => line.includes(word))), `${words} in\n${error.details}`);
  }
  assert.equal(told.length, 4);
  assert.ok(lines.includes("kind: Role"));
  assert.deepEqual(rig.files("conf"), ["mine"]);
});

Deno.test("mountPod() skips an optional object that is missing, whose files appear and vanish with it", async () => {
  await using rig = await MountRig.create();
  await rig.run(plannedPod({ volumes: [secretVolume("db", { optional: true })] }));
  assert.deepEqual(rig.files("db"), []);
  rig.secret("db", { user: "alice" });
  await settle();
  assert.equal(rig.read("db/user"), "alice");
  rig.cluster.remove({ kind: "Secret", namespace: "shop", name: "db" });
  await settle();
  assert.deepEqual(rig.files("db"), []);
  assert.deepEqual(rig.changes.map(({ volumes }) => volumes), [["db"], ["db"]]);
});

Deno.test("mountPod() still fails when an optional object is refused (kubelet.md 1.7)", async () => {
  await using rig = await MountRig.create();
  rig.cluster.fails(() => fakeError("Forbidden"));
  await failure(rig.mount(plannedPod({ volumes: [secretVolume("db", { optional: true })] })), "Forbidden");
});

Deno.test("mountPod() retries a server that is away until the deadline, and mounts when it is back", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  rig.cluster.fails(unreachable);
  const mounting = rig.mount(
    plannedPod({ volumes: [configMapVolume("conf"), tokenVolume("tok")] }),
    rig.clock.nowMs() + MINUTE_MS,
  );
  await rig.clock.pass(50_000);
  rig.cluster.fails();
  await rig.clock.pass(5_000);
  await mounting;
  assert.equal(rig.read("conf/a"), "1");
});

Deno.test("mountPod() throws ClusterUnreachable when the server stays away until the deadline", async () => {
  await using rig = await MountRig.create();
  rig.cluster.fails(unreachable);
  const mounting = failure(
    rig.mount(plannedPod({ volumes: [configMapVolume("conf")] }), rig.clock.nowMs() + MINUTE_MS),
    "ClusterUnreachable",
  );
  await rig.clock.pass(MINUTE_MS + 1);
  assert.equal((await mounting).transient, true);
});

Deno.test("mountPod() throws the signal's reason when the start is given up", async () => {
  await using rig = await MountRig.create();
  rig.cluster.fails(unreachable);
  const mounting = rig.mount(plannedPod({ volumes: [configMapVolume("conf"), tokenVolume("tok")] }), Infinity);
  await rig.clock.pass(1_000);
  rig.stop.abort("given up");
  assert.equal(await mounting.catch((error) => error), "given up");
});

Deno.test("mountPod() needs no cluster when everything is krun's own", async () => {
  await using rig = await MountRig.create();
  const localObjects = new Map([["ConfigMap/kube-root-ca.crt", { data: { "ca.crt": "PEM" } }]]);
  const planned = plannedPod({ volumes: [configMapVolume("kube-root-ca.crt")], localObjects });
  const { base, log, clock } = rig;
  const options = { base, log, clock, deadlineMs: 0, signal: rig.stop.signal, node: NODE };
  await using _ = await mountPod(planned, undefined, options);
  assert.equal(rig.read("kube-root-ca.crt/ca.crt"), "PEM");
  const wanting = plannedPod({ volumes: [tokenVolume("tok")] });
  await failure(mountPod(wanting, undefined, options), "ClusterNotFound");
});

Deno.test("mountPod() puts relative and foreign absolute paths below the base, and knows the base by its linked name", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  const linked = rig.path("..", `${rig.root.split("/").at(-1)}-link`);
  await Deno.symlink(rig.root, linked);
  const paths = ["relative/one", "/etc/two", join(linked, "three"), rig.path("relative", "one")];
  const volumeMounts = paths.map((mountPath) => ({ name: "conf", mountPath }));
  const planned = plannedPod({ volumes: [configMapVolume("conf")], containers: [{ name: "app", volumeMounts }] });
  const { base, log, clock } = rig;
  const options = { base, log, clock, deadlineMs: 0, signal: rig.stop.signal, node: NODE };
  await mountPod(planned, rig.cluster, { ...options, basePath: linked }).finally(() => Deno.remove(linked));
  for (const path of ["relative/one/a", "etc/two/a", "three/a"]) assert.equal(rig.read(path), "1");
});

Deno.test("mountPod() needs no base folder when nothing is mounted, and says so when something is", async () => {
  await using rig = await MountRig.create();
  rig.configMap("conf", { a: "1" });
  const { log, clock } = rig;
  const options = { base: undefined, log, clock, deadlineMs: 0, signal: rig.stop.signal, node: NODE };
  const env = [{ name: "A", value: "1" }];
  await using mounted = await mountPod(plannedPod({ containers: [{ name: "app", env }] }), rig.cluster, options);
  assert.deepEqual(mounted.env("app"), { A: "1" });
  await failure(mountPod(plannedPod({ volumes: [configMapVolume("conf")] }), rig.cluster, options), "Internal");
});

Deno.test("mountPod() mounts a volume inside another, whichever is answered first", async () => {
  for (const order of [["outer", "inner"], ["inner", "outer"]]) {
    await using rig = await MountRig.create();
    rig.configMap("outer", { a: "1" });
    rig.secret("inner", { b: "2" });
    const mountPaths: Record<string, string> = { outer: rig.path("outer"), inner: rig.path("outer", "deep", "inner") };
    const volumeMounts = order.map((name) => ({ name, mountPath: mountPaths[name]! }));
    const volumes = order.map((name) => name === "outer" ? configMapVolume("outer") : secretVolume("inner"));
    await rig.run(plannedPod({ volumes, containers: [{ name: "app", volumeMounts }] }));
    rig.configMap("outer", { a: "3" });
    await settle();
    assert.deepEqual([rig.read("outer/a"), rig.read("outer/deep/inner/b")], ["3", "2"]);
  }
});
