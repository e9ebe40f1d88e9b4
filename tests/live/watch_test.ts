/**
 * Following objects of a real API server: by every set of rights, and through everything that a server can do to a watch.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { V1Secret } from "@kubernetes/client-node";
import type { Cluster, FollowState, WatchedObject } from "../../src/core/cluster.ts";
import { KrunError } from "../../src/core/errors.ts";
import type { ApiTiming } from "../../src/kube/api_cluster.ts";
import { findCluster } from "../../src/kube/find_cluster.ts";
import { RecordingLog } from "../recording_log.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, type KubeObject, type PolicyRule, startApiServer } from "./api_server.ts";

const NAMESPACE = "payments";

function secret(value: string, name = "db"): KubeObject {
  return { apiVersion: "v1", kind: "Secret", metadata: { namespace: NAMESPACE, name }, stringData: { value } };
}

/** The value in a Secret of {@linkcode secret}. */
function valueOf(object: WatchedObject | undefined): string | undefined {
  const value = (object as V1Secret | undefined)?.data?.value;
  return value === undefined ? undefined : atob(value);
}

/** One followed Secret of a cluster of its own. */
class Followed implements AsyncDisposable {
  /** Every value delivered; `undefined`: gone. */
  readonly values: (string | undefined)[] = [];
  readonly states: FollowState[] = [];
  readonly #stop = new AbortController();
  #following: Promise<void> | undefined;

  private constructor(readonly cluster: Cluster, readonly log: RecordingLog) {}

  static async start(
    kubeconfig: string,
    { timing, name = "db" }: { timing?: ApiTiming; name?: string } = {},
  ): Promise<Followed> {
    const log = new RecordingLog();
    const request = { kubeconfig: [kubeconfig], stateFolder: "/nowhere" };
    const cluster = await findCluster(request, { log, timing: { retryMs: 1_000, ...timing } });
    const followed = new Followed(cluster, log);
    followed.follow(name);
    return followed;
  }

  follow(name: string): void {
    const following = this.cluster.follow({ kind: "Secret", namespace: NAMESPACE, name }, {
      signal: this.#stop.signal,
      deliver: (object) => void this.values.push(valueOf(object)),
      onState: (state) => void this.states.push(state),
    });
    this.#following = Promise.all([this.#following, following]).then(() => {});
  }

  async sees(value: string | undefined): Promise<void> {
    await waitFor(
      `value ${value} (states ${this.states})`,
      () => this.values.length > 0 && this.values.at(-1) === value,
      {
        timeoutMs: 40_000,
      },
    );
  }

  async is(state: FollowState): Promise<void> {
    await waitFor(`state ${state}`, () => this.states.at(-1) === state, { timeoutMs: 40_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
    await this.cluster[Symbol.asyncDispose]();
  }
}

async function start(args: readonly string[] = []): Promise<ApiServer> {
  const server = await startApiServer({ args });
  await server.namespace(NAMESPACE);
  return server;
}

let unharmed: ApiServer;
Deno.test.beforeAll(async () => {
  unharmed = await start();
});
Deno.test.afterAll(() => unharmed?.[Symbol.asyncDispose]());

/** One server for all who do it no harm, without the Secrets of the test before. */
async function sharedServer(): Promise<ApiServer> {
  for (const name of ["db", "other"]) await unharmed.delete(secret("", name)).catch(() => {});
  return unharmed;
}

const AWAY = "warn API server cannot be reached";

let users = 0;

/** A user who may do this to the Secret `db` alone. */
async function userWith(server: ApiServer, verbs: readonly string[], rule: Partial<PolicyRule> = {}) {
  const user = await server.user(`user-${users++}`);
  await server.grant(NAMESPACE, user.name, [{
    apiGroups: [""],
    resources: ["secrets"],
    resourceNames: ["db"],
    verbs,
    ...rule,
  }]);
  return user;
}

Deno.test("follow() sees changes, deletion and a new object of the old name, by any set of rights", async (t) => {
  const server = await sharedServer();
  for (const verbs of [["get", "list", "watch"], ["get", "watch"], ["watch"]]) {
    await t.step(`verbs ${verbs}`, async () => {
      await server.apply(secret("1"));
      const { kubeconfig } = await userWith(server, verbs);
      await using followed = await Followed.start(kubeconfig);
      await followed.sees("1");
      await followed.is("watching");
      await server.apply(secret("2"));
      await followed.sees("2");
      await server.delete(secret(""));
      await followed.sees(undefined);
      await server.create(secret("3"));
      await followed.sees("3");
      assert.deepEqual(followed.values, ["1", "2", undefined, "3"]);
      await server.delete(secret(""));
    });
  }

  await t.step("absent from the beginning", async () => {
    const { kubeconfig } = await userWith(server, ["watch"]);
    await using followed = await Followed.start(kubeconfig);
    await followed.sees(undefined);
    await followed.is("watching");
    await server.create(secret("1"));
    await followed.sees("1");
  });

  await t.step("an object of nearly 1 MiB", async () => {
    const large = "x".repeat(1_000_000);
    await server.apply(secret(large));
    const { kubeconfig } = await userWith(server, ["get", "watch"]);
    await using followed = await Followed.start(kubeconfig);
    await followed.sees(large);
    await server.apply(secret(`${large}y`));
    await followed.sees(`${large}y`);
  });
});

Deno.test("follow() polls where only get is allowed, says so once, and watches when that is allowed later", async () => {
  const server = await sharedServer();
  await Promise.all([server.create(secret("1")), server.create(secret("1", "other"))]);
  const user = await userWith(server, ["get"], { resourceNames: ["db", "other"] });
  await using followed = await Followed.start(user.kubeconfig, { timing: { pollMs: 300 } });
  await followed.sees("1");
  await followed.is("polling");
  followed.follow("other");
  await waitFor("both to be polled", () => followed.states.length === 2);
  assert.deepEqual(followed.states, ["polling", "polling"]);
  assert.deepEqual(followed.log.events, ["warn watching is not allowed, so objects are read again from time to time"]);
  assert.match(String(followed.log.lines[0]?.fields.reason), /user "user-\d+" may not watch secrets "db" in namespace/);
  await server.apply(secret("2"));
  await followed.sees("2");
  await server.grant(NAMESPACE, user.name, [{ apiGroups: [""], resources: ["secrets"], verbs: ["watch"] }]);
  await followed.is("watching");
  await server.apply(secret("3"));
  await followed.sees("3");
});

Deno.test("follow() retries where nothing is allowed, and goes on when it is", async () => {
  const server = await sharedServer();
  await server.create(secret("1"));
  const user = await server.user("nobody-yet");
  await using followed = await Followed.start(user.kubeconfig, { timing: { pollMs: 300 } });
  await followed.is("retrying");
  await server.grant(NAMESPACE, user.name, [{ apiGroups: [""], resources: ["secrets"], verbs: ["watch"] }]);
  await followed.sees("1");
  await followed.is("watching");
});

Deno.test("follow() outlives a server that is killed, one that stops in order, and an empty etcd", async (t) => {
  // Else a server that stops in order waits a minute for the connections of its watches.
  await using server = await start([
    "--shutdown-watch-termination-grace-period=1s",
    "--shutdown-send-retry-after=true",
  ]);
  await server.create(secret("1"));
  const { kubeconfig } = await userWith(server, ["get", "watch"]);
  await using followed = await Followed.start(kubeconfig);
  await followed.sees("1");
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await t.step(signal, async () => {
      await server.stopServer(signal);
      if (signal === "SIGKILL") {
        await followed.is("retrying");
        // A server that is only just starting takes connections already: the first call since must have failed by then.
        await waitFor("the outage to be told", () => followed.log.events.includes(AWAY));
      }
      await server.startServer();
      await server.apply(secret(signal));
      await followed.sees(signal);
      await followed.is("watching");
    });
  }

  await t.step("the log tells of an outage once", () => {
    const events = followed.log.events.filter((event) => event.includes("API server"));
    assert.deepEqual(events.slice(0, 2), [AWAY, "info API server is reached again"]);
    assert.ok(events.length % 2 === 0, events.join());
  });

  await t.step("etcd wiped: versions start again below the last one that was seen", async () => {
    const before = await server.get(secret(""));
    await server.wipeEtcd();
    await server.namespace(NAMESPACE);
    // The old state is gone with its Role; with the new Role, the absence of the object is news.
    await server.grant(NAMESPACE, `user-${users - 1}`, [{
      apiGroups: [""],
      resources: ["secrets"],
      verbs: ["get", "watch"],
    }]);
    await followed.sees(undefined);
    const after = await server.create(secret("new world"));
    assert.ok(Number(after.metadata.resourceVersion) < Number(before.metadata.resourceVersion));
    await followed.sees("new world");
    await server.apply(secret("newer"));
    await followed.sees("newer");
  });
});

Deno.test("follow() gives up a connection that has gone silent, and calls a server that does not answer unreachable", async () => {
  const server = await sharedServer();
  await server.create(secret("1"));
  const { kubeconfig } = await userWith(server, ["get", "watch"]);
  await using followed = await Followed.start(kubeconfig, { timing: { silenceMs: 1_500 } });
  await followed.sees("1");
  server.freeze();
  try {
    await followed.is("retrying");
  } finally {
    server.thaw();
  }
  await server.apply(secret("2"));
  await followed.sees("2");
  await followed.is("watching");
});

Deno.test("follow() knows of absence without WatchList, by a read beside the watch", async () => {
  await using server = await start(["--feature-gates=WatchList=false"]);
  const { kubeconfig } = await userWith(server, ["get", "watch"]);
  await using followed = await Followed.start(kubeconfig);
  await followed.sees(undefined);
  await server.create(secret("1"));
  await followed.sees("1");
  await server.delete(secret(""));
  await followed.sees(undefined);
  await server.create(secret("2"));
  await followed.sees("2");
  assert.deepEqual(followed.values, [undefined, "1", undefined, "2"]);
  assert.deepEqual(followed.states, ["watching"]);
});

Deno.test("follow() goes on where it was when the server ends a watch, and begins anew when that is Gone", async (t) => {
  await t.step("goes on", async () => {
    const server = await sharedServer();
    await server.create(secret("1"));
    await using followed = await Followed.start(server.adminKubeconfig, { timing: { watchMs: 1 } });
    await followed.sees("1");
    await waitFor("three watches", () => followed.cluster.counts.requests >= 3);
    await server.apply(secret("2"));
    await followed.sees("2");
    assert.deepEqual([followed.values, followed.states, followed.cluster.counts.errors], [["1", "2"], ["watching"], 0]);
  });

  await t.step("410", async () => {
    // Without its cache, the server asks etcd for old versions.
    await using server = await start(["--watch-cache=false"]);
    await server.create(secret("1"));
    await using followed = await Followed.start(server.adminKubeconfig, { timing: { watchMs: 1 } });
    await followed.sees("1");
    // Versions pass over each other until a watch goes on from one that etcd has forgotten.
    await waitFor("a 410", async () => {
      const value = crypto.randomUUID();
      await server.apply(secret(value));
      await followed.sees(value);
      // The next version after the last one that was seen must be forgotten as well: a watch begins with that one.
      for (const other of ["a", "b"]) await server.apply(secret(value + other, "other"));
      await server.compactEtcd();
      return followed.cluster.counts.errors > 0;
    }, { timeoutMs: 60_000 });
    assert.deepEqual(followed.states, ["watching"]);
    assert.equal(new Set(followed.values).size, followed.values.length);
  });
});

Deno.test("ApiCluster says how long a server that is busy wants to be left alone", async () => {
  await using server = await start(["--enable-priority-and-fairness=false", "--max-requests-inflight=1"]);
  const request = { kubeconfig: [(await server.user("busy")).kubeconfig], stateFolder: "/nowhere" };
  await using cluster = await findCluster(request, { log: new RecordingLog() });
  const refused = await waitFor("a 429", async () => {
    const gets = Array.from({ length: 100 }, () => cluster.get({ kind: "Secret", namespace: NAMESPACE, name: "db" }));
    const errors = (await Promise.allSettled(gets)).map((result) =>
      result.status === "rejected" ? result.reason : undefined
    );
    return errors.find((error) => error instanceof KrunError && error.code === "ApiRequestFailed");
  });
  assert.match(refused.message, /: 429, Too many requests, please try again later$/);
  assert.deepEqual([refused.transient, refused.retryAfterMs], [true, 1000]);
});
