/**
 * What scripts/bench.ts measures, one function a question. Each gets the rig and gives rows of the table.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DelayProxy } from "../tests/delay_proxy.ts";
import type { ApiServer } from "../tests/live/api_server.ts";
import { waitFor } from "../tests/wait.ts";
import { hbone } from "./hbone_measurements.ts";
import { meshStart } from "./mesh_measurements.ts";
import { DELAY_MS, roundTripMs } from "./round_trip.ts";

/** One way to run krun. */
export interface Runtime {
  readonly name: string;
  /** The words that start krun. */
  readonly krun: readonly string[];
  /** Its Deno, for comparison. */
  readonly deno: string;
  /** Path of an empty program. */
  readonly empty: string;
}

/** What every measurement works with. */
export interface Rig {
  readonly server: ApiServer;
  /** A temporary folder. */
  readonly folder: string;
  /** The static test program: prints "ready", then waits for a signal. */
  readonly program: string;
  readonly runtimes: readonly Runtime[];
  /** How often each thing is started. */
  readonly rounds: number;
}

/** One row of the table. */
export interface Measurement {
  readonly what: string;
  readonly runtime: string;
  readonly value: number;
  readonly unit: string;
  /** The largest value that is good enough; `undefined`: there is none, the figure is for the record. */
  readonly target?: number;
}

const NAMESPACE = "bench";
/** In the namespace of that name. */
const REQUESTS = fileURLToPath(new URL("bare_requests.ts", import.meta.url));
/** Round trips of the connection itself: TLS with a HelloRetryRequest, Nagle, and one for everything. */
const ROUND_TRIPS = 4;

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

let made = 0;

/** `count` Secrets and as many ConfigMaps, made once however often they are asked for. */
async function objects({ server }: Rig, count: number): Promise<void> {
  if (made === 0) await server.namespace(NAMESPACE);
  for (; made < count; made++) {
    const metadata = { namespace: NAMESPACE, name: `o${made}` };
    await server.create({ apiVersion: "v1", kind: "Secret", metadata, stringData: { key: `${made}` } });
    await server.create({ apiVersion: "v1", kind: "ConfigMap", metadata, data: { key: `${made}` } });
  }
}

/** Settings that mount `count` objects, Secrets and ConfigMaps in turn, and one token. */
function mounts(count: number): Record<string, string> {
  const env: Record<string, string> = { K8S_TOKEN_bench: "./token" };
  for (let i = 0; i < count; i++) {
    env[`K8S_${i % 2 === 0 ? "SECRET" : "CM"}_m${i}`] = `o${i >> 1}:./m/${i}`;
  }
  return env;
}

/** The folder in memory where a krun of that base has its Secrets; none where no krun ran. */
async function memoryFolder(base: string): Promise<string | undefined> {
  const version = await Deno.readLink(join(base, "m", "0", "..data")).catch(() => "");
  return /^\/dev\/shm\/krun-\w+/.exec(version)?.[0];
}

/** krun with the static program under it, from the call that starts it to the program's first output. */
class Started implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #stderr: Promise<string>;
  #rest: Promise<void> = Promise.resolve();

  private constructor(child: Deno.ChildProcess, readonly base: string) {
    this.#child = child;
    this.#stderr = new Response(child.stderr).text();
  }

  /** Milliseconds from the start of krun to the first byte of the program. */
  startMs = 0;

  static async create(rig: Rig, runtime: Runtime, options: { mounts: number; kubeconfig?: string }): Promise<Started> {
    const base = await Deno.makeTempDir({ dir: rig.folder });
    const [program, ...args] = [...runtime.krun, rig.program, "wait"];
    const command = new Deno.Command(program!, {
      args,
      cwd: base,
      clearEnv: true,
      env: {
        HOME: Deno.env.get("HOME") ?? "/root",
        PATH: "/usr/bin:/bin",
        MESH_BASE_DIR: base,
        KUBECONFIG: options.kubeconfig ?? rig.server.adminKubeconfig,
        WORKLOAD_NAMESPACE: NAMESPACE,
        // ext4 passes over every inode that was deleted within the last minute: after some rounds with 50 mounts a start takes
        // 40 ms longer by that, which nobody sees who has not just removed thousands of files.
        KRUN_FILES: "keep",
        ...mounts(options.mounts),
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    const from = performance.now();
    const started = new Started(command.spawn(), base);
    await started.#ready();
    started.startMs = performance.now() - from;
    return started;
  }

  async #ready(): Promise<void> {
    const reader = this.#child.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    if (done) throw new Error(`krun ended before its program: ${await this.#stderr}`);
    this.#rest = this.#child.stdout.pipeTo(new WritableStream());
  }

  /** Megabytes that are resident. */
  residentMb(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) / 1000;
  }

  /** Milliseconds of processor time so far, to 10 ms, of all threads, also those that have ended (proc_pid_stat(5)). */
  cpuMs(): number {
    const [, after = ""] = Deno.readTextFileSync(`/proc/${this.#child.pid}/stat`).split(") ");
    const fields = after.split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    return ticks * 10;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await Promise.all([this.#child.status, this.#stderr, this.#rest]);
    const memory = await memoryFolder(this.base);
    if (memory) await Deno.remove(memory, { recursive: true });
  }
}

async function startMs(rig: Rig, runtime: Runtime, options: { mounts: number; kubeconfig?: string }): Promise<number> {
  await using started = await Started.create(rig, runtime, options);
  return started.startMs;
}

async function wholeProcessMs(program: string, args: string[], env: Record<string, string> = {}): Promise<number> {
  const from = performance.now();
  const { success } = await new Deno.Command(program, { args, env, stdin: "null", stdout: "null", stderr: "null" })
    .output();
  if (!success) throw new Error(`${program} ${args.join(" ")} failed`);
  return performance.now() - from;
}

/** Takes every sample once a round, so that all of them see the same machine; the first round only warms up. */
export async function rounds<K extends string>(
  count: number,
  samples: Record<K, () => Promise<number>>,
): Promise<Record<K, number>> {
  const names = Object.keys(samples) as K[];
  const taken = new Map<K, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round <= count; round++) {
    for (const name of names) {
      const value = await samples[name]();
      if (round > 0) taken.get(name)!.push(value);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(taken.get(name)!)])) as Record<K, number>;
}

async function exec(rig: Rig): Promise<Measurement[]> {
  await objects(rig, 1);
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    const ms = await rounds(rig.rounds, {
      bare: () => wholeProcessMs(runtime.deno, ["run", runtime.empty]),
      requests: () => wholeProcessMs(runtime.deno, ["run", "-A", REQUESTS], { KUBECONFIG: rig.server.adminKubeconfig }),
      krun: () => startMs(rig, runtime, { mounts: 2 }),
      // The program's own way from its first instruction to its first output, which is not krun's.
      program: () => startMs(rig, { ...runtime, krun: ["/usr/bin/env"] }, { mounts: 2 }),
    });
    const execMs = ms.krun - ms.program;
    const row = (what: string, value: number, unit: string, target?: number) =>
      rows.push({ what, runtime: runtime.name, value, unit, ...(target === undefined ? {} : { target }) });
    row("exec to the program's first instruction, 1 Secret, 1 ConfigMap, 1 token", execMs, "ms");
    row("a bare `deno run` of an empty file by the same Deno", ms.bare, "ms");
    row("the first over the second", execMs / ms.bare, "times", 4);
    row("a `deno run` of nothing but those three requests, by fetch", ms.requests, "ms");
    row("the first over that", execMs / ms.requests, "times");
  }
  return rows;
}

/** The admin's kubeconfig, by way of a port of 127.0.0.1. */
async function kubeconfigBy(rig: Rig, port: number): Promise<string> {
  const text = await Deno.readTextFile(rig.server.adminKubeconfig);
  const path = join(rig.folder, `port-${port}.kubeconfig`);
  await Deno.writeTextFile(path, text.replaceAll(`:${rig.server.port}`, `:${port}`), { mode: 0o600 });
  return path;
}

async function delayed(rig: Rig): Promise<Measurement[]> {
  await objects(rig, 25);
  await using proxy = new DelayProxy({ port: rig.server.port, delayMs: DELAY_MS });
  // The same proxy without delay: what is left of the difference is round trips alone.
  await using direct = new DelayProxy({ port: rig.server.port, delayMs: 0 });
  const slow = await kubeconfigBy(rig, proxy.port);
  const fast = await kubeconfigBy(rig, direct.port);
  const trip = await roundTripMs();
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    const ms = await rounds(rig.rounds, {
      near: () => startMs(rig, runtime, { mounts: 1, kubeconfig: fast }),
      one: () => startMs(rig, runtime, { mounts: 1, kubeconfig: slow }),
      fifty: () => startMs(rig, runtime, { mounts: 50, kubeconfig: slow }),
    });
    const row = (what: string, value: number, unit: string, target?: number) =>
      rows.push({ what, runtime: runtime.name, value, unit, ...(target === undefined ? {} : { target }) });
    row(`start with 1 mount, ${DELAY_MS} ms each way`, ms.one, "ms");
    // Half a round trip for the clock and the scheduler.
    row("round trips of that start", (ms.one - ms.near) / trip, "round trips", ROUND_TRIPS + 0.5);
    row(`start with 50 mounts, ${DELAY_MS} ms each way`, ms.fifty, "ms");
    row("50 mounts over 1 mount, delayed", ms.fifty / ms.one, "times", 1.3);
  }
  return rows;
}

async function idle(rig: Rig): Promise<Measurement[]> {
  await objects(rig, 1);
  const seconds = rig.rounds < 10 ? 5 : 120;
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    // The first start after a change of the sources also translates them, and keeps 15 MB for that.
    await startMs(rig, runtime, { mounts: 2 });
    await using started = await Started.create(rig, runtime, { mounts: 2 });
    await settled(started);
    // V8 collects what a start has left, once, some 10 and some 30 s later: 60 ms.
    if (seconds > 5) await new Promise((resolve) => setTimeout(resolve, 40_000));
    const before = started.cpuMs();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const share = (started.cpuMs() - before) / (seconds * 10);
    rows.push({
      what: "resident while idle, watches open",
      runtime: runtime.name,
      value: started.residentMb(),
      unit: "MB",
      target: 60,
    });
    rows.push({
      what: `processor while idle, over ${seconds} s`,
      runtime: runtime.name,
      value: share,
      unit: "% of a core",
      target: 0.1,
    });
  }
  return rows;
}

/** Waits until krun has done what it does after its program's start, 2 s later still: no work in half a second. */
async function settled(started: Started): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  let last = started.cpuMs();
  await waitFor("krun to come to rest", async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = last;
    last = started.cpuMs();
    return last === before;
  }, { timeoutMs: 60_000 });
}

async function updates(rig: Rig): Promise<Measurement[]> {
  await objects(rig, 1);
  const count = rig.rounds < 10 ? 50 : 500;
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    await using started = await Started.create(rig, runtime, { mounts: 2 });
    await settled(started);
    const latencies: number[] = [];
    const metadata = { namespace: NAMESPACE, name: "o0" };
    for (let i = 0; i < count; i++) {
      const value = `${runtime.name} ${i}`;
      // The answer to the request may come later than the file.
      const from = performance.now();
      await rig.server.patch({ apiVersion: "v1", kind: "Secret", metadata, stringData: { key: value } });
      await untilFileIs(join(started.base, "m", "0", "key"), value);
      latencies.push(performance.now() - from);
    }
    for (const [name, share, target] of [["p50", 0.5], ["p99", 0.99, 200]] as const) {
      const what = `update, from its request to the file, ${name} of ${count}`;
      const row = { what, runtime: runtime.name, value: percentile(latencies, share), unit: "ms" };
      rows.push(target === undefined ? row : { ...row, target });
    }
  }
  return rows;
}

/** `undefined` at the instant of a swap: the version that the path led to is gone before the file in it is opened, as in a Pod. */
function textOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function untilFileIs(path: string, content: string): Promise<void> {
  const from = performance.now();
  while (textOf(path) !== content) {
    if (performance.now() - from > 20_000) throw new Error(`${path} never became ${content}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function thousand(rig: Rig): Promise<Measurement[]> {
  await objects(rig, 500);
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    await using started = await Started.create(rig, runtime, { mounts: 1000 });
    rows.push({ what: "start with 1,000 mounts", runtime: runtime.name, value: started.startMs, unit: "ms" });
    await settled(started);
    rows.push({ what: "resident with 1,000 mounts", runtime: runtime.name, value: started.residentMb(), unit: "MB" });
  }
  return rows;
}

/** All of them, in the order of the table. */
export const MEASUREMENTS: readonly { readonly name: string; measure(rig: Rig): Promise<Measurement[]> }[] = [
  { name: "exec", measure: exec },
  { name: "delayed", measure: delayed },
  { name: "idle", measure: idle },
  { name: "updates", measure: updates },
  { name: "thousand", measure: thousand },
  { name: "mesh", measure: meshStart },
  { name: "hbone", measure: hbone },
];
