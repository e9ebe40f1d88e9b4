/**
 * A mounted Pod against a real API server: everything that can happen to objects, tokens, rights and the server itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { V1Volume } from "@kubernetes/client-node";
import type { Clock } from "../../src/core/clock.ts";
import type { Cluster } from "../../src/core/cluster.ts";
import type { PlannedPod } from "../../src/core/pod_from_settings.ts";
import { findCluster } from "../../src/kube/find_cluster.ts";
import { type BaseFolder, openBase } from "../../src/pod/base_folder.ts";
import { systemClock } from "../../src/pod/clock.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { type MountedPod, mountPod, type PodChange } from "../../src/pod/mounted_pod.ts";
import { configMapVolume, failure, NODE, plannedPod, secretVolume, tokenVolume } from "../planned_pod.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, type KubeObject, startApiServer } from "./api_server.ts";

loadLibc();
const sharedServer = await startApiServer();
Deno.test.afterAll(() => sharedServer[Symbol.asyncDispose]());

/** Longer than any back-off of krun, and a start of the API server. */
const RETURN = { timeoutMs: 60_000 };

const secret = (namespace: string, name: string, stringData: Record<string, string>): KubeObject => ({
  ...{ apiVersion: "v1", kind: "Secret", metadata: { namespace, name }, stringData },
});
const configMap = (namespace: string, name: string, data: Record<string, string>): KubeObject => ({
  ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace, name }, data },
});
const serviceAccount = (namespace: string, name = "web"): KubeObject => ({
  ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } },
});

interface RigOptions {
  readonly server?: ApiServer;
  readonly kubeconfig?: string;
  readonly root?: string;
  readonly clock?: Clock;
}

/** A namespace with service account `web`, a base folder, and an open cluster. */
class Rig implements AsyncDisposable {
  readonly changes: PodChange[] = [];
  readonly stop = new AbortController();
  mounted: MountedPod | undefined;
  #keeping: Promise<void> | undefined;

  private constructor(
    readonly server: ApiServer,
    readonly namespace: string,
    readonly root: string,
    readonly base: BaseFolder,
    readonly cluster: Cluster,
    readonly log: RecordingLog,
    readonly clock: Clock,
  ) {}

  static async create(options: RigOptions = {}): Promise<Rig> {
    const { server = sharedServer, kubeconfig = server.adminKubeconfig, clock = systemClock } = options;
    const namespace = `ns-${crypto.randomUUID().slice(0, 8)}`;
    await server.namespace(namespace);
    await server.create(serviceAccount(namespace));
    const root = options.root ?? await Deno.makeTempDir({ prefix: "krun-live-mounted-" });
    const log = new RecordingLog();
    const base = openBase({ base: root, log, pid: Deno.pid });
    // Polls are fast here, so that a test of them need not wait for a minute.
    const timing = { pollMs: 500 };
    const cluster = await findCluster({ kubeconfig: [kubeconfig], stateFolder: "/nowhere" }, { log, timing });
    return new Rig(server, namespace, root, base, cluster, log, clock);
  }

  read(path: string): string {
    return Deno.readTextFileSync(join(this.root, path));
  }

  claims(path: string): { exp: number; "kubernetes.io": { serviceaccount: { uid: string } } } {
    const bytes = Uint8Array.fromBase64(this.read(path).split(".")[1]!, { alphabet: "base64url" });
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  async sees(path: string, text: string, options?: { timeoutMs: number }): Promise<void> {
    await waitFor(`${text} in ${path}`, () => this.read(path) === text, options);
  }

  mount(volumes: V1Volume[], { deadlineMs = 0, ...more }: Partial<PlannedPod> & { deadlineMs?: number } = {}) {
    const { namespace, base, log, clock } = this;
    const planned = plannedPod({ namespace, volumes, ...more });
    const options = { base, log, clock, deadlineMs, signal: this.stop.signal, node: NODE };
    return mountPod(planned, this.cluster, options).then((mounted) => this.mounted = mounted);
  }

  /** Mounts and follows. */
  async run(...volumes: V1Volume[]): Promise<MountedPod> {
    const mounted = await this.mount(volumes);
    this.#keeping = mounted.keepFresh({ signal: this.stop.signal, onChange: (change) => this.changes.push(change) });
    await waitFor("every object to be followed", () => {
      return mounted.status().objects.every(({ state }) => state === "watching" || state === "polling");
    }, RETURN);
    return mounted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.#keeping;
    await this.mounted?.[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
    this.base.close({ keep: false });
    assert.deepEqual([...Deno.readDirSync(this.root)].map(({ name }) => name), [], "nothing is left");
    await Deno.remove(this.root).catch(() => {});
  }
}

Deno.test("mountPod() puts Secrets, ConfigMaps and tokens in place: text, bytes, and an object of 1 MiB", async () => {
  await using rig = await Rig.create();
  const { namespace, server } = rig;
  const bytes = crypto.getRandomValues(new Uint8Array(50_000));
  const megabyte = "0123456789abcdef".repeat(65_536);
  await server.create(secret(namespace, "db", { user: "alice" }));
  await server.create({ ...configMap(namespace, "bin", { text: "é\n" }), binaryData: { bytes: bytes.toBase64() } });
  await server.create({ ...configMap(namespace, "big", { big: megabyte.slice(0, 1_048_000) }) });
  await rig.run(secretVolume("db"), configMapVolume("bin"), configMapVolume("big"), tokenVolume("tok"));
  assert.equal(rig.read("db/user"), "alice");
  assert.equal(rig.read("bin/text"), "é\n");
  assert.deepEqual(Deno.readFileSync(join(rig.root, "bin/bytes")), bytes);
  assert.equal(rig.read("big/big").length, 1_048_000);
  const { exp } = rig.claims("tok/token");
  assert.ok(exp * 1000 > Date.now() + 3_000_000);
  await server.replace(configMap(namespace, "big", { big: megabyte.slice(16, 1_048_000) }));
  await waitFor("the big object's change", () => rig.read("big/big").length === 1_047_984);
});

Deno.test("MountedPod follows changes, deletion and return of an object, and an optional one that appears later", async () => {
  await using rig = await Rig.create();
  const { namespace, server } = rig;
  await server.create(secret(namespace, "db", { user: "alice" }));
  const mounted = await rig.run(secretVolume("db"), configMapVolume("later", { optional: true }));
  await server.replace(secret(namespace, "db", { user: "bob" }));
  await rig.sees("db/user", "bob");
  await server.delete(secret(namespace, "db", {}));
  await waitFor("the deletion to be seen", () => mounted.status().volumes[0]?.error);
  assert.equal(rig.read("db/user"), "bob");
  await server.create(secret(namespace, "db", { user: "carol" }));
  await rig.sees("db/user", "carol");
  await server.create(configMap(namespace, "later", { a: "1" }));
  await rig.sees("later/a", "1");
  await server.delete(configMap(namespace, "later", {}));
  await waitFor(
    "the files to vanish",
    () => [...Deno.readDirSync(join(rig.root, "later"))].every((e) => e.name !== "a"),
  );
  assert.deepEqual(rig.changes.map(({ volumes }) => volumes[0]), ["db", "db", "later", "later"]);
  const kept = rig.log.lines.filter(({ event }) => event === "volume keeps its files");
  assert.equal(kept.length, 1, "said once");
});

Deno.test("mountPod() tells every missing object and every refusal at once, with the Role that would allow it", async () => {
  const user = `krun-${crypto.randomUUID().slice(0, 8)}`;
  const { kubeconfig } = await sharedServer.user(user);
  await using rig = await Rig.create({ kubeconfig });
  const { namespace, server } = rig;
  await server.grant(namespace, user, [{
    apiGroups: [""],
    resources: ["configmaps"],
    verbs: ["get", "list", "watch"],
  }]);
  const origins = new Map([["conf", "K8S_CM_conf"], ["db", "K8S_SECRET_db"], ["tok", "K8S_TOKEN_vault"]]);
  const volumes = [configMapVolume("conf"), secretVolume("db"), tokenVolume("tok")];
  const error = await failure(rig.mount(volumes, { origins }), "ObjectNotFound");
  const words = `${error.message}\n${error.details}`;
  for (
    const word of [`${namespace}/conf`, "K8S_CM_conf", `${namespace}/db`, "K8S_SECRET_db", "K8S_TOKEN_vault", user]
  ) {
    assert.ok(words.includes(word), `${word} in\n${words}`);
  }
  assert.match(words, /kind: Role/);
  assert.match(words, /secrets/);
  assert.match(words, /serviceaccounts\/token/);
});

Deno.test("mountPod() names the service account that does not exist", async () => {
  await using rig = await Rig.create();
  await rig.server.delete(serviceAccount(rig.namespace));
  const error = await failure(rig.mount([tokenVolume("tok")]), "ServiceAccountNotFound");
  assert.ok(error.message.includes(`${rig.namespace}/web`), error.message);
});

Deno.test("MountedPod polls and says so once where RBAC allows get but not watch", async () => {
  const user = `krun-${crypto.randomUUID().slice(0, 8)}`;
  const { kubeconfig } = await sharedServer.user(user);
  await using rig = await Rig.create({ kubeconfig });
  const { namespace, server } = rig;
  await server.grant(namespace, user, [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }]);
  for (const name of ["a", "b"]) await server.create(configMap(namespace, name, { value: "1" }));
  const mounted = await rig.run(configMapVolume("a"), configMapVolume("b"));
  assert.deepEqual(mounted.status().objects.map(({ state }) => state), ["polling", "polling"]);
  await server.replace(configMap(namespace, "b", { value: "2" }));
  await rig.sees("b/value", "2");
  assert.equal(rig.log.events.filter((event) => event.startsWith("warn")).length, 1, rig.log.events.join());
});

Deno.test("MountedPod goes on when the API server is away, and is fresh within seconds of its return", async (t) => {
  // In an orderly stop the server waits this long for watches that are open.
  await using server = await startApiServer({ args: ["--request-timeout=5s"] });
  await using rig = await Rig.create({ server });
  const { namespace } = rig;
  await server.create(secret(namespace, "db", { user: "alice" }));
  const mounted = await rig.run(secretVolume("db"), tokenVolume("tok"));
  const away = () =>
    waitFor("the outage to be noticed", () => mounted.status().objects[0]?.state === "retrying", RETURN);

  await t.step("killed and started again", async () => {
    await server.stopServer();
    await away();
    assert.equal(rig.read("db/user"), "alice");
    await server.startServer();
    await server.replace(secret(namespace, "db", { user: "bob" }));
    await rig.sees("db/user", "bob");
  });

  await t.step("restarted in an orderly way", async () => {
    await server.stopServer("SIGTERM");
    await server.startServer();
    await server.replace(secret(namespace, "db", { user: "carol" }));
    await rig.sees("db/user", "carol");
  });

  await t.step("its etcd wiped: objects and tokens are those of the new one", async () => {
    const uid = () => rig.claims("tok/token")["kubernetes.io"].serviceaccount.uid;
    const before = uid();
    await server.wipeEtcd();
    assert.equal(rig.read("db/user"), "carol", "files stay");
    await server.namespace(namespace);
    const created = await server.create(serviceAccount(namespace));
    await server.create(secret(namespace, "db", { user: "dave" }));
    await rig.sees("db/user", "dave");
    await waitFor("a token of the new service account", () => uid() !== before && uid() === created.metadata.uid);
  });
  assert.equal(rig.changes.filter(({ object }) => object.name !== "db").length, 0);
});

Deno.test("mountPod() waits for an API server that is not there yet, until the deadline", async (t) => {
  await using server = await startApiServer();

  await t.step("fails when it stays away", async () => {
    await using rig = await Rig.create({ server });
    await server.stopServer();
    const start = performance.now();
    const mounting = rig.mount([configMapVolume("conf"), tokenVolume("tok")], { deadlineMs: Date.now() + 1_500 });
    const error = await failure(mounting, "ClusterUnreachable");
    assert.ok(performance.now() - start >= 1_400, "not before the deadline");
    assert.ok(error.message.includes(server.url), error.message);
    await server.startServer();
  });

  await t.step("mounts when it comes", async () => {
    await using rig = await Rig.create({ server });
    await server.create(configMap(rig.namespace, "conf", { a: "1" }));
    await server.stopServer();
    const mounting = rig.mount([configMapVolume("conf")], { deadlineMs: Date.now() + 60_000 });
    await waitFor("a first try that failed", () => rig.cluster.counts.errors > 0);
    await server.startServer();
    await mounting;
    assert.equal(rig.read("conf/a"), "1");
  });
});

Deno.test("MountedPod renews tokens when the clock jumps, forward at once and back in time", async (t) => {
  let offsetMs = 0;
  let extraMs = 0;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => Date.now() + offsetMs + extraMs,
    elapsedMs: () => performance.now() + extraMs,
  };
  await using rig = await Rig.create({ clock });
  const mounted = await rig.run(tokenVolume("tok"));
  const renewals = () => mounted.status().tokens[0]?.renewals;

  await t.step("forward, as after a suspend", async () => {
    const before = rig.read("tok/token");
    offsetMs += 3_600_000;
    await waitFor("a renewal", () => renewals() === 1);
    assert.notEqual(rig.read("tok/token"), before);
  });

  await t.step("back, and then 50 minutes pass", async () => {
    offsetMs -= 86_400_000;
    extraMs += 3_000_000;
    await waitFor("a renewal", () => renewals() === 2);
  });
  assert.deepEqual(rig.changes, []);
});

Deno.test("MountedPod copes within a minute with a service account that is deleted and made again", async (t) => {
  let extraMs = 0;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => Date.now() + extraMs,
    elapsedMs: () => performance.now() + extraMs,
  };
  const user = `krun-${crypto.randomUUID().slice(0, 8)}`;
  const { kubeconfig } = await sharedServer.user(user);
  const rights = [
    { apiGroups: [""], resources: ["serviceaccounts/token"], resourceNames: ["web"], verbs: ["create"] },
    { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "watch"] },
  ];
  for (const volumes of [[tokenVolume("tok")], [tokenVolume("tok"), configMapVolume("conf")]]) {
    await t.step(`a Pod that mounts ${volumes.map(({ name }) => name).join(" and ")}`, async () => {
      await using rig = await Rig.create({ clock, kubeconfig });
      const { namespace, server } = rig;
      await server.grant(namespace, user, rights);
      await server.create(configMap(namespace, "conf", { a: "1" }));
      const mounted = await rig.run(...volumes);
      const uid = () => rig.claims("tok/token")["kubernetes.io"].serviceaccount.uid;
      const before = rig.read("tok/token");

      const requests = rig.cluster.counts.requests;
      extraMs += 60_000;
      await waitFor("a check", () => rig.cluster.counts.requests > requests);
      await server.delete(serviceAccount(namespace));
      const between = await server.create(serviceAccount(namespace));
      extraMs += 60_000;
      await waitFor("the token of an account that was made anew between two checks", () => {
        return uid() === between.metadata.uid;
      });
      assert.equal(mounted.status().tokens[0]?.renewals, 1, "the first check changed nothing");
      assert.notEqual(rig.read("tok/token"), before);

      const last = rig.read("tok/token");
      await server.delete(serviceAccount(namespace));
      extraMs += 60_000;
      await waitFor("a failed renewal", () => mounted.status().tokens[0]?.failures);
      assert.equal(rig.read("tok/token"), last);
      const later = await server.create(serviceAccount(namespace));
      await waitFor("the token of an account that is back", () => uid() === later.metadata.uid);
      assert.deepEqual(rig.changes, []);
    });
  }
});

Deno.test("MountedPod that mounts a token alone has the new one's when etcd was wiped", async () => {
  await using server = await startApiServer();
  let extraMs = 0;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => Date.now() + extraMs,
    elapsedMs: () => performance.now() + extraMs,
  };
  await using rig = await Rig.create({ server, clock });
  await rig.run(tokenVolume("tok"));
  await server.wipeEtcd();
  await server.namespace(rig.namespace);
  const created = await server.create(serviceAccount(rig.namespace));
  extraMs += 60_000;
  await waitFor("a token of the new service account", () => {
    return rig.claims("tok/token")["kubernetes.io"].serviceaccount.uid === created.metadata.uid;
  }, RETURN);
});

Deno.test("MountedPod with 500 mounts renews a token and sees a change of the 500th object", async () => {
  let extraMs = 0;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => Date.now() + extraMs,
    elapsedMs: () => performance.now() + extraMs,
  };
  await using rig = await Rig.create({ clock });
  const { namespace, server } = rig;
  const names = Array.from({ length: 500 }, (_, i) => `c${String(i).padStart(3, "0")}`);
  for (let at = 0; at < names.length; at += 50) {
    await Promise.all(
      names.slice(at, at + 50).map((name) => server.create(configMap(namespace, name, { value: name }))),
    );
  }
  const mounted = await rig.run(...names.map((name) => configMapVolume(name)), tokenVolume("tok"));
  assert.equal(rig.read("c499/value"), "c499");
  const before = rig.read("tok/token");
  extraMs += 3_000_000;
  await waitFor("the renewal", () => mounted.status().tokens[0]?.renewals);
  assert.notEqual(rig.read("tok/token"), before);
  await server.replace(configMap(namespace, "c499", { value: "new" }));
  await rig.sees("c499/value", "new");
  assert.deepEqual(rig.changes.map(({ volumes }) => volumes), [["c499"]]);
});

Deno.test("MountedPod keeps the old version when its file system is full, and writes the next that fits", async () => {
  const root = await Deno.makeTempDir({ prefix: "krun-live-full-" });
  const command = async (name: string, ...args: string[]) => {
    const { success, stderr } = await new Deno.Command(name, { args }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  };
  await command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", root);
  try {
    await using rig = await Rig.create({ root });
    const { namespace, server } = rig;
    await server.create(configMap(namespace, "conf", { a: "small" }));
    const mounted = await rig.run(configMapVolume("conf"));
    await server.replace(configMap(namespace, "conf", { a: "x".repeat(100_000) }));
    await waitFor("the failure", () => mounted.status().volumes[0]?.error);
    assert.equal(rig.read("conf/a"), "small");
    assert.equal(rig.changes.length, 0);
    await server.replace(configMap(namespace, "conf", { a: "fits" }));
    await rig.sees("conf/a", "fits");
    assert.equal(mounted.status().volumes[0]?.error, undefined);
  } finally {
    await command("umount", root);
    await Deno.remove(root);
  }
});
