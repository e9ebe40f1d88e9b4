/**
 * What the unit tests of the engine stand on: a real base folder, a fake cluster and a fake clock.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { PlannedPod } from "../src/core/pod_from_settings.ts";
import { type BaseFolder, openBase } from "../src/pod/base_folder.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { type MountedPod, mountPod, type PodChange } from "../src/pod/mounted_pod.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { FakeCluster } from "./fake_cluster.ts";
import { NODE } from "./planned_pod.ts";
import { RecordingLog } from "./recording_log.ts";

// The library stays loaded until the process ends, which is no leak of the test that happens to be first.
loadLibc();

/** A base folder, a fake cluster and a fake clock; everything is ended and removed with it. */
export class MountRig implements AsyncDisposable {
  /** Time passes only when the test says so. */
  readonly clock = new FakeClock();
  /** Has service account `shop/web`. */
  readonly cluster = new FakeCluster(this.clock);
  /** What the engine logs. */
  readonly log = new RecordingLog();
  /** What `onChange` was told. */
  readonly changes: PodChange[] = [];
  /** Ends everything. */
  readonly stop = new AbortController();
  #mounted: MountedPod | undefined;
  #keeping: Promise<void> | undefined;

  private constructor(readonly root: string, readonly base: BaseFolder) {}

  /** With no memory file system, so that every machine shows the same. */
  static async create(): Promise<MountRig> {
    const root = await Deno.makeTempDir({ prefix: "krun-mounted-" });
    const base = openBase({ base: root, log: new RecordingLog(), pid: Deno.pid, memoryFolder: join(root, "none") });
    const rig = new MountRig(root, base);
    rig.cluster.putServiceAccount("shop", "web");
    return rig;
  }

  /** Absolute path of something below the base. */
  path(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  /** Text of a file below the base. */
  read(...parts: string[]): string {
    return Deno.readTextFileSync(this.path(...parts));
  }

  /** Visible files of a folder. */
  files(path: string): string[] {
    return [...Deno.readDirSync(this.path(path))].map(({ name }) => name).filter((name) => !name.startsWith(".."))
      .sort();
  }

  /** Makes or replaces a Secret of namespace `shop`, its values as text. */
  secret(name: string, data: Record<string, string>): void {
    const encoded = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, btoa(text)]));
    this.cluster.put({ kind: "Secret", metadata: { namespace: "shop", name }, data: encoded });
  }

  /** Makes or replaces a ConfigMap of namespace `shop`. */
  configMap(name: string, data: Record<string, string>): void {
    this.cluster.put({ kind: "ConfigMap", metadata: { namespace: "shop", name }, data });
  }

  /** Mounts; transient failures are retried until `deadlineMs`. */
  mount(planned: PlannedPod, deadlineMs = 0): Promise<MountedPod> {
    const { base, log, clock } = this;
    return mountPod(planned, this.cluster, {
      ...{ base, log, clock, deadlineMs, signal: this.stop.signal, node: NODE, random: () => 0 },
    }).then((mounted) => this.#mounted = mounted);
  }

  /** Mounts, follows, and lets what follows at once follow. */
  async run(planned: PlannedPod): Promise<MountedPod> {
    const mounted = await this.mount(planned);
    this.#keeping = mounted.keepFresh({ signal: this.stop.signal, onChange: (change) => this.changes.push(change) });
    await settle();
    return mounted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.#keeping;
    await this.#mounted?.[Symbol.asyncDispose]();
    assert.equal(this.clock.sleeping, 0, "something still waits");
    await this.cluster[Symbol.asyncDispose]();
    this.base.close({ keep: false });
    await Deno.remove(this.root, { recursive: true });
  }
}
