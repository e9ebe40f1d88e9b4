/**
 * What a start on "Cloud Run" costs: fakes of Google's servers and a real API server, each 10 ms away each way.
 *
 * @module
 */
import { join } from "node:path";
import { GoogleNetwork } from "../tests/fakes/google_network.ts";
import { CLOUD_RUN, GoogleRig } from "../tests/live/google_rig.ts";
import { type Measurement, type Rig, rounds, type Runtime } from "./measurements.ts";
import { DELAY_MS, roundTripMs } from "./round_trip.ts";

/** Round trips, one after the other, of a start that knows nothing: the metadata server, and a new connection to each of two servers. */
const COLD_TRIPS = 9;
/** The same of one that knows where the cluster was: its connection (see `measurements.ts`), whether it is there, and everything. */
const CACHED_TRIPS = 5;

/** What {@linkcode startMs} starts. */
export interface CloudStart {
  readonly runtime: Runtime;
  readonly network: GoogleNetwork;
  /** Base and working directory. */
  readonly base: string;
  /** What is asked for. @default {a Secret is mounted} */
  readonly env?: Readonly<Record<string, string>>;
}

/** A start in a network, from the call that starts krun to the first output of its program. */
export async function startMs(rig: Rig, options: CloudStart): Promise<number> {
  const { runtime, network, base, env = { K8S_SECRET_db: "./db" } } = options;
  const [program = "", ...args] = [...network.under, ...runtime.krun, rig.program, "wait"];
  const command = new Deno.Command(program, {
    args,
    cwd: base,
    clearEnv: true,
    env: {
      ...{ HOME: Deno.env.get("HOME") ?? "/root", PATH: "/usr/sbin:/usr/bin:/sbin:/bin", MESH_BASE_DIR: base },
      ...{ SSL_CERT_FILE: network.caFile, ...env, ...CLOUD_RUN },
    },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  });
  const from = performance.now();
  const child = command.spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  const ms = performance.now() - from;
  reader.releaseLock();
  child.kill("SIGTERM");
  await Promise.all([child.status, child.stdout.cancel()]);
  if (done) throw new Error("krun ended before its program");
  return ms;
}

/** A folder in which no krun ran. */
async function cold(rig: Rig, runtime: Runtime, network: GoogleNetwork): Promise<number> {
  const base = await Deno.makeTempDir({ dir: rig.folder });
  const ms = await startMs(rig, { runtime, network, base });
  await Deno.remove(base, { recursive: true });
  return ms;
}

/** Round trips of a start on Cloud Run. */
export async function cloudRun(rig: Rig): Promise<Measurement[]> {
  // Without delay, but through the same proxies: what is left of the difference is round trips alone.
  await using google = await GoogleRig.create({ delayMs: 0 });
  const folder = await Deno.makeTempDir({ dir: rig.folder });
  await using far = await GoogleNetwork.create(google.google, { folder, delayMs: DELAY_MS });
  await far.relay({ port: google.server.port, address: google.address });
  const near = google.network;
  const trip = await roundTripMs();
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    const kept = join(folder, `kept-${runtime.krun.length}`);
    await Deno.mkdir(kept);
    const cached = (network: GoogleNetwork) => () => startMs(rig, { runtime, network, base: kept });
    const ms = await rounds(rig.rounds, {
      nearCold: () => cold(rig, runtime, near),
      farCold: () => cold(rig, runtime, far),
      nearCached: cached(near),
      farCached: cached(far),
    });
    const row = (what: string, { value, unit, target }: { value: number; unit: string; target?: number }) =>
      rows.push({ what, runtime: runtime.name, value, unit, ...(target === undefined ? {} : { target }) });
    const trips = (one: number, other: number) => (one - other) / trip;
    row(`start on "Cloud Run", ${DELAY_MS} ms each way, cluster looked up`, { value: ms.farCold, unit: "ms" });
    row("round trips of that start", {
      value: trips(ms.farCold, ms.nearCold),
      unit: "round trips",
      // The same as below for each of two servers.
      target: COLD_TRIPS + 1,
    });
    row(`start on "Cloud Run", ${DELAY_MS} ms each way, cluster as it was`, { value: ms.farCached, unit: "ms" });
    row("round trips of that start", {
      value: trips(ms.farCached, ms.nearCached),
      unit: "round trips",
      // Half a round trip for the clock and the scheduler.
      target: CACHED_TRIPS + 0.5,
    });
  }
  return rows;
}
