/**
 * The engine for other Deno programs: no process environment, no signals, no exit. In: a Pod. Out: its files, or its run.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { workloadIdentity } from "../core/identity.ts";
import type { Logger } from "../core/log.ts";
import { parsePodManifest } from "../core/pod_manifest.ts";
import type { Env } from "../core/pod_inputs.ts";
import { type PlannedPod, podFromSettings } from "../core/pod_from_settings.ts";
import { resolve } from "../core/posix_path.ts";
import { parseSettings } from "../core/settings.ts";
import { SIGTERM } from "../core/signals.ts";
import { podContainers } from "../core/volume_mounts.ts";
import { openBase } from "../pod/base_folder.ts";
import { loadLibc } from "../pod/libc.ts";
import { type MountedPod as EngineMountedPod, mountPod as mountPlanned } from "../pod/mounted_pod.ts";
import { Control } from "./control.ts";
import { nodeFacts } from "./node_facts.ts";
import { ownUser } from "./own_user.ts";
import { Phases } from "./phases.ts";
import { carryOut } from "./start.ts";

/** What every use of a Pod needs. */
export interface PodOptions {
  /** Where its objects and tokens come from; a Pod that refers to none needs none. */
  readonly cluster?: Cluster;
  /** Folder below which every file lies; one Pod at a time. Relative: below the working directory. */
  readonly base: string;
  /** Ends it: before everything is in place by a rejection with its reason, as with `fetch`, later as each function says. */
  readonly signal: AbortSignal;
  /** Where events go; `silentLog` for nowhere. */
  readonly log: Logger;
  /** Milliseconds during which a start retries an API server that is away. @default {60_000} */
  readonly startTimeoutMs?: number;
}

/** Options of {@linkcode runPod}. */
export interface RunPodOptions extends PodOptions {
  /** Variables that every container gets below those of the Pod, such as PATH. @default {{}} */
  readonly env?: Env;
}

/** A Pod whose files are in place. Disposing it removes them. */
export interface MountedPod extends AsyncDisposable {
  /** The Pod with every default filled in. */
  readonly pod: V1Pod;
  /** The environment of one container, from the newest objects. @throws {KrunError} `ObjectNotFound`, `KeyNotFound` */
  env(containerName: string): Env;
  /** Follows objects and renews tokens until the signal of {@linkcode mountPod} aborts, then resolves. Call it once at most. */
  keepFresh(): Promise<void>;
}

function planOf(pod: V1Pod, { cluster, base }: { cluster: Cluster | undefined; base: string }): PlannedPod {
  const manifest = parsePodManifest({ apiVersion: "v1", kind: "Pod", ...structuredClone(pod) }, "the Pod");
  return podFromSettings({
    settings: parseSettings({}),
    identity: workloadIdentity({}, { manifest, source: cluster?.source }),
    argv: [],
    manifest,
    cluster,
    self: ownUser(),
    base,
    podUid: crypto.randomUUID(),
  });
}

/**
 * Puts the files of a Pod in place below a base folder, as the kubelet would.
 *
 * A program runs it for its own use, or for a container beside it. Every file is published whole or not at all; what stands
 * at a mount path and is not krun's own is left alone. Needs the permissions read, write, net, sys, and ffi for libc.
 *
 * @throws {KrunError} `PodInvalid`, `BaseLocked`, `TargetInUse`, `ObjectNotFound`, `Forbidden`, `ClusterUnreachable` or
 * another; the signal's reason when it aborts before the files are in place. Nothing of it stays.
 *
 * @example
 * ```ts
 * import { findCluster, mountPod, silentLog } from "../mod.ts";
 * import assert from "node:assert/strict";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.mkdir(`${folder}/k8s`);
 * await Deno.writeTextFile(`${folder}/k8s/db.yaml`, `
 * apiVersion: v1
 * kind: Secret
 * metadata: { name: db, namespace: shop }
 * stringData: { username: alice }
 * `);
 * const over = new AbortController();
 * {
 *   await using cluster = await findCluster({ manifests: `${folder}/k8s`, stateFolder: `${folder}/state` }, { log: silentLog });
 *   await using mounted = await mountPod({
 *     metadata: { name: "web", namespace: "shop" },
 *     spec: {
 *       volumes: [{ name: "db", secret: { secretName: "db" } }],
 *       containers: [{ name: "web", volumeMounts: [{ name: "db", mountPath: "/etc/db" }] }],
 *     },
 *   }, { cluster, base: `${folder}/pod`, signal: over.signal, log: silentLog });
 *   const fresh = mounted.keepFresh();
 *   assert.equal(await Deno.readTextFile(`${folder}/pod/etc/db/username`), "alice");
 *   over.abort();
 *   await fresh;
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function mountPod(pod: V1Pod, options: PodOptions): Promise<MountedPod> {
  const { cluster, signal, log, startTimeoutMs = 60_000 } = options;
  signal.throwIfAborted();
  loadLibc();
  const path = resolve(Deno.cwd(), options.base);
  const planned = planOf(pod, { cluster, base: path });
  await using undo = new AsyncDisposableStack();
  const base = openBase({ base: path, log, pid: Deno.pid });
  undo.defer(() => base.close({ keep: false }));
  const mounted = undo.use(
    await mountPlanned(planned, cluster, {
      base,
      basePath: path,
      log,
      signal,
      deadlineMs: Date.now() + startTimeoutMs,
      node: nodeFacts(),
    }),
  );
  for (const { name } of podContainers(mounted.pod)) mounted.resolveSubPaths(name);
  return facade(mounted, { signal, undo: undo.move() });
}

function facade(
  mounted: EngineMountedPod,
  { signal, undo }: { signal: AbortSignal; undo: AsyncDisposableStack },
): MountedPod {
  return {
    pod: mounted.pod,
    env: (name) => mounted.env(name),
    keepFresh: () => mounted.keepFresh({ signal }),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** Two runs would end each other's processes: a run knows what is left of its programs by its being this process's child. */
let running = false;

/**
 * Runs the containers of a Pod on this machine until they end, with their files and environment kept fresh; resolves to the
 * exit status of the first that failed, else 0. An abort stops them politely, within `terminationGracePeriodSeconds`, and it
 * resolves to the status of that end.
 *
 * Needs the permissions of {@linkcode mountPod}. One run at a time in a process. Images are not read: every container needs
 * a command.
 *
 * @throws {KrunError} as {@linkcode mountPod}, and `ProgramNotFound`, `ProgramNotExecutable`, `RunAsDenied`; `AlreadyRunning`
 * when another run of this process has not ended. The signal's reason when it aborts before the files are in place. Nothing
 * of it runs or stays.
 *
 * @example
 * ```ts
 * import { runPod, silentLog } from "../mod.ts";
 * import assert from "node:assert/strict";
 *
 * const base = await Deno.makeTempDir();
 * const status = await runPod({
 *   metadata: { name: "job" },
 *   spec: { containers: [{ name: "job", command: ["/bin/sh", "-c", "exit $STATUS"], env: [{ name: "STATUS", value: "7" }] }] },
 * }, { base, signal: new AbortController().signal, log: silentLog });
 * assert.equal(status, 7);
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export async function runPod(pod: V1Pod, options: RunPodOptions): Promise<number> {
  const { cluster, env = {}, signal, log, startTimeoutMs = 60_000 } = options;
  signal.throwIfAborted();
  loadLibc();
  const base = resolve(Deno.cwd(), options.base);
  const planned = planOf(pod, { cluster, base });
  const identity = workloadIdentity({}, { manifest: { pod: planned.pod, warnings: [] }, source: cluster?.source });
  if (running) {
    const message = "Cannot run the Pod: another one runs in this process";
    throw new KrunError("AlreadyRunning", message, "wait for its end, or run each in a process of its own");
  }
  running = true;
  await using undo = new AsyncDisposableStack();
  undo.defer(() => void (running = false));
  const control = new Control({ suspend: () => {} });
  const stop = () => control.signal(SIGTERM);
  signal.addEventListener("abort", stop, { once: true });
  undo.defer(() => signal.removeEventListener("abort", stop));
  const nothing = () => {};
  const run = carryOut(
    { args: [], env, cwd: Deno.cwd(), pid: Deno.pid, self: ownUser(), writeError: nothing, writeOutput: nothing },
    {
      settings: { ...parseSettings({}), startTimeoutMs },
      argv: [],
      log,
      control,
      phases: new Phases(),
      undo,
      plan: { cluster, identity, planned, base, baseRule: "the caller", takesBase: true, isSideProcess: false },
    },
  );
  try {
    return await run;
  } catch (cause) {
    throw control.stop.aborted && cause === control.stop.reason ? signal.reason : cause;
  }
}
