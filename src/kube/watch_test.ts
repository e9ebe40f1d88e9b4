import assert from "node:assert/strict";
import { waitFor } from "../../tests/wait.ts";
import type { FollowState, WatchedObject } from "../core/cluster.ts";
import { KrunError, type KrunErrorOptions } from "../core/errors.ts";
import type { WatchEvent } from "../core/watch_state.ts";
import { SilentConnectionError } from "./transport.ts";
import { followObject, type FollowTiming, type WatchSource } from "./watch.ts";

function secret(resourceVersion: string, uid = "u1"): WatchedObject {
  return { metadata: { name: "db", uid, resourceVersion } };
}

function initialEnd(resourceVersion: string): WatchEvent {
  return {
    type: "BOOKMARK",
    object: { metadata: { resourceVersion, annotations: { "k8s.io/initial-events-end": "true" } } },
  };
}

function failure(
  code: "Forbidden" | "ApiRequestFailed" | "ClusterUnreachable",
  options: KrunErrorOptions = {},
): KrunError {
  return new KrunError(code, `Cannot do it: ${code}`, "mend it", options);
}

/** A watch that the test drives: events as they are sent, until it ends or breaks. */
class ScriptedWatch {
  readonly #waiting: (WatchEvent | Error | null)[] = [];
  #wake = Promise.withResolvers<void>();
  left = false;

  constructor(readonly resourceVersion: string | undefined) {}

  send(...events: WatchEvent[]): void {
    this.#push(...events);
  }

  end(): void {
    this.#push(null);
  }

  fail(error: Error): void {
    this.#push(error);
  }

  async *events(signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const onAbort = () => this.#wake.resolve();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        for (const next of this.#waiting.splice(0)) {
          if (next === null) return;
          if (next instanceof Error) throw next;
          yield next;
        }
        signal.throwIfAborted();
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #push(...items: (WatchEvent | Error | null)[]): void {
    this.#waiting.push(...items);
    this.#wake.resolve();
  }
}

/** A source whose watches the test drives, and a follower of it. */
class Script implements AsyncDisposable {
  readonly watches: ScriptedWatch[] = [];
  readonly delivered: string[] = [];
  readonly states: FollowState[] = [];
  reads = 0;
  knocks = 0;
  marksInitialEnd = true;
  lastsMs = 0;
  /** Thrown instead of opening a watch. */
  refuses: KrunError | undefined;
  read: () => WatchedObject | undefined = () => undefined;
  deliver: (object: WatchedObject | undefined) => void | Promise<void> = () => {};
  readonly #stop = new AbortController();
  #followed: Promise<void> | undefined;

  follow(known?: WatchedObject | null, timing: FollowTiming = {}): Promise<void> {
    const source: WatchSource = {
      read: () => {
        this.reads++;
        return Promise.resolve().then(() => this.read());
      },
      watch: (resourceVersion, signal) => {
        if (this.refuses) return Promise.reject(this.refuses);
        const watch = new ScriptedWatch(resourceVersion);
        this.watches.push(watch);
        const { marksInitialEnd, lastsMs } = this;
        const close = () => void (watch.left = true);
        return Promise.resolve({ events: watch.events(signal), close, marksInitialEnd, lastsMs });
      },
      reached: () => {
        this.knocks++;
        return Promise.resolve();
      },
      failure: ({ code }) => failure("ApiRequestFailed", { transient: code >= 500 }),
    };
    return this.#followed = followObject(source, {
      signal: this.#stop.signal,
      ...(known === undefined ? {} : { known }),
      deliver: async (object) => {
        this.delivered.push(object?.metadata?.resourceVersion ?? "gone");
        await this.deliver(object);
      },
      onState: (state) => this.states.push(state),
      timing: { retryMs: 2, pollMs: 4, chance: () => 0, ...timing },
    });
  }

  watch(number: number): Promise<ScriptedWatch> {
    return waitFor(`watch ${number}`, () => this.watches[number - 1]);
  }

  async hasDelivered(...versions: string[]): Promise<void> {
    await waitFor(`delivery of ${versions}`, () => this.delivered.length >= versions.length);
    assert.deepEqual(this.delivered, versions);
  }

  stop(): void {
    this.#stop.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#followed?.catch(() => {});
    assert.ok(this.watches.every((watch) => watch.left), "a watch is still open");
  }
}

Deno.test("followObject() delivers the present state and each change, and stops when told", async () => {
  await using script = new Script();
  const followed = script.follow();
  const watch = await script.watch(1);
  watch.send({ type: "ADDED", object: secret("1") }, initialEnd("2"));
  await script.hasDelivered("1");
  watch.send({ type: "MODIFIED", object: secret("3") });
  await script.hasDelivered("1", "3");
  watch.send({ type: "DELETED", object: secret("4") });
  await script.hasDelivered("1", "3", "gone");
  assert.deepEqual(script.states, ["watching"]);
  script.stop();
  await followed;
});

Deno.test("followObject() goes on where it was when the server ends the watch", async () => {
  await using script = new Script();
  void script.follow(null);
  const first = await script.watch(1);
  assert.equal(first.resourceVersion, undefined);
  first.send(initialEnd("7"), { type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } });
  first.end();
  assert.equal((await script.watch(2)).resourceVersion, "9");
  assert.deepEqual(script.delivered, []);
});

Deno.test("followObject() begins anew after a broken connection, since an older etcd may answer", async () => {
  await using script = new Script();
  void script.follow();
  const first = await script.watch(1);
  first.send({ type: "ADDED", object: secret("500") }, initialEnd("501"));
  await script.hasDelivered("500");
  first.fail(failure("ClusterUnreachable", { transient: true }));
  const second = await script.watch(2);
  assert.equal(second.resourceVersion, undefined);
  second.send({ type: "ADDED", object: secret("3", "u2") }, initialEnd("4"));
  await script.hasDelivered("500", "3");
  assert.equal(script.knocks, 1);
  await waitFor("state", () => script.states.length === 3);
  assert.deepEqual(script.states, ["watching", "retrying", "watching"]);
});

Deno.test("followObject() begins anew when a server ends a watch before its time: it is stopping, and another may come", async () => {
  await using script = new Script();
  script.lastsMs = 100_000;
  void script.follow(null);
  const first = await script.watch(1);
  first.send(initialEnd("7"));
  first.end();
  assert.equal((await script.watch(2)).resourceVersion, undefined);
});

Deno.test("followObject() sees a deletion that happened while it was away", async () => {
  await using script = new Script();
  void script.follow(secret("1"));
  (await script.watch(1)).fail(failure("ClusterUnreachable", { transient: true }));
  (await script.watch(2)).send(initialEnd("9"));
  await script.hasDelivered("gone");
});

Deno.test("followObject() begins anew at once after 410, without telling anybody", async () => {
  await using script = new Script();
  void script.follow(null, { retryMs: 100_000 });
  const first = await script.watch(1);
  first.send(initialEnd("7"));
  first.end();
  const second = await script.watch(2);
  second.send({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } });
  assert.equal((await script.watch(3)).resourceVersion, undefined);
  assert.deepEqual(script.states, ["watching"]);
});

Deno.test("followObject() begins anew at once after silence, and tells only when that fails", async () => {
  await using script = new Script();
  const silence = () => failure("ClusterUnreachable", { transient: true, cause: new SilentConnectionError(1) });
  void script.follow(null);
  const first = await script.watch(1);
  first.send(initialEnd("7"));
  first.fail(silence());
  const second = await script.watch(2);
  assert.equal(second.resourceVersion, undefined);
  assert.deepEqual([script.states, script.knocks], [["watching"], 0]);
  second.fail(silence());
  await script.watch(3);
  assert.deepEqual([script.states, script.knocks], [["watching", "retrying"], 1]);
});

Deno.test("followObject() waits when a server ends every watch at once, or answers 410 to a beginning", async () => {
  await using script = new Script();
  void script.follow(null, { retryMs: 100_000, pollMs: 100_000 });
  const first = await script.watch(1);
  const before = performance.now();
  first.send({ type: "ERROR", object: { kind: "Status", code: 410 } });
  const second = await script.watch(2);
  // The first wait is half of 500 ms with this chance, the second half of a second.
  assert.ok(performance.now() - before >= 240);
  second.end();
  await script.watch(3);
  assert.ok(performance.now() - before >= 740);
});

Deno.test("followObject() waits longer and longer when watches break while the server answers all else", async () => {
  await using script = new Script();
  script.lastsMs = 300_000;
  void script.follow(null, { retryMs: 100_000 });
  const breakNext = async (number: number) => {
    const watch = await script.watch(number);
    watch.send(initialEnd("7"));
    watch.fail(failure("ClusterUnreachable", { transient: true }));
    return performance.now();
  };
  await breakNext(1);
  const second = await breakNext(2);
  // After the first one only the server's own answer is waited for. Then half of 1 s with this chance, half of 2 s.
  const third = await breakNext(3);
  await script.watch(4);
  assert.ok(third - second >= 490, `${third - second}`);
  assert.ok(performance.now() - third >= 990);
  assert.equal(script.knocks, 3);
});

Deno.test("followObject() waits when a server ends every watch after its beginning", async () => {
  await using script = new Script();
  script.lastsMs = 300_000;
  void script.follow(null, { retryMs: 100_000 });
  const first = await script.watch(1);
  const before = performance.now();
  first.send(initialEnd("7"));
  first.end();
  await script.watch(2);
  assert.ok(performance.now() - before >= 240);
});

Deno.test("followObject() polls where a watch is forbidden, and watches again when it is allowed", async () => {
  await using script = new Script();
  script.refuses = failure("Forbidden");
  script.read = () => secret("1");
  void script.follow();
  await script.hasDelivered("1");
  script.read = () => secret("2");
  await script.hasDelivered("1", "2");
  script.read = () => undefined;
  await script.hasDelivered("1", "2", "gone");
  assert.deepEqual(script.states, ["polling"]);
  script.refuses = undefined;
  (await script.watch(1)).send({ type: "ADDED", object: secret("5") }, initialEnd("6"));
  await script.hasDelivered("1", "2", "gone", "5");
  await waitFor("state", () => script.states.at(-1) === "watching");
});

Deno.test("followObject() says that it retries when reading is forbidden as well, and keeps quiet about the rest", async () => {
  await using script = new Script();
  script.refuses = failure("Forbidden");
  script.read = () => {
    throw failure("Forbidden");
  };
  void script.follow();
  await waitFor("several reads", () => script.reads > 2);
  assert.deepEqual(script.states, ["retrying"]);
  assert.deepEqual(script.delivered, []);
});

Deno.test("followObject() reads beside the watch when the server does not mark the end of the initial state", async () => {
  await using script = new Script();
  script.marksInitialEnd = false;
  script.read = () => secret("12");
  void script.follow(secret("10"));
  const watch = await script.watch(1);
  // What the read has seen is older than it, and is not delivered after it.
  watch.send({ type: "ADDED", object: secret("11") }, { type: "MODIFIED", object: secret("13") });
  await script.hasDelivered("12", "13");
  assert.equal(script.reads, 1);
});

Deno.test("followObject() closes the watch when the read beside it fails", async () => {
  await using script = new Script();
  script.marksInitialEnd = false;
  script.read = () => {
    throw failure("ApiRequestFailed", { transient: true });
  };
  void script.follow();
  await script.watch(2);
  assert.ok(script.watches[0]?.left);
});

Deno.test("followObject() waits as long as the server asks", async () => {
  await using script = new Script();
  script.refuses = failure("ApiRequestFailed", { transient: true, retryAfterMs: 300 });
  void script.follow(null);
  await waitFor("state", () => script.states.length > 0);
  const before = performance.now();
  script.refuses = undefined;
  await script.watch(1);
  assert.ok(performance.now() - before >= 250);
});

Deno.test("followObject() delivers one version at a time, skips what is older by then, and ends after the last", async () => {
  await using script = new Script();
  const gate = Promise.withResolvers<void>();
  let running = 0;
  script.deliver = async () => {
    assert.equal(++running, 1);
    await gate.promise;
    running--;
  };
  const followed = script.follow();
  const watch = await script.watch(1);
  watch.send(...["1", "2", "3", "4"].map((v) => ({ type: "ADDED", object: secret(v) })), initialEnd("5"));
  await waitFor("end of initial state", () => script.states.length > 0);
  assert.deepEqual(script.delivered, ["1"]);
  gate.resolve();
  await script.hasDelivered("1", "4");
  script.stop();
  await followed;
});

Deno.test("followObject() waits for a delivery that is going on when it is stopped", async () => {
  await using script = new Script();
  const gate = Promise.withResolvers<void>();
  let delivered = false;
  script.deliver = async () => {
    await gate.promise;
    delivered = true;
  };
  const followed = script.follow();
  (await script.watch(1)).send({ type: "ADDED", object: secret("1") });
  await script.hasDelivered("1");
  script.stop();
  gate.resolve();
  await followed;
  assert.ok(delivered);
});

Deno.test("followObject() throws what a delivery throws, and what no server can be blamed for", async () => {
  await using script = new Script();
  script.deliver = () => {
    throw new RangeError("disk full");
  };
  const followed = script.follow();
  (await script.watch(1)).send({ type: "ADDED", object: secret("1") });
  await assert.rejects(followed, { name: "RangeError", message: "disk full" });

  await using other = new Script();
  other.read = () => {
    throw new TypeError("a fault of ours");
  };
  other.refuses = failure("Forbidden");
  await assert.rejects(other.follow(), { name: "TypeError" });
});

Deno.test("followObject() does nothing when its signal has aborted already", async () => {
  await using script = new Script();
  script.stop();
  await script.follow();
  assert.deepEqual([script.watches.length, script.reads], [0, 0]);
});
