/**
 * What references cost a start: secrets of a fake Secret Manager, 10 ms away each way.
 *
 * @module
 */
import { join } from "node:path";
import { GoogleNetwork } from "../tests/fakes/google_network.ts";
import { FakeSecrets } from "../tests/fakes/google_secrets.ts";
import { GoogleRig } from "../tests/live/google_rig.ts";
import { startMs } from "./google_measurements.ts";
import { DELAY_MS, roundTripMs } from "./round_trip.ts";
import { type Measurement, type Rig, rounds, type Runtime } from "./measurements.ts";

const REFERENCES = 200;
const SECRETS = 50;

/** Round trips of the connections: one to the metadata server, three with TLS (see `measurements.ts`). */
const CONNECTION_TRIPS = 4;
/** All secrets at once, and half of the token, which travels while krun works. One more is one too many. */
const REQUEST_TRIPS = 1.5;

/** As many references to as many secrets, and no cluster. */
function environment(count: number, secrets: number): Record<string, string> {
  const values = Array.from({ length: count }, (_, i) => [`V${i}`, `sm://acme-shop-prod/s${i % secrets}`]);
  return { CLUSTER_NAME: "-", ...Object.fromEntries(values) };
}

/** Round trips of a start with references. */
export async function references(rig: Rig): Promise<Measurement[]> {
  let secrets: FakeSecrets | undefined;
  // Without delay, but through the same proxies: what is left of the difference is round trips alone.
  await using google = await GoogleRig.create({
    delayMs: 0,
    addHosts: (google) => void (secrets = new FakeSecrets(google)),
  });
  secrets!.grantAll(google.google.account!);
  for (let i = 0; i < SECRETS; i++) secrets!.put(`s${i}`, `value ${i}`);
  const folder = await Deno.makeTempDir({ dir: rig.folder });
  await using far = await GoogleNetwork.create(google.google, { folder, delayMs: DELAY_MS });
  const start = (runtime: Runtime, network: GoogleNetwork, env: Record<string, string>) => async () => {
    const base = await Deno.makeTempDir({ dir: folder });
    const ms = await startMs(rig, { runtime, network, base, env });
    await Deno.remove(join(base), { recursive: true });
    return ms;
  };
  const trip = await roundTripMs();
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    const many = environment(REFERENCES, SECRETS);
    const ms = await rounds(rig.rounds, {
      none: start(runtime, google.network, { CLUSTER_NAME: "-" }),
      near: start(runtime, google.network, many),
      one: start(runtime, far, environment(1, 1)),
      many: start(runtime, far, many),
    });
    const row = (what: string, value: number, unit: string, target?: number) =>
      rows.push({ what, runtime: runtime.name, value, unit, ...(target === undefined ? {} : { target }) });
    const what = `${REFERENCES} references to ${SECRETS} secrets`;
    row(`start with ${what}, ${DELAY_MS} ms each way`, ms.many, "ms");
    const trips = (ms.many - ms.near) / trip;
    row(
      `round trips of that start, less ${CONNECTION_TRIPS} of connections`,
      trips - CONNECTION_TRIPS,
      "round trips",
      REQUEST_TRIPS,
    );
    row(`${what} over 1 reference, delayed`, ms.many / ms.one, "times", 1.3);
    row(`${what} over a start with none, without delay`, ms.near / ms.none, "times");
  }
  return rows;
}
